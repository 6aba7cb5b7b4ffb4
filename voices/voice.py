"""`Voice`: a cloned voice in the library, i.e. a folder with a readable manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from understudy.errors import UnderstudyError

Consent = Literal["self", "granted"]
"""Who agreed, as stated: the voice is the user's own, or its owner has agreed."""
Level = Literal["revoked", "stated", "delegated", "verified"]
"""What the consent rests on, weakest first: withdrawn; somebody's word; a file that the voice's owner has signed; a
recording of a phrase made up for this voice."""
Use = Literal["cover", "convert", "train", "blend", "export"]
"""What a voice is used for."""
ZeroShotModel = Literal["zero-shot", "zero-shot-yingmusic", "zero-shot-speech"]
"""Models of the catalogue that the engine zero-shot sings with."""
MANIFEST = "voice.json"
RECORDINGS = "recordings"
TRAINING = "training"
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


class Trained(_Part):
    """How a model was trained here. `similarity`: of its checkpoint to the held-out recordings, -1..1, None where it
    was not measured. `base`: the base model it began with, empty where it began with none."""

    steps: int = Field(ge=0, le=1 << 40)
    similarity: float | None = Field(None, ge=-1, le=1, allow_inf_nan=False)
    base: str = Field("", max_length=255)
    date: AwareDatetime


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
    embedder: str = Field("contentvec", pattern=r"^[A-Za-z0-9._-]{1,64}$")  # its content features
    pitch_range: PitchRange | None = None  # of what it was trained on; None: that of the voice
    trained: Trained | None = None  # None: it was imported

    @model_validator(mode="after")
    def _has_that_speaker(self) -> RvcModel:
        if self.speaker >= self.speakers:
            raise ValueError(f"there is no speaker {self.speaker} among {self.speakers}")
        return self


class TunedModel(_Part):
    """A zero-shot model fine-tuned on the voice: two files in its `model` folder, the weights as safetensors and the
    configuration of the model of the catalogue that it was."""

    model: ZeroShotModel
    file: str = Field(pattern=r"^tuned-[0-9a-f]{8}\.safetensors$")
    sha256: Sha256
    configuration: str = Field(pattern=r"^tuned-[0-9a-f]{8}\.yml$")
    configuration_sha256: Sha256
    trained: Trained


class ConsentRecord(_Part):
    """The last decision about the consent: `record` is the hash of its entry in the consent log of the library.

    `expires` and `uses` (none: all) limit a delegated consent; `owner`: fingerprint of the key that signed it.
    """

    level: Level
    record: Sha256
    date: AwareDatetime
    expires: AwareDatetime | None = None
    uses: tuple[Use, ...] = Field((), max_length=5)
    owner: str = Field("", pattern=r"^([0-9a-f]{64})?$")


