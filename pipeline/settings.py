"""All settings of a cover in one model, and where their values come from.

Preset (a YAML file) < environment (``UNDERSTUDY_REMIX__VOCAL_GAIN=2``) < options of the command or the request.
The defaults stand in the models themselves and nowhere else; a preset names only what it changes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, StrictInt, ValidationError

from understudy.audio.encode import OutputFormat, parse_format
from understudy.audio.pitch.tracker import PitchSettings
from understudy.audio.tags import TEMPLATE_FIELDS, TagSettings, template_of
from understudy.choices import Backing, FormatName, Shape, listed
from understudy.errors import UnderstudyError
from understudy.pipeline.presets import read_preset
from understudy.pipeline.separation.settings import FrozenModel, SeparationSettings, with_current_names
from understudy.pipeline.stages.finish import FinishSettings
from understudy.pipeline.stages.mark import ProvenanceSettings
from understudy.pipeline.stages.remix import RemixSettings
from understudy.validation import Fault, faults
from understudy.voices.engine import ConversionSettings
from understudy.wording import parse_clock

DEFAULT_PRESET = "embedded"
PREFIX = "UNDERSTUDY_"


def _seconds(value: Any) -> Any:
    """A time may be written as a clock shows it."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        seconds = parse_clock(value)
    if seconds is None:
        raise ValueError("write 1:05, 1:02:30, or seconds such as 65 or 65.5")
    return seconds


class SongSettings(FrozenModel):
    """Which part of the song: where it starts, and how long it is (None: to the song's end). In seconds, or as a clock
    shows it, ``1:05``."""

    start: Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_seconds)] = Field(
        0.0, description="from the song's beginning: seconds, or 1:05"
    )
    duration: Annotated[float, Field(ge=0.4, allow_inf_nan=False), BeforeValidator(_seconds)] | None = Field(
        None, description="how long: seconds, or 1:05; none: to the end"
    )


NAME_FIELDS = (*TEMPLATE_FIELDS, "song", "changes")
"""What the name of a cover may have in braces: the song's tags, the voice, the name of the song's file, and what the
settings change."""


class OutputSettings(FrozenModel):
    name: Annotated[str, Field(min_length=1, max_length=400), template_of(NAME_FIELDS)] = Field(
        "{song} ({voice}{changes})",
        description=f"name of a cover's file without its extension; {', '.join(f'{{{name}}}' for name in NAME_FIELDS)} "
        "are filled in",
    )
    format: str = Field("flac", description=f"{listed(FormatName)}; a lossy one also with its bit rate, mp3:192")
    keep_stems: bool = Field(False, description="write the cover's stems, too: they sum to the cover")
    video: Shape | None = Field(None, description=f"also make a video (mp4): {listed(Shape)}")

    @property
    def encoding(self) -> OutputFormat:
        return parse_format(self.format)

    @property
    def lossless(self) -> OutputFormat:
        """What kept stems are written in: the format itself, or flac where that is a lossy one."""
        return OutputFormat() if self.encoding.lossy else self.encoding


class CoverSettings(FrozenModel):
    """All settings of a cover, a conversion or a separation. Frozen; a wrong name or value is an error."""

    song: SongSettings = SongSettings()
    separation: SeparationSettings = SeparationSettings()
    pitch: PitchSettings = PitchSettings()
    transpose: Literal["auto"] | Annotated[StrictInt, Field(ge=-36, le=36)] = Field(
        "auto", description="semitones, or auto: whole octaves that fit the voice"
    )
    key: int = Field(0, ge=-12, le=12, description="semitones that the entire song moves, instrumental included")
    backing: Backing | None = Field(
        None, description=f"the backing vocals, where a stem holds them apart: {listed(Backing)}"
    )
    singer_removal: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how far what is left of the original singer is removed from the cover's instrumental, 0 to 1; "
        "by how much is left if not given",
    )
    conversion: ConversionSettings = ConversionSettings()
    finish: FinishSettings = FinishSettings()
    remix: RemixSettings = RemixSettings()
    output: OutputSettings = OutputSettings()
    tags: TagSettings = TagSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()

    def shown(self) -> dict[str, Any]:
        """All settings by group, as plain data. Not the files': format and tags change nothing that is heard."""
        groups = self.model_dump(mode="json", exclude={"output", "tags"})
        loose = {name: groups.pop(name) for name in ("transpose", "key", "backing", "singer_removal")}
        for name in ("backing", "singer_removal"):
            if loose[name] is None:
                del loose[name]
        return {"transpose": loose, **groups}


