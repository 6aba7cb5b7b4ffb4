"""A training as data: what is requested, what it would take, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from understudy import environment
from understudy.audio.pitch import PitchSettings
from understudy.errors import UnderstudyError
from understudy.models import usable
from understudy.models.catalogue import Model, find_model
from understudy.models.hashes import remembered_hash
from understudy.models.installed import require
from understudy.voices import library
from understudy.voices.recordings import Finding
from understudy.voices.rvc.embedders import embedder_models
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Voice, ZeroShotModel
from understudy.voices.zero_shot.engine import installed_model
from understudy.wording import counted

ANYTIME = ("most_steps", "save_minutes", "keep", "evaluate_every")  # settings that may change while a run goes on


@dataclass(frozen=True)
class TrainingJob:
    """`library`: the folder of voices; `name`: of the voice in it. `separate`: whether recordings with music are
    separated first. `base`: files of generator and discriminators to begin with, ``"none"``, or None for RVC's own of
    this version and rate (a tiny network has none). `restart`: begin anew, without what an earlier run made. `gpus`:
    how many to train on. `pitch`: the tracker that the model learns from. A zero-shot model is fine-tuned from the
    installed one on one GPU.

    Raises `UnderstudyError` ``option-invalid`` for another base or separation with that engine."""

    library: Path
    name: str
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    separate: bool = False
    base: tuple[Path, Path] | Literal["none"] | None = None
    restart: bool = False
    gpus: int = 1
    pitch: PitchSettings = field(default_factory=PitchSettings)

    def __post_init__(self) -> None:
        if self.zero_shot and (self.base is not None or self.separate):
            raise UnderstudyError(
                "option-invalid",
                "The engine zero-shot is fine-tuned from the installed model, on recordings without music.",
                "Leave out the base model and the separation.",
            )

    @property
    def zero_shot(self) -> bool:
        return self.settings.engine == "zero-shot"

    def voice(self) -> Voice:
        """The voice with its recordings. Raises `UnderstudyError`: ``voice-unknown``, ``voice-without-recordings``, and
        those of missing or changed files."""
        voice = library.load_recorded(self.library, self.name)
        library.refuse_without_consent(voice.manifest.consent)
        return voice

    def folder(self, cache: Path) -> Path:
        """The run's folder below the cache folder: the same for the same recordings, base and settings."""
        return cache / "training" / self._key(self.voice())

    @property
    def network(self) -> str:
        """What is trained, in words: ``RVC v2, 48 kHz``."""
        if self.zero_shot:
            return "zero-shot model"
        rate = 16000 if self.settings.size == "tiny" else self.settings.sample_rate
        size = "" if self.settings.size == "full" else "tiny "
        f0 = "" if self.settings.f0 else ", without pitch"
        return f"{size}RVC {self.settings.version}, {rate // 1000} kHz{f0}"

    @cached_property
    def singing_model(self) -> ZeroShotModel:
        """The zero-shot model that is fine-tuned: the installed one, even if another is installed meanwhile."""
        return installed_model()

    def base_model(self) -> Model | None:
        """The base model of the catalogue that it begins with; None where it doesn't begin with one of these."""
        if self.zero_shot:
            return find_model(self.singing_model)
        if self.base is not None or self.settings.size == "tiny" or not self.settings.f0:
            return None
        version = "" if self.settings.version == "v2" else "v1-"
        return find_model(f"rvc-base-{version}{self.settings.sample_rate // 1000}k")

    def base_files(self) -> tuple[Path, Path] | None:
        """Generator and discriminators to begin with, or model and configuration. Raises ``model-missing``."""
        model = self.base_model()
        if model is not None:
            weights = require(model.name)
            return weights.path, weights.companions[0].path
        return None if self.base in (None, "none") else (Path(self.base[0]), Path(self.base[1]))

    def base_name(self) -> str:
        """What it begins with, in a word; empty for nothing."""
        model, files = self.base_model(), self.base
        return model.name if model else "" if files is None or files == "none" else Path(files[0]).name

    def missing_models(self) -> tuple[Model, ...]:
        """Models that it needs and that are not installed. Raises ``embedder-unknown``."""
        base = self.base_model()
        names = [*self._encoders(), *([base.name] if base else [])]
        return tuple(find_model(name) for name in names if usable(name) is None)

    def _encoders(self) -> tuple[str, ...]:
        """The models that make the data."""
        return ("whisper-small", "campplus") if self.zero_shot else tuple(embedder_models(self.settings.embedder))

    def _key(self, voice: Voice) -> str:
        files = self.base_files() if usable_base(self) else None
        described = {
            "recordings": [r.sha256 for r in (*voice.manifest.recordings, *voice.manifest.training_recordings)],
            "settings": self.settings.model_dump(
                mode="json", exclude={*ANYTIME, *(() if self.zero_shot else ("engine",))}
            ),
            "base": [remembered_hash(path.absolute()) for path in files or ()],
            "embedder": [_model_hash(name) for name in self._encoders()],
            "separate": self.separate,
            "pitch": self.pitch.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


def gpus_for(device: str | None) -> int:
    """How many GPUs a training uses when the user requests `device`: all, unless one is named."""
    if not environment.choose_device(device).startswith("cuda"):
        return 1
    import torch

    named = device or os.environ.get("UNDERSTUDY_DEVICE") or "auto"
    return torch.cuda.device_count() if named == "auto" else 1


def usable_base(job: TrainingJob) -> bool:
    """Whether the base model is there, or none is wanted."""
    model = job.base_model()
    return model is None or usable(model.name) is not None


def _model_hash(name: str) -> str | None:
    weights = usable(name)
    return None if weights is None else weights.content_hash


@dataclass(frozen=True)
class Missing:
    """A model that must be fetched first: its name in the catalogue, `purpose`, `size` in words, `source` (a page) and
    the `command`."""

    name: str
    purpose: str
    size: str
    source: str | None
    command: str


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do. `seconds`: of recordings, `held_out` of these for the evaluation, before silence and
    what is unfit are left out. `network`: in words. `base`: what it begins with. `step`: from which it goes on; 0: from
    the beginning. `steps`: the most; `usual_steps`: after which most voices gain nothing any more.
    `seconds_per_step`: measured. `disk`: bytes that it needs, `disk_free`: that there are. `folder`: the run's."""

    voice: str
    recordings: int
    seconds: float
    held_out: float
    network: str
    base: str
    missing: tuple[Missing, ...]
    device: str
    gpus: int
    step: int
    steps: int
    usual_steps: int
    batch_size: int
    seconds_per_step: float
    disk: int
    disk_free: int
    folder: Path

    @property
    def usual_seconds(self) -> float:
        """Wall time until `usual_steps`."""
        return max(0, min(self.usual_steps, self.steps) - self.step) * self.seconds_per_step

    @property
    def most_seconds(self) -> float:
        """Wall time until `steps`."""
        return max(0, self.steps - self.step) * self.seconds_per_step

    @property
    def sentences(self) -> tuple[str, ...]:
        """The plan for people: what is used, device and time, disk; and where it won't work like that, what to do."""
        begun = f", goes on from step {self.step:,}" if self.step else f", from {self.base or 'nothing'}"
        step = f"{self.seconds_per_step:.2g}" if self.seconds_per_step < 10 else f"{self.seconds_per_step:.0f}"
        where = self.device if self.gpus < 2 else f"{self.gpus} GPUs"
        sentences = [
            f"{self.voice}: {in_words(self.seconds)} in {counted(self.recordings, 'recording')}, "
            f"of which {self.held_out:.0f} s are held out to evaluate; {self.network}{begun}; on {where}, "
            f"{step} s a step: about {in_words(self.usual_seconds)}, at most {in_words(self.most_seconds)}; "
            f"{self.disk / 1e9:.1f} GB of disk."
        ]
        if self.device == "cpu" and self.usual_seconds > 86400:
            sentences.append(
                "A network of full size on a CPU takes days: use a machine with a GPU. Everything that is made can be "
                "gone on with there."
            )
        sentences += [
            f"Missing: {model.name} ({model.size}, {model.source}): {model.command}" for model in self.missing
        ]
        if self.disk > self.disk_free:
            sentences.append(f"Only {self.disk_free / 1e9:.1f} GB of disk are free.")
        return tuple(sentences)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        more = {"usual_seconds": self.usual_seconds, "most_seconds": self.most_seconds, "sentences": self.sentences}
        return {**asdict(self), "folder": str(self.folder), **more}


@dataclass(frozen=True)
class TrainingResult:
    """`voice`: with its model. `step`: of the chosen checkpoint, `steps`: done in all. `reason`: why this checkpoint;
    `ended`: why training ended. `scores`, `instant`: means of its scores, and of the instant voice's on the same clips.
    `default`: whether the voice sings with the model from now on. `folder`: of the run. `findings`: about recordings
    that were left out or held out. `warnings`: what else happened. `published`: whether the voice has got the model; it
    gets a fine-tuned one only if that is better than the model as it was."""

    voice: Voice
    step: int
    steps: int
    reason: str
    ended: str
    scores: Mapping[str, float]
    instant: Mapping[str, float]
    default: bool
    folder: Path
    report: Path
    advice: tuple[str, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    published: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; the voice by its name and content hash."""
        found = {name: value for name, value in vars(self).items() if name != "voice"}
        found |= {"folder": str(self.folder), "report": str(self.report)}
        found["findings"] = [asdict(finding) for finding in self.findings]
        manifest = self.voice.manifest
        return {"voice": self.voice.name, "content_hash": manifest.content_hash, "engine": manifest.engine, **found}


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, unit, most in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}"
    return counted(round(seconds / 86400), "day")
