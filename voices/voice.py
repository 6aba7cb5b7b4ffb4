"""`Voice`: a cloned voice in the library, i.e. a folder with a readable manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Consent = Literal["self", "granted"]
MANIFEST = "voice.json"
RECORDINGS = "recordings"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hertz = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]


class PitchRange(BaseModel):
    """What the voice was heard to reach, in Hz: 5th percentile, median and 95th percentile of the voiced frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Hertz
    median: Hertz
    high: Hertz


class Recording(BaseModel):
    """One recording of the voice. `file` is its name inside the voice's `recordings` folder (mono FLAC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # one plain name: no folders, no leading dot, nothing that a shell or Windows would trip over
    file: str = Field(pattern=r"^[0-9]{3}-[a-z0-9-]{1,80}\.flac$")
    source: str = Field(max_length=255)  # the name of the file that the user gave
    duration: float = Field(gt=0, le=1_000_000, allow_inf_nan=False)  # seconds
    sha256: Sha256  # of the stored file


class Manifest(BaseModel):
    """`voice.json`: what is known of a voice. `content_hash` covers everything that changes how it sounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    engine: str = Field(pattern=r"^[a-z0-9-]{1,32}$")  # "instant" or "rvc"
    sample_rate: int = Field(ge=8000, le=192000)  # Hz
    pitch_range: PitchRange | None
    recordings: tuple[Recording, ...] = Field(max_length=999)
    consent: Consent
    created: AwareDatetime
    content_hash: Sha256


def content_hash(
    engine: str, sample_rate: int, pitch_range: PitchRange | None, recordings: tuple[Recording, ...]
) -> str:
    """SHA-256 in hex of all that changes the sound: neither the voice's name nor when or from where it came.

    The recordings count with their bytes and in their order.
    """
    described = [
        engine,
        sample_rate,
        None if pitch_range is None else [pitch_range.low, pitch_range.median, pitch_range.high],
        [recording.sha256 for recording in recordings],
    ]
    return hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()


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
        return [self.folder / RECORDINGS / recording.file for recording in self.manifest.recordings]
