"""Open-Unmix: for each stem a network on the magnitudes of the song's spectrum, and a Wiener filter over all stems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.open_unmix.target import Target, read_target
from understudy.pipeline.separation.families.open_unmix.wiener import wiener
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.stems import canonical_stems

TARGETS = ("vocals", "drums", "bass", "other")
"""Of the released models; a file is named after its target."""
RESIDUAL = "residual"
"""The stem that is the song minus one target alone; beside vocals it is the instrumental."""
ITERATIONS = 1
SECONDS, OVERLAP = 30.0, 6.0
"""Of a window, and of its overlap with the next one: the context of the recurrent networks is some seconds, not the
song."""
SHORTEST = 5.0
_QUIETEST = 1e-3
"""Least weight at a window's ends."""


def stems(weights: Weights) -> tuple[str, ...]:
    """The targets of the files, in the order of the released models. Raises ``model-invalid`` for a file that isn't
    named after its target."""
    names = [_target(path) for path in _paths(weights)]
    if len(set(names)) != len(names):
        raise invalid(weights.path, f"two files with it have the same target ({', '.join(names)})")
    ordered = sorted(names, key=TARGETS.index)
    return canonical_stems(ordered if len(ordered) > 1 else (ordered[0], RESIDUAL))


def load(weights: Weights, device: str, precision: Precision, iterations: int = ITERATIONS) -> Network:
    """The networks in ``weights.path`` and its companions, one per target. With one target alone, the song minus that
    is the second stem. `iterations`: of the Wiener filter; 0 gives the magnitudes with the song's phases.

    Rounding errors accumulate in recurrent networks: on CPUs they are computed in float32 whatever `precision` is.
    Raises `UnderstudyError` ``model-invalid`` and what reading tensors raises.
    """
    dtype = torch.float32 if device == "cpu" else getattr(torch, precision)
    names = stems(weights)
    by_name = {_target(path): path for path in _paths(weights)}
    targets = [read_target(by_name[name], device, dtype) for name in TARGETS if name in by_name]
    for target, path in zip(targets, by_name.values(), strict=True):
        if (target.bins, target.rate) != (targets[0].bins, targets[0].rate):
            raise invalid(path, "its spectra differ from those of the other targets")
    size = sum(path.stat().st_size for path in by_name.values())
    return _windowed(names, targets, device, iterations, size, SECONDS)


def _windowed(
    names: tuple[str, ...], targets: Sequence[Target], device: str, iterations: int, size: int, seconds: float
) -> Network:
    rate = targets[0].rate
    hop = (targets[0].bins - 1) // 2
    window = round(seconds * rate / hop) * hop
    shared = round(window * OVERLAP / SECONDS)
    fade = torch.ones(window)
    fade[:shared] = torch.linspace(_QUIETEST, 1.0, shared)
    dtype = targets[0].first[0].dtype
    half = seconds / 2
    return Network(
        stems=names,
        rate=rate,
        window=window,
        step=window - shared,
        fade=fade * fade.flip(0),
        separate=lambda windows: _separated(windows, targets, dtype, iterations),
        device=device,
        size=size,
        working=window * len(names) * 210,
        shorter=None if half < SHORTEST else lambda: _windowed(names, targets, device, iterations, size, half),
    )


def _separated(windows: Tensor, targets: Sequence[Target], dtype: torch.dtype, iterations: int) -> Tensor:
    """``[batch, 2, window]`` -> ``[batch, stems, 2, window]``; `dtype`: of the networks."""
    size = 2 * (targets[0].bins - 1)
    shape = torch.hann_window(size, device=windows.device)
    flat = windows.flatten(0, 1)
    spectra = torch.stft(flat, size, size // 4, window=shape, return_complex=True)
    spectra = spectra.view(*windows.shape[:2], *spectra.shape[1:]).permute(0, 3, 2, 1)  # [batch, frames, bins, 2]
    loud = spectra.abs().permute(1, 0, 3, 2)  # [frames, batch, 2, bins]
    magnitudes = [target.magnitudes(loud, dtype) for target in targets]
    if len(magnitudes) == 1:
        magnitudes.append((loud - magnitudes[0]).clamp(min=0))
    stems = torch.stack([found.permute(1, 0, 3, 2) for found in magnitudes], 1)  # [batch, stems, frames, bins, 2]
    filtered = torch.stack([wiener(found, song, iterations) for found, song in zip(stems, spectra, strict=True)])
    waves = torch.istft(
        filtered.permute(0, 1, 4, 3, 2).flatten(0, 2), size, size // 4, window=shape, length=windows.shape[-1]
    )
    return waves.view(windows.shape[0], stems.shape[1], *windows.shape[1:])


def _paths(weights: Weights) -> list[Path]:
    return [weights.path, *(other.path for other in weights.companions if other.path.suffix.lower() != ".json")]


def _target(path: Path) -> str:
    words = [word for word in re.split(r"[^a-z]+", path.stem.lower()) if word]
    known = [word for word in words if word in TARGETS]
    if len(set(known)) != 1:
        raise UnderstudyError(
            "model-invalid",
            f"{path} is an Open-Unmix network, whose file must be named after the stem that it gives.",
            f"Let its name begin with one of: {', '.join(TARGETS)}.",
        )
    return known[0]
