"""Whole RVC voices in a folder, with random weights or with weights whose answer is known."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.rvc_files import Version, random_weights, small, write_random_index
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint, write_safetensors
from understudy.voices.rvc.index import check_index
from understudy.voices.voice import MODEL, Manifest, RvcIndex, RvcModel, Voice, content_hash

if TYPE_CHECKING:
    from torch import Tensor


def sine_weights(architecture: Architecture) -> dict[str, Tensor]:
    """A model that sings its harmonic source and nothing else: a sine at f0, near 0.1 high.

    No layer of the decoder adds anything but the last stage's view of the source; two channels carry it in opposite
    polarity, so that what the leaky ReLU takes from one it takes from the other.
    """
    import torch

    weights = random_weights(architecture)
    for name, tensor in weights.items():
        normed = name.startswith(("dec.ups", "dec.resblocks")) and name.endswith(("weight_g", "bias"))
        if normed or name.startswith(("dec.noise_convs", "dec.m_source", "dec.conv_post")):
            weights[name] = torch.zeros_like(tensor)
    last = f"dec.noise_convs.{len(architecture.upsample_rates) - 1}.weight"
    weights["dec.m_source.l_linear.weight"][:] = 1
    weights[last][:2, 0, 0] = torch.tensor([1.0, -1.0])
    weights["dec.conv_post.weight"][0, :2, 3] = torch.tensor([1.0, -1.0])
    return weights


def voice_with(
    folder: Path, architecture: Architecture, weights: dict[str, Tensor], vectors: int | None = None, speaker: int = 0
) -> Voice:
    """The voice ``nova`` with that model, and an index of so many random vectors."""
    place = (folder / MODEL / "index-00000000.index") if vectors is not None else None
    (folder / MODEL).mkdir(parents=True)
    if place is not None and vectors is not None:
        write_random_index(place, architecture.version, vectors)
    return _described(folder, Checkpoint(architecture, weights, {}), place, speaker)


def voice_of_files(folder: Path, model: Path, index: Path | None = None) -> Voice:
    """The voice ``nova`` in the new `folder`, made of an RVC `.pth` and a faiss file."""
    (folder / MODEL).mkdir(parents=True)
    place = None
    if index is not None:
        place = folder / MODEL / "index-00000000.index"
        shutil.copyfile(index, place)
    return _described(folder, read_checkpoint(model), place)


def _described(folder: Path, checkpoint: Checkpoint, place: Path | None, speaker: int = 0) -> Voice:
    architecture = checkpoint.architecture
    path = folder / MODEL / "model-00000000.safetensors"
    write_safetensors(checkpoint, path)
    index = None
    if place is not None:
        vectors = check_index(place).vectors
        index = RvcIndex(file=place.name, sha256=_sha256(place), vectors=vectors, source="nova.index")
    model = RvcModel(
        file=path.name,
        sha256=_sha256(path),
        version=architecture.version,
        f0=architecture.f0,
        sample_rate=architecture.sample_rate,
        speakers=architecture.speakers,
        speaker=speaker,
        source="nova.pth",
        index=index,
    )
    return Voice(
        folder,
        Manifest(
            name="nova",
            engine="rvc",
            sample_rate=architecture.sample_rate,
            pitch_range=None,
            recordings=(),
            consent="self",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            content_hash=content_hash("rvc", architecture.sample_rate, None, (), model),
            model=model,
        ),
    )


def random_voice(
    folder: Path, version: Version = "v2", f0: bool = True, vectors: int | None = 400, speaker: int = 0
) -> Voice:
    """A small voice of random weights."""
    architecture = small(version, f0)
    return voice_with(folder, architecture, random_weights(architecture), vectors, speaker)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
