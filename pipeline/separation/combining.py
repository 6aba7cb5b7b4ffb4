"""`combine`: one set of stems from those of several models.

Averages are linear, so they are taken on samples unless weights differ by band. The others compare: in the waveform
sample by sample, in the spectrogram bin by bin, by magnitude. ``min`` keeps what all members agree on (less bleed, more
holes), ``max`` what any of them has, ``median`` what most of them have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource, Samples
from understudy.audio.spectrogram import Grid, analyse, resynthesize
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.blockwise import map_blocks
from understudy.pipeline.separation.settings import EnsembleSettings, MemberWeight

Sounds = NDArray[Any]
"""Samples or complex bins of several models, ``[members, ...]``."""

_SECONDS = 0.093
_SEPARATOR = "\0"


def combine(
    context: Context, members: Mapping[str, Mapping[str, AudioSource]], settings: EnsembleSettings
) -> Mapping[str, AudioFile]:
    """For every stem that any of the `members` (stems by name, by model) gives, a file in `context.folder`: the
    combination of those that give it. All stems share rate, channels and length.

    Raises `UnderstudyError` ``ensemble-invalid`` where weights name a model that isn't among the members, or all
    members that give a stem count nothing in some band.
    """
    unknown = sorted(settings.weights.keys() - members.keys())
    if unknown:
        raise UnderstudyError(
            "ensemble-invalid",
            f"The ensemble has a weight for {unknown[0]!r}, which isn't one of its models.",
            f"Its models are: {', '.join(members)}.",
        )
    sources = {f"{name}{_SEPARATOR}{stem}": file for name, stems in members.items() for stem, file in stems.items()}
    first = next(iter(sources.values()))
    grid = Grid.of(first.rate, _SECONDS, first.rate / 2)
    names = tuple(dict.fromkeys(stem for stems in members.values() for stem in stems))
    giving = {stem: [name for name in members if stem in members[name]] for stem in names}
    weights = {
        stem: _weights([settings.weights.get(name, MemberWeight()) for name in giving[stem]], grid, stem)
        for stem in names
    }
    banded = any((rows != rows[:, :1]).any() for rows in weights.values())
    by_bin = banded or (settings.domain == "spectrogram" and settings.combine != "average")

    def made(parts: Mapping[str, Samples]) -> Mapping[str, Samples]:
        found = {}
        for stem in names:
            sounds = [parts[f"{name}{_SEPARATOR}{stem}"] for name in giving[stem]]
            if len(sounds) == 1:
                found[stem] = sounds[0]
            elif by_bin:
                spectra = np.stack([analyse(sound, grid) for sound in sounds])
                chosen = _chosen(spectra, weights[stem][:, None, None, :], settings.combine)
                found[stem] = resynthesize(chosen.astype(np.complex64), grid, sounds[0].shape[1])
            else:
                stacked = np.stack(sounds)
                found[stem] = _chosen(stacked, weights[stem][:, :1, None], settings.combine).astype(np.float32)
        return found

    return map_blocks(context, sources, names, made, margin=2 * grid.size if by_bin else 0)


def _weights(members: Sequence[MemberWeight], grid: Grid, stem: str) -> NDArray[np.float32]:
    """``[members, bins]``: how much each counts in each bin."""
    rows = np.stack([np.full(grid.bins, member.weight, np.float32) for member in members])
    for row, member in zip(rows, members, strict=True):
        for band in member.bands:
            row[(grid.frequencies >= band.low) & (grid.frequencies < band.high)] *= np.float32(band.weight)
    silent = grid.frequencies[~(rows.sum(axis=0) > 0)]
    if silent.size:
        raise UnderstudyError(
            "ensemble-invalid",
            f"In the ensemble, no model counts for the {stem} at {silent[0]:.0f} Hz.",
            "Give at least one of its models a weight above zero there.",
        )
    return rows


def _chosen(sounds: Sounds, weights: NDArray[np.float32], how: str) -> Sounds:
    """Along the first axis, of samples or of complex bins; `weights` broadcasts to the sounds."""
    if how == "average":
        return np.asarray((sounds * weights).sum(axis=0) / weights.sum(axis=0), sounds.dtype)
    weights = np.broadcast_to(weights, sounds.shape)
    if how == "median":
        return _median(sounds, weights)
    size = np.abs(sounds)
    if how == "min":
        pick = np.where(weights > 0, size, np.inf).argmin(axis=0)
    else:
        pick = np.where(weights > 0, size, -1).argmax(axis=0)
    return _picked(sounds, pick)


def _median(sounds: Sounds, weights: NDArray[np.float32]) -> Sounds:
    """The weighted median: of the samples, or of the bins' magnitudes with the phase of their weighted mean."""
    if np.iscomplexobj(sounds):
        mean = (sounds * weights).sum(axis=0)
        size = _median(np.abs(sounds), weights)
        return np.asarray(size * mean / np.maximum(np.abs(mean), 1e-20), sounds.dtype)
    order = np.argsort(sounds, axis=0, kind="stable")
    ordered = np.take_along_axis(sounds, order, axis=0)
    share = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    half = share[-1] / 2
    lower, upper = (share >= half).argmax(axis=0), (share > half).argmax(axis=0)
    return np.asarray((_picked(ordered, lower) + _picked(ordered, upper)) / 2, sounds.dtype)


def _picked(sounds: Sounds, which: NDArray[np.intp]) -> Sounds:
    found: Sounds = np.take_along_axis(sounds, which[None], axis=0)[0]
    return found
