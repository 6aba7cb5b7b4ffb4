"""`Engine`: the interface of what converts a vocal to a voice.

The pipeline uses engines only through this interface, so a cover does not depend on which one a voice uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import AudioSource
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.models import Weights
from understudy.voices.voice import Voice


class ConversionSettings(BaseModel):
    """Settings of a conversion. Names and meanings are RVC's; each engine implements them as closely as it can.

    Settings marked "rvc only" or "zero-shot only" have no effect with voices of other engines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index_rate: float = Field(0.5, ge=0, le=1, description="how far to pull towards the voice's own recordings")
    protect: float = Field(0.33, ge=0, le=0.5, description="shield of consonants and breaths; 0.5 = off")
    rms_mix: float = Field(
        1.0,
        ge=0,
        le=1,
        description="rvc only: whose loudness over time; 1 the conversion's own, 0 the original's, before the finish",
    )
    formant_shift: float = Field(0.0, ge=-12, le=12, description="semitones that the formants move")
    index_nprobe: int = Field(
        1, ge=1, le=4096, description="rvc only: lists of the index searched per frame; 1 is what RVC does"
    )
    fill_unvoiced: bool = Field(
        False,
        description="rvc only: interpolate the pitch in unvoiced sound, for models trained with RVC after July 2026",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="not instant: precision of the network; auto takes the fastest that the machine supports",
    )
    steps: int = Field(
        25, ge=4, le=50, description="zero-shot only: steps from noise to sound; time grows with them, quality less"
    )
    seed: int = Field(0, ge=0, description="same seed, same bytes")


@dataclass(frozen=True)
class Performance:
    """The vocal to convert.

    `vocals`: any channels and rate. `pitch`: the f0 track of `vocals`. `transpose`: semitones to sing higher. `part`:
    from and to which second it is sung; what lies outside may be silent.
    """

    vocals: AudioSource
    pitch: PitchTrack
    transpose: float
    part: tuple[float, float] | None = None


class Engine(Protocol):
    """Four functions, and what their results depend on.

    `version`: part of the cache key; a new version invalidates old artifacts. `packages`: distributions whose models
    the engine uses; their versions are part of the key as well.
    """

    version: int
    packages: tuple[str, ...]

    def models(self, voice: Voice) -> tuple[str, ...]:
        """Catalogue names of the model files that `convert` needs for this voice; the caller resolves them first, so
        that a missing one is reported before any work. Raises `UnderstudyError` for one that isn't known."""
        ...

    def prepare(self, context: Context, voice: Voice) -> Path:
        """All that depends on the voice alone, as one file in `context.folder`; cached by the content hash."""
        ...

    def study(
        self, context: Context, performance: Performance, prepared: Path, settings: ConversionSettings
    ) -> Path | None:
        """What `convert` must know of the whole performance to sing any part of it, as one file in `context.folder`;
        None where it needs nothing."""
        ...

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
        studied: Path | None = None,
    ) -> AudioFile:
        """The performance sung by the voice: mono and dry, at the rate of `performance.vocals` and sample-aligned
        with it and exactly as long, as a new file in `context.folder`. `models`: the files behind
        `self.models(voice)`. `studied`: what `study` gave for the performance; without, it is made."""
        ...