class Manifest(_Part):
    """`voice.json`: the description of a voice. `content_hash` covers everything that changes its sound.

    A voice has recordings, a model, or both; `engine` is the one that sings unless another is requested.
    """

    name: str = Field(min_length=1, max_length=64)
    engine: str = Field(pattern=r"^[a-z0-9-]{1,32}$")  # "instant", "zero-shot" or "rvc"
    sample_rate: int = Field(ge=8000, le=192000)  # Hz: of the recordings; of the model where there are none
    pitch_range: PitchRange | None
    recordings: tuple[Recording, ...] = Field(max_length=999)
    training_recordings: tuple[Recording, ...] = Field((), max_length=999)  # further ones, used in training alone
    model: RvcModel | None = None
    tuned: TunedModel | None = None  # what zero-shot sings with; None: the installed model
    consent: Consent
    consent_record: ConsentRecord | None = None  # None: stated, before there was a log
    created: AwareDatetime
    content_hash: Sha256

    @model_validator(mode="after")
    def _has_what_its_engine_needs(self) -> Manifest:
        if self.engine == "rvc" and self.model is None:
            raise ValueError("a voice whose engine is 'rvc' has a model")
        only = self.model if not self.recordings else None
        if only is not None and (self.engine != "rvc" or only.sample_rate != self.sample_rate):
            raise ValueError("a voice with a model and no recordings has the engine 'rvc' and its model's rate")
        if (self.training_recordings or self.tuned) and not self.recordings:
            raise ValueError("a voice with recordings for training or a tuned model has recordings of its own")
        return self

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can sing with what the voice has."""
        return tuple(
            name
            for name in dict.fromkeys(["instant", "zero-shot", "rvc", self.engine])
            if name == self.engine or (self.model if name == "rvc" else self.recordings)
        )

    def sung_by(self, engine: str) -> Manifest:
        """The same with `engine`, one of `engines`, and the content hash that the voice has with it."""
        hashed = content_hash(engine, self.sample_rate, self.pitch_range, self.recordings, self.model, self.tuned)
        return self.model_copy(update={"engine": engine, "content_hash": hashed})

    @property
    def recordings_hash(self) -> str:
        """SHA-256 in hex that stands for the recordings, not those for training; it outlives names and models."""
        return hashlib.sha256(" ".join(recording.sha256 for recording in self.recordings).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """SHA-256 in hex that stands for whose voice it is: its recordings, or its model if it has none. Consent is
        given for it, whatever the voice is called and whichever model it gets."""
        return self.model.sha256 if self.model is not None and not self.recordings else self.recordings_hash

    @property
    def consent_level(self) -> Level:
        return "stated" if self.consent_record is None else self.consent_record.level


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
    tuned: TunedModel | None = None,
) -> str:
    """SHA-256 in hex of everything that changes the sound with `engine`; name, date and origin are not included.

    Included are the recordings' hashes in their order; of a model its hash, its index's, its speaker and its embedder;
    the hashes of a tuned model's files.
    """
    if engine == "rvc" and model is not None:
        sample_rate, pitch_range, recordings = model.sample_rate, model.pitch_range or pitch_range, ()
    described: list[object] = [
        engine,
        sample_rate,
        None if pitch_range is None else [pitch_range.low, pitch_range.median, pitch_range.high],
        [recording.sha256 for recording in recordings],
    ]
    if engine == "rvc" and model is not None:
        described.append([model.sha256, model.speaker, None if model.index is None else model.index.sha256])
        if model.embedder != "contentvec":
            described.append(model.embedder)
    if engine == "zero-shot" and tuned is not None:
        described.append([tuned.sha256, tuned.configuration_sha256])
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
    def engines(self) -> tuple[str, ...]:
        """The engines that can sing with what the voice has, such as ``("instant", "zero-shot")``."""
        return self.manifest.engines

    def sung_by(self, engine: str | None) -> Voice:
        """The same voice with `engine` (None: its default) and the content hash that it has with that engine.

        Raises `UnderstudyError` ``engine-missing`` if the voice has not what the engine needs.
        """
        manifest = self.manifest
        if engine is None or engine == manifest.engine:
            return self
        if engine not in manifest.engines:
            hints = {
                "rvc": f"Train a model: understudy voices train {self.name!r} --engine rvc.",
                "instant": "It has no recordings, only a model; leave out the engine.",
                "zero-shot": "It has no recordings, only a model; leave out the engine.",
            }
            known = " and ".join(self.engines)
            raise UnderstudyError(
                "engine-missing",
                f"The voice {self.name!r} has nothing for the engine {engine!r}, only for {known}.",
                hints.get(engine, "Leave out the engine, or choose one that it has."),
            )
        return Voice(self.folder, manifest.sung_by(engine))

    @property
    def pitch_range(self) -> PitchRange | None:
        """The range of the voice with its engine: of a trained model, the range of what it was trained on."""
        model = self.manifest.model
        trained = model.pitch_range if model is not None and self.manifest.engine == "rvc" else None
        return trained or self.manifest.pitch_range

    @property
    def recording_files(self) -> list[Path]:
        """The stored recordings, in the manifest's order."""
        return [self.folder / RECORDINGS / recording.file for recording in self.manifest.recordings]

    @property
    def training_files(self) -> list[Path]:
        """The stored recordings for training alone, in the manifest's order."""
        return [self.folder / TRAINING / recording.file for recording in self.manifest.training_recordings]

    @property
    def model_file(self) -> Path:
        """The stored model (safetensors) of a voice that has one; raises `ValueError` for others."""
        if self.manifest.model is None:
            raise ValueError(f"the voice {self.name!r} has no model")
        return self.folder / MODEL / self.manifest.model.file

    @property
    def index_file(self) -> Path | None:
        """The stored faiss index of a voice that has one."""
        model = self.manifest.model
        return None if model is None or model.index is None else self.folder / MODEL / model.index.file

    @property
    def tuned_files(self) -> dict[Path, str]:
        """The weights and the configuration of a voice that has a tuned model, with their SHA-256, in this order."""
        tuned, place = self.manifest.tuned, self.folder / MODEL
        if tuned is None:
            return {}
        return {place / tuned.file: tuned.sha256, place / tuned.configuration: tuned.configuration_sha256}

    @property
    def used_files(self) -> dict[Path, str]:
        """The files that a cover with the voice's engine uses, each with its SHA-256 from the manifest: the recordings
        (a report compares a model's singing with them, too), with `rvc` the model and its index, with `zero-shot` the
        tuned model."""
        recordings = zip(self.recording_files, self.manifest.recordings, strict=True)
        files = {path: recording.sha256 for path, recording in recordings}
        model = self.manifest.model
        if model is not None and self.manifest.engine == "rvc":
            files[self.model_file] = model.sha256
            if model.index is not None:
                files[self.folder / MODEL / model.index.file] = model.index.sha256
        return files | (self.tuned_files if self.manifest.engine == "zero-shot" else {})

    @property
    def stored_files(self) -> dict[Path, str]:
        """Every file of the voice with its SHA-256 from the manifest, in the manifest's order."""
        recordings = zip(self.training_files, self.manifest.training_recordings, strict=True)
        files = {path: recording.sha256 for path, recording in recordings}
        model = self if self.manifest.model is None else self.sung_by("rvc")
        return model.used_files | self.tuned_files | files
