"""The body of ``POST /v1/voices/{id}/train``: what it may say, how it becomes a job, and what that would take."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from sqlalchemy import Connection, select

from understudy.errors import UnderstudyError
from understudy.services.api import answers
from understudy.services.api.followed import Followed
from understudy.services.api.limits import charge_training, check_storage
from understudy.services.api.problems import ApiError
from understudy.services.api.uploads import Upload
from understudy.services.api.voices import find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue.owners import Owner
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs
from understudy.voices.consent import levels
from understudy.voices.rvc.training.dataset import LEAST
from understudy.voices.training.hold_out import hold_out
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Manifest

EMBEDDER = "^[A-Za-z0-9._-]+$"
Rate = Annotated[Literal[32000, 40000, 48000], BeforeValidator(lambda rate: int(rate) if str(rate).isdigit() else rate)]


class TrainingRequest(Followed):
    """How to train. `consent` is needed with further recordings."""

    engine: Literal["rvc", "zero-shot"] = Field(
        "rvc", description="rvc: a model of its own; zero-shot: the server's singing model, fine-tuned on the voice"
    )
    size: Literal["full", "tiny"] = Field(
        "full",
        description="rvc only, as version, sample_rate, embedder and separate. full: RVC's network; tiny: a small "
        "network for tests of your program, not for singing",
    )
    version: Literal["v1", "v2"] = Field("v2", description="of RVC's networks")
    sample_rate: Rate = Field(48000, description="Hz; of a tiny network always 16000")
    embedder: str = Field("contentvec", max_length=64, pattern=EMBEDDER, description="content features, by their name")
    steps: int | None = Field(None, ge=1, le=10_000_000, description="the most steps; it ends when no gain is likely")
    batch_size: int | None = Field(None, ge=1, le=256, description="clips per step; null: as many as memory allows")
    evaluate_every: int | None = Field(
        None, ge=1, le=1_000_000, description="steps between evaluations; null: as many as take some minutes"
    )
    separate: bool = Field(False, description="separate the voice from music in the recordings first")
    seed: int = Field(1234, ge=0, lt=1 << 31)
    consent: Literal["self", "granted"] | None = Field(
        None, description="for further recordings: it is your own voice, or its owner has agreed"
    )

    def settings(self) -> TrainingSettings:
        steps = {"most_steps": self.steps} if self.steps else {}
        given = self.model_dump(
            include={"engine", "size", "version", "sample_rate", "embedder", "batch_size", "evaluate_every", "seed"}
        )
        return TrainingSettings(**given, **steps)


@dataclass(frozen=True)
class NewTraining:
    """A checked request to train the voice `id`. `folder`: a name for the files that were sent."""

    id: str
    request: TrainingRequest
    files: list[Upload]
    durations: list[float | None]  # of the recordings that were sent, in seconds
    folder: str

    def places(self, owner: Owner) -> dict[Upload, str]:
        """Where the recordings that were sent are stored until they are the voice's."""
        folder = f"{owner.id}/voices/{self.id}-sent/{self.folder}"
        return {upload: f"{folder}/{number}" for number, upload in enumerate(self.files)}

    def submit(self, server: ServerSettings, owner: Owner, connection: Connection, now: float) -> answers.Training:
        """Submit the job, with the recordings at their `places`."""
        total = sum(upload.bytes for upload in self.files)
        charge_training(connection, server, owner, now)
        check_storage(connection, server, owner, now, total)
        voice = find_voice(connection, owner, self.id)
        _check_recordings(voice)
        levels.require(Manifest.model_validate(voice.manifest | {"name": voice.name}), "train", owner.consent)
        _check_idle(connection, voice)
        _check_amount(voice, self.durations)
        sent = [
            {"name": upload.name, "path": place, "field": upload.field} for upload, place in self.places(owner).items()
        ]
        request = {
            "settings": self.request.settings().model_dump(mode="json"),
            "separate": self.request.separate,
            "sent": sent,
            "consent": self.request.consent,
        }
        about: dict[str, Any] = {"name": voice.name, "voice": voice.id, "request": request}
        job = queue.submit(connection, now, owner.id, "training", bytes=total, **about, **self.request.columns())
        return answers.training(connection.execute(select(jobs).where(jobs.c.id == job)).one())


