"""Demucs: networks on waveform and spectrogram at once (HDemucs, HTDemucs), or on the waveform alone.

Sources: A. Défossez, "Hybrid Spectrogram and Waveform Source Separation" (2021); S. Rouard, F. Massa, A. Défossez,
"Hybrid Transformers for Music Source Separation" (2023). The package demucs has the networks. Windows, their overlap
and the song's scaling are those of its `apply_model`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.demucs.bag import Bag, read_bag
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint
from understudy.pipeline.separation.families.demucs.construction import Run, prepared
from understudy.pipeline.separation.layout import centred
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.stems import canonical_stems

OVERLAP = 0.25
LONGEST_ON_CPU = 12.0
"""Seconds per window on a CPU for the networks before HTDemucs, where their own 40 would take 3.5 GB."""
SHORTEST = 2.0
"""Seconds that windows are shortened to at most where memory is short."""


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network, or the bag, gives, without building it. Raises what `load` raises."""
    return canonical_stems(read_bag(weights).sources)


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, a checkpoint (``.th`` or safetensors) or the YAML of a bag whose checkpoints
    are the companions.

    Raises `UnderstudyError`: ``model-invalid``, ``model-companion``, ``model-quantised``, and what reading files
    raises (``model-unsafe``, ``model-damaged``, ...).
    """
    bag = read_bag(weights)
    runs = [prepared(checkpoint, device, precision) for checkpoint in bag.checkpoints]
    values = sum(value.numel() for checkpoint in bag.checkpoints for value in checkpoint.state.values())
    older = any(checkpoint.kind != "HTDemucs" for checkpoint in bag.checkpoints)  # float32 always
    size = values * (4 if older or precision == "float32" else 2)
    light = replace(bag, checkpoints=tuple(replace(checkpoint, state={}) for checkpoint in bag.checkpoints))
    return _windowed(light, runs, _segment(bag, device), device, size)


@dataclass(frozen=True)
class _Member:
    """A network of the bag. `weights`: of its stems in the mean; `frames`: the middle of the bag's window that it
    takes."""

    run: Run
    weights: tuple[float, ...]
    frames: int


def _windowed(bag: Bag, runs: list[Run], segment: float | Fraction, device: str, size: int) -> Network:
    """The bag with windows of `segment` seconds."""
    rate = bag.checkpoints[0].arguments["samplerate"]
    core = int(segment * rate)
    members = [
        _Member(run, weights, _needed(checkpoint, core))
        for run, weights, checkpoint in zip(runs, bag.weights, bag.checkpoints, strict=True)
    ]
    window = max(member.frames for member in members)
    fade = torch.ones(window)
    fade[:core] = torch.cat([torch.arange(1, core // 2 + 1), torch.arange(core - core // 2, 0, -1)]) / (
        core - core // 2
    )
    return Network(
        stems=canonical_stems(bag.sources),
        rate=rate,
        window=window,
        step=int((1 - OVERLAP) * core),
        fade=fade,
        separate=lambda windows: _averaged(members, windows),
        device=device,
        layout=centred(core),
        normalise="deviation" if bag.normalised else "none",
        size=size,
        working=max(run.bytes_per_frame for run in runs) * window,
        shorter=None if segment / 2 < SHORTEST else lambda: _windowed(bag, runs, segment / 2, device, size),
    )


def _segment(bag: Bag, device: str) -> float | Fraction:
    """Seconds per window: for HTDemucs never more than it was trained on."""
    limits: list[float | Fraction] = [
        checkpoint.arguments["segment"]
        for checkpoint in bag.checkpoints
        if bag.segment is None or checkpoint.kind == "HTDemucs"
    ]
    if bag.segment is not None:
        limits.append(bag.segment)
    if device == "cpu" and any(checkpoint.kind != "HTDemucs" for checkpoint in bag.checkpoints):
        limits.append(LONGEST_ON_CPU)
    return min(limits)


def _needed(checkpoint: Checkpoint, frames: int) -> int:
    """Frames that a network takes for `frames` of its result: the one on waveforms alone looks around them, so that
    its strides come out even (as `Demucs.valid_length` in the package)."""
    if checkpoint.kind != "Demucs":
        return frames
    arguments = checkpoint.arguments
    kernel, stride, depth = arguments["kernel_size"], arguments["stride"], arguments["depth"]
    factor = 2 if arguments["resample"] else 1
    length = frames * factor
    for _ in range(depth):
        length = max(1, -(-(length - kernel) // stride) + 1)
    for _ in range(depth):
        length = (length - 1) * stride + kernel
    return -(-length // factor)


def _averaged(members: list[_Member], windows: Tensor) -> Tensor:
    """``[batch, 2, window]`` -> ``[batch, stems, 2, window]``, the weighted mean of the networks. Stems of weight zero
    are not computed where the network allows it."""
    total = windows.new_zeros(windows.shape[0], len(members[0].weights), *windows.shape[1:])
    for member in members:
        first = (windows.shape[-1] - member.frames) // 2
        counted = tuple(number for number, weight in enumerate(member.weights) if weight)
        found = member.run.separate(windows[..., first : first + member.frames], counted)
        for number, stem in zip(counted, found.unbind(1), strict=True):
            total[:, number, :, first : first + member.frames] += member.weights[number] * stem
    return total
