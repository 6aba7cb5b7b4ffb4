"""`Voice`: a cloned voice in the library, i.e. a folder with a readable manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Consent = Literal["self", "granted"]
MANIFEST = "voice.json"
RECORDINGS = "recordings"
MODEL = "model"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hertz = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PitchRange(_Part):
    """The range of the recordings in Hz: 5th percentile, median and 95th percentile of the voiced frames."""

    low: Hertz
    median: Hertz
    high: Hertz


class Recording(_Part):
    """One recording of the voice. `file` is its name inside the voice's `recordings` folder (mono FLAC)."""

    # one plain name: no folders, no leading dot, nothing that a shell or Windows would trip over
    file: str = Field(pattern=r"^[0-9]{3}-[a-z0-9-]{1,80}\.flac$")
    source: str = Field(max_length=255)  # the name of the file that the user gave
    duration: float = Field(gt=0, le=1_000_000, allow_inf_nan=False)  # seconds
    sha256: Sha256  # of the stored file


class RvcIndex(_Part):
    """The faiss index of the voice's content features. `file` is its name inside the voice's `model` folder."""

    file: str = Field(pattern=r"^index-[0-9a-f]{8}\.index$")
    sha256: Sha256  # of the stored file
    vectors: int = Field(ge=1, le=1 << 40)
    source: str = Field(max_length=255)  # the name of the file that the user gave


class RvcModel(_Part):
    """A trained RVC model. `file` is its name inside the voice's `model` folder (safetensors)."""

    file: str = Field(pattern=r"^model-[0-9a-f]{8}\.safetensors$")
    sha256: Sha256  # of the stored file
    version: Literal["v1", "v2"]
    f0: bool  # whether it is guided by pitch
    sample_rate: int = Field(ge=8000, le=192000)  # Hz
    speakers: int = Field(ge=1, le=10_000)
    speaker: int = Field(0, ge=0)  # the one that sings
    info: str = Field("", max_length=1000)  # metadata of its file
    author: str = Field("", max_length=200)
    source: str = Field(max_length=255)  # the name of the file that the user gave
    index: RvcIndex | None = None

    @model_validator(mode="after")
    def _has_that_speaker(self) -> RvcModel:
        if self.speaker >= self.speakers:
            raise ValueError(f"there is no speaker {self.speaker} among {self.speakers}")
        return self


class Manifest(_Part):
    """`voice.json`: the description of a voice. `content_hash` covers everything that changes its sound."""

    name: str = Field(min_length=1, max_length=64)
    engine: str = Field(pattern=r"^[a-z0-9-]{1,32}$")  # "instant" or "rvc"
    sample_rate: int = Field(ge=8000, le=192000)  # Hz
    pitch_range: PitchRange | None
    recordings: tuple[Recording, ...] = Field(max_length=999)
    model: RvcModel | None = None  # what an `rvc` voice sings with; no other has one
    consent: Consent
    created: AwareDatetime
    content_hash: Sha256

    @model_validator(mode="after")
    def _has_what_its_engine_needs(self) -> Manifest:
        if (self.engine == "rvc") != (self.model is not None):
            raise ValueError("a voice has a model if its engine is 'rvc', and only then")
        if self.model is not None and (self.recordings or self.model.sample_rate != self.sample_rate):
            raise ValueError("a voice with a model has its sample rate and no recordings")
        return self


def file_hash(path: Path) -> str:
    """SHA-256 in hex of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(
    engine: str,
    sample_rate: int,
    pitch_range: PitchRange | None,
    recordings: tuple[Recording, ...],
    model: RvcModel | None = None,
) -> str:
    """SHA-256 in hex of everything that changes the sound; name, date and origin of the voice are not included.

    Included are the recordings' hashes in their order, and of a model its hash, its index's and its speaker.
    """
    described: list[object] = [
        engine,
        sample_rate,
        None if pitch_range is None else [pitch_range.low, pitch_range.median, pitch_range.high],
        [recording.sha256 for recording in recordings],
    ]
    if model is not None:
        described.append([model.sha256, model.speaker, None if model.index is None else model.index.sha256])
    return hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Voice:
    """A voice in a library: the `folder` of its files, and the `manifest` that describes them."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def recording_files(self) -> list[Path]:
        """The stored recordings, in the manifest's order."""
        return [self.folder / RECORDINGS / recording.file for recording in self.manifest.recordings]

    @property
    def model_file(self) -> Path:
        """The stored model (safetensors) of an `rvc` voice; raises `ValueError` for others."""
        if self.manifest.model is None:
            raise ValueError(f"the voice {self.name!r} has no model")
        return self.folder / MODEL / self.manifest.model.file

    @property
    def index_file(self) -> Path | None:
        """The stored faiss index of an `rvc` voice that has one."""
        model = self.manifest.model
        return None if model is None or model.index is None else self.folder / MODEL / model.index.file

    @property
    def stored_files(self) -> dict[Path, str]:
        """Every file of the voice with its SHA-256 from the manifest, in the manifest's order."""
        files = dict(zip(self.recording_files, (r.sha256 for r in self.manifest.recordings), strict=True))
        model = self.manifest.model
        if model is not None:
            files[self.model_file] = model.sha256
            if model.index is not None:
                files[self.folder / MODEL / model.index.file] = model.index.sha256
        return files