def _check_recordings(voice: Any) -> None:
    """Raise ``voice-not-ready`` or ``voice-without-recordings``."""
    if voice.state != "ready":
        text = f"The voice {voice.name!r} is {'being made' if voice.state == 'making' else 'unusable'}."
        raise ApiError("voice-not-ready", text, "GET /v1/voices says when it is ready, or why not.")
    if not voice.manifest["recordings"]:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} was made from a model: it has no recordings to train from.",
            "Make a voice from recordings, and train that one.",
        )


def _check_idle(connection: Connection, voice: Any) -> None:
    """Raise ``training-running`` if there is a training of the voice that has not ended."""
    its = (jobs.c.kind == "training", jobs.c.owner == voice.owner, jobs.c.voice == voice.id)
    query = select(jobs.c.id).where(*its, jobs.c.state.in_(queue.ACTIVE))
    if (running := connection.scalar(query)) is not None:
        text = f"The voice {voice.name!r} is being trained already ({running})."
        raise ApiError("training-running", text, "Wait for its end, or cancel it; a paused one can be resumed.")


def _check_amount(voice: Any, more: list[float | None]) -> None:
    """Raise ``too-little-data`` where the recordings with further ones of `more` seconds can't be enough."""
    seconds = sum(_durations(voice)) + sum(filter(None, more))
    if seconds < LEAST and None not in more:
        raise UnderstudyError(
            "too-little-data",
            f"There are {seconds:.0f} s of recordings; at least {LEAST:.0f} s are needed to train.",
            "Send further recordings: ten minutes of singing make a good model.",
        )


def check_models(request: TrainingRequest, server: ServerSettings) -> None:
    """Raise ``option-invalid``, ``embedder-unknown``, or ``model-missing`` for what the server lacks."""
    from understudy.training import TrainingJob

    settings = request.settings()
    missing = TrainingJob(Path(), "", settings, request.separate, server.base_of(settings)).missing_models()
    if missing:
        text = f"This server hasn't got the models that a training needs ({', '.join(one.name for one in missing)})."
        raise UnderstudyError("model-missing", text, "Ask the server's operator for them.")


def _durations(voice: Any) -> list[float]:
    manifest = voice.manifest
    return [one["duration"] for one in [*manifest["recordings"], *manifest.get("training_recordings", [])]]


def device_kind(server: ServerSettings) -> str:
    """``cuda`` or ``cpu``: on what trainings probably run. Workers may be on other machines."""
    device = server.device.partition(":")[0]
    return device if device != "auto" else "cuda" if shutil.which("nvidia-smi") else "cpu"


def estimated(
    voice: Any, settings: TrainingSettings, server: ServerSettings, per_clip: float | None
) -> answers.TrainingEstimate:
    """What a training of `voice` takes; `per_clip`: seconds for a clip, as measured in earlier trainings here. Raises
    ``embedder-unknown``, ``voice-not-ready`` and ``voice-without-recordings``."""
    from understudy.training import CLIP_SECONDS, USUAL_EPOCHS, TrainingJob

    _check_recordings(voice)
    durations = _durations(voice)
    missing = TrainingJob(Path(), "", settings, base=server.base_of(settings)).missing_models()
    clips = max(1.0, (sum(durations) - sum(hold_out(durations))) / CLIP_SECONDS)
    tuned = settings.engine == "zero-shot"
    trained = settings.most_steps * (settings.batch_size or 1) if tuned else USUAL_EPOCHS * clips
    seconds = None if per_clip is None else trained * per_clip
    device = device_kind(server)
    return answers.TrainingEstimate(
        device=device,
        recorded=sum(durations),
        needed=LEAST,
        seconds=seconds,
        sentence=_sentence(device, "tuned" if tuned else settings.size, seconds),
        missing=[one.name for one in missing],
    )


def _sentence(device: str, size: str, seconds: float | None) -> str:
    if seconds is None and size == "tiny":
        return "Some minutes; a tiny network is for tests and can't sing."
    if seconds is None and size == "tuned":
        return "Minutes on a GPU, hours without one; it was not measured here yet."
    if seconds is None and device == "cpu":
        return "Days: this server has no GPU. It was not measured here yet."
    if seconds is None:
        return "Hours, on a GPU; it was not measured here yet."
    words = f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
    words = words if seconds < 172800 else f"{seconds / 86400:.0f} days"
    return f"About {words}, measured in earlier trainings here" + (
        "." if device != "cpu" else ": this server trains without a GPU."
    )
