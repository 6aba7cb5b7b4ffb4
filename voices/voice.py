"""`Voice`: a cloned voice in the library, i.e. a folder with a readable manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Consent = Literal["self", "granted"]


class PitchRange(BaseModel):
    """What the voice was heard to reach, in Hz: 5th percentile, median and 95th percentile of the voiced frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(gt=0)
    median: float = Field(gt=0)
    high: float = Field(gt=0)


class Recording(BaseModel):
    """One recording of the voice. `file` is its name inside the voice's `recordings` folder (mono FLAC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    source: str  # the name of the file that the user gave
    duration: float = Field(gt=0)  # seconds
    sha256: str  # of the stored file


class Manifest(BaseModel):
    """`voice.json`: what is known of a voice. `content_hash` covers everything that changes how it sounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    engine: str  # "instant" or "rvc"
    sample_rate: int = Field(ge=8000, le=192000)  # Hz
    pitch_range: PitchRange | None
    recordings: tuple[Recording, ...]
    consent: Consent
    created: datetime
    content_hash: str


@dataclass(frozen=True)
class Voice:
    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def recording_files(self) -> list[Path]:
        """The stored recordings, in the manifest's order."""
        return [self.folder / "recordings" / recording.file for recording in self.manifest.recordings]
