"""The bodies of ``POST /v1/covers`` and ``POST /v1/separations``, and the settings that they ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.pipeline.presets import presets
from understudy.pipeline.separating import check_models, models_of, names_of
from understudy.pipeline.separation.models import own_files
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import CoverSettings, load_settings

ROLES = ("song", "vocals", "instrumental", "backing_vocals")
"""What a song can be in a job."""

VoiceText = Annotated[str, Field(min_length=1, max_length=2000)]


class JobRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    song: str | None = Field(None, max_length=60, description="id of a song that was uploaded")
    preset: str | None = Field(None, max_length=60, description="a preset's name; settings change it")
    settings: CoverSettings = Field(default_factory=CoverSettings, description="only what differs from the preset")
    priority: Literal["interactive", "batch"] = Field("interactive", description="batch waits for all interactive")
    webhook: str | None = Field(
        None, max_length=2000, description="address that gets a signed message when it has ended"
    )


class CoverRequest(JobRequest):
    """A song, or own stems `vocals` and `instrumental` (with a song, one of them is enough); and who sings: one voice,
    ``["lead=nova", "backing=ada"]``, or by time ``"0:00-1:12=nova,1:12-=ada"``."""

    vocals: str | None = Field(None, max_length=60, description="id of an uploaded vocal stem")
    instrumental: str | None = Field(None, max_length=60, description="id of an uploaded instrumental stem")
    backing_vocals: str | None = Field(None, max_length=60, description="id of a backing stem; vocals is then the lead")
    voice: VoiceText | list[VoiceText] = Field(description="who sings: voices by id or name")
    transposes: dict[str, Literal["auto"] | Annotated[int, Field(ge=-36, le=36)]] = Field(
        default_factory=dict, max_length=20, description="semitones of single voices, by id or name"
    )


class SeparationRequest(JobRequest):
    """A song that is taken apart."""


def requested_settings(request: JobRequest) -> CoverSettings:
    """The preset of a request, overlaid with the settings that were sent. The models of the separation are checked."""
    if request.preset is not None and request.preset not in presets():
        text = f"There is no preset named {request.preset!r}."
        raise UnderstudyError("preset-unknown", text, f"Choose one of {', '.join(presets())}.")
    given = request.settings.model_dump(mode="json", exclude_unset=True)
    settings = load_settings(request.preset, given, {})
    own_stems = any(getattr(request, role, None) for role in ROLES if role != "song")
    check_separation(settings.separation, used=not own_stems)
    return settings


def check_separation(settings: SeparationSettings, used: bool) -> None:
    """Raise ``separator-unknown`` for a model that isn't named by its name in the catalogue or the models folder: a
    path could reveal which other files the server has. Where the separation is `used`, also raise what `check_models`
    raises, with no word of the server's folders.
    """
    names = models_of(settings)
    for name in names:
        if not _known(name):
            raise UnderstudyError(
                "separator-unknown",
                f"There is no separation model named {name[:100]!r} here.",
                "Name a model of this server, without a path.",
            )
    if not used:
        return
    try:
        check_models(settings)
    except UnderstudyError as error:
        if error.code in ("model-missing", "models-missing"):
            raise UnderstudyError(
                error.code,
                f"This server hasn't got all models of this separation ({', '.join(names)}).",
                "Choose another preset, or ask the server's operator for them.",
            ) from error
        if error.code.startswith("model-"):
            raise UnderstudyError(
                error.code,
                f"A model of this separation can't be used on this server ({', '.join(names)}).",
                "Choose another model, or tell the server's operator.",
            ) from error
        raise


def _known(name: str) -> bool:
    """Whether a model of the catalogue or a file in the models folder itself is called so."""
    if any(name in names_of(model) for model in catalogue().values()):
        return True
    return any(name in (path.name, path.stem) for path in own_files())
