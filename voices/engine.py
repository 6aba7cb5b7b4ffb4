"""What an engine is: the thing that sings with a voice.

The pipeline knows engines only through this interface, so a cover doesn't care which one a voice uses.
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
    """How an engine sings. The words are RVC's; each engine gives them the meaning nearest to RVC's.

    What only a trained RVC model has is said so: with other voices such a setting changes nothing.
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
        description="rvc only: draw the pitch on through unvoiced sound, for models trained with RVC after July 2026",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="rvc only: number format of the decoder; auto takes what the machine is fast at"
    )
    seed: int = Field(0, ge=0, description="same seed, same bytes")


@dataclass(frozen=True)
class Performance:
    """What is to be sung: a vocal stem and its pitch, as the original singer sang them.

    `vocals`: any channels and rate. `pitch`: the tracked f0 of `vocals`. `transpose`: semitones to sing higher.
    """

    vocals: AudioSource
    pitch: PitchTrack
    transpose: float


class Engine(Protocol):
    """Two functions and a version; a new version makes old artifacts miss the cache. `packages`: the distributions
    whose models the engine uses; their versions do the same. `models`: names in the catalogue of the model files that
    `convert` needs; whoever calls it finds them first, so that a missing one is said before any work begins."""

    version: int
    packages: tuple[str, ...]
    models: tuple[str, ...]

    def prepare(self, context: Context, voice: Voice) -> Path:
        """Everything that can be made from the voice alone, as one file in `context.folder`; cached by the
        voice's content hash."""
        ...

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
    ) -> AudioFile:
        """The performance sung by the voice: mono and dry, at the rate of `performance.vocals` and sample-aligned
        with it and exactly as long, as a new file in `context.folder`. `models`: the files behind `self.models`."""
        ...