def load_settings(
    preset: str | None = None,
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> CoverSettings:
    """The settings of a preset (a name or the path of a YAML file), overlaid with environment and options.

    `options` maps dotted names to values, ``{"remix.vocal_gain": 2.0}``, or groups to theirs, ``{"remix": {...}}``;
    names whose value is None count as not given.
    Raises `UnderstudyError` that names the offending key and where it stands.
    """
    environment = os.environ if environment is None else environment
    chosen = preset or environment.get(f"{PREFIX}PRESET") or DEFAULT_PRESET
    layers: list[tuple[str, dict[str, Any]]] = [(f"preset {chosen!r}", read_preset(chosen))]
    layers.append(("the environment", _from_environment(environment)))
    given = {name: value for name, value in (options or {}).items() if value is not None}
    layers.append(("the options", _nest(given)))
    merged: dict[str, Any] = {}
    settings = CoverSettings()
    for place, layer in layers:
        if "separation" in layer:
            layer = {**layer, "separation": with_current_names(layer["separation"])}
        merged = _merge(merged, layer)
        try:
            settings = CoverSettings.model_validate(merged)
        except ValidationError as error:
            raise _invalid(error, place) from error
    parse_format(settings.output.format)
    return settings


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """``UNDERSTUDY_<GROUP>__<FIELD>`` and ungrouped settings; other names of ours (folders) are no settings."""
    found = {}
    for name, text in environment.items():
        dotted = name.removeprefix(PREFIX).lower().replace("__", ".")
        if name.startswith(PREFIX) and dotted.partition(".")[0] in CoverSettings.model_fields and text:
            found[dotted] = parse_value(name, text)
    return _nest(found)


def parse_value(name: str, text: str) -> Any:
    """The value of the setting `name` that a user wrote as `text`, in YAML's notation: 2, true, auto, [a, b]. What goes
    into tags is taken as it is: titles may be numbers, templates hold braces."""
    if re.split(r"\.|__", name.lower())[-1] in TagSettings.model_fields:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UnderstudyError(
            "setting-invalid",
            f"The setting {name!r} is {text!r}, which is no value.",
            "Write a number, a word or a list.",
        ) from error


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, field = name.split(".")
        place = nested
        for group in groups:
            inner = place.setdefault(group, {})
            if not isinstance(inner, dict):
                raise UnderstudyError(
                    "setting-unknown", f"{name!r} is no setting: {group!r} has no parts.", "See 'understudy presets'."
                )
            place = inner
        place[field] = value
    return nested


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def is_setting(name: str) -> bool:
    """Whether there is a setting, or a group of settings, of that dotted name."""
    try:
        CoverSettings.model_validate(_nest({name: object()}))
    except ValidationError as error:
        depth = len(name.split("."))  # a setting whose value is no group ends a name that goes on
        return all(not fault.unknown and len(fault.place) >= depth for fault in faults(error.errors()))
    return True


def _invalid(error: ValidationError, place: str) -> UnderstudyError:
    """One error that says what is wrong with each of the settings."""
    first, *others = (_described(fault, place) for fault in faults(error.errors()))
    return UnderstudyError(first.code, " ".join(one.message for one in (first, *others)), first.hint)


def _described(fault: Fault, place: str) -> UnderstudyError:
    if fault.unknown:
        return UnderstudyError(
            "setting-unknown",
            f"There is no setting {fault.field!r} (in {place}).",
            f"Settings there are: {', '.join(_settings_beside(fault.place))}.",
        )
    return UnderstudyError(
        "setting-invalid",
        f"The setting {fault.field!r} in {place} is {fault.value!r}: {fault.reason}.",
        "Correct it; 'understudy presets' lists all settings with their defaults.",
    )


def _settings_beside(place: tuple[int | str, ...]) -> list[str]:
    """The fields of the model in which the last part of `place` is none; parts may be keys and positions, too."""
    group: Any = CoverSettings
    for part in place[:-1]:
        if _is_model(group):
            group = group.model_fields[part].annotation
        else:  # a mapping or a tuple of models
            group = next(kind for kind in get_args(group) if _is_model(kind))
    return list(group.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
