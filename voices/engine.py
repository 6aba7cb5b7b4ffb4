"""What an engine is: the thing that sings with a voice.

The pipeline knows engines only through this interface, so a cover doesn't care which one a voice uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from audio.context import Context
from audio.pitch import PitchTrack
from audio.samples import AudioSource
from audio.stored import AudioFile
from voices.voice import Voice


class ConversionSettings(BaseModel):
    """How an engine sings. The words are RVC's; each engine gives them the meaning nearest to RVC's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index_rate: float = Field(0.5, ge=0, le=1, description="how far to pull towards the voice's own recordings")
    protect: float = Field(0.33, ge=0, le=0.5, description="shield of consonants and breaths; 0.5 = off")
    formant_shift: float = Field(0.0, ge=-12, le=12, description="semitones that the formants move")
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
    whose models the engine uses; their versions do the same."""

    version: int
    packages: tuple[str, ...]

    def prepare(self, context: Context, voice: Voice) -> Path:
        """Everything that can be made from the voice alone, as one file in `context.folder`; cached by the
        voice's content hash."""
        ...

    def convert(
        self, context: Context, performance: Performance, voice: Voice, prepared: Path, settings: ConversionSettings
    ) -> AudioFile:
        """The performance sung by the voice: mono and dry, at the rate of `performance.vocals` and sample-aligned
        with it and exactly as long, as a new file in `context.folder`."""
        ...
