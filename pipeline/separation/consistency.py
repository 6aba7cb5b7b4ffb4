"""`consistent`: stems that sum to their song, by the policy that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from understudy.audio.resample import resample_blocks
from understudy.audio.samples import AudioSource, Samples
from understudy.audio.spectrogram import Grid, analyse, resynthesize
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.separation.blockwise import map_blocks

Policy = Literal["residual", "model", "wiener"]

HIGHEST_RATE = 44100
"""The rate of nearly all separation networks in Hz: none of them computes anything above half of it."""
_SECONDS = 0.046
_REST = 1e-3
"""Share of a bin's power that counts as the rest's in any case: what no stem has goes there."""


def consistent(
    context: Context, song: AudioSource, stems: Mapping[str, AudioSource], policy: Policy, rest: str
) -> Mapping[str, AudioFile]:
    """`stems` and `rest` as files in `context.folder`, with the song's rate, channels and length.

    `rest` is the stem that takes what the others leave; `stems` may lack it.
    - ``residual``: `rest` is the song minus all others, whatever a model gave for it.
    - ``model``: the stems as they came; only what lies above the band of the networks is added to `rest`. A `rest` that
      no model gave is the residual.
    - ``wiener``: the song minus the sum of the stems is distributed among them in proportion to their power
      in each bin of the spectrum (mixture consistency, Wisdom et al. 2019, "Differentiable Consistency Constraints for
      Improved Deep Speech Enhancement"), so that they sum to the song.
    """
    names = (*(name for name in stems if name != rest), rest)
    if policy == "residual" or rest not in stems:
        kept = {name: stem for name, stem in stems.items() if name != rest}
        return map_blocks(context, {"": song, **kept}, names, lambda parts: _residual(parts, rest))
    if policy == "model":
        if song.rate <= HIGHEST_RATE:
            return map_blocks(context, stems, names, lambda parts: parts)
        band = within_band(context, song)
        found = map_blocks(
            context,
            {"": song, "band": band, **stems},
            names,
            lambda parts: {**parts, rest: parts[rest] + parts[""] - parts["band"]},
        )
        band.path.unlink()
        return found
    grid = Grid.of(song.rate, _SECONDS, song.rate / 2)
    sources = {"": song, **stems}
    return map_blocks(context, sources, names, lambda parts: _projected(parts, rest, grid), margin=2 * grid.size)


def _residual(parts: Mapping[str, Samples], rest: str) -> Mapping[str, Samples]:
    left = parts[""].copy()
    for name, samples in parts.items():
        if name:
            left -= samples
    return {**parts, rest: left}


def _projected(parts: Mapping[str, Samples], rest: str, grid: Grid) -> Mapping[str, Samples]:
    """The stems with their shares of what is missing of the song; `rest` takes the rounding, so that the sum is
    exact."""
    missing = parts[""].copy()
    spectra = {}
    for name, samples in parts.items():
        if name:
            missing -= samples
            spectra[name] = analyse(samples, grid)
    song, gap = analyse(parts[""], grid), analyse(missing, grid)
    powers = {name: _power(spectrum) for name, spectrum in spectra.items()}
    powers[rest] = powers[rest] + np.float32(_REST) * _power(song)
    total = sum(powers.values()) + np.float32(1e-20)
    shared = {
        name: samples + resynthesize(gap * (powers[name] / total), grid, samples.shape[1])
        for name, samples in parts.items()
        if name and name != rest
    }
    return _residual({"": parts[""], **shared}, rest)


def _power(spectrum: np.ndarray) -> np.ndarray:
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def within_band(context: Context, song: AudioSource) -> AudioFile:
    """`song` without what lies above the band of the networks, as a file in `context.folder`."""
    low = write_blocks(
        context.folder / "low.npy", HIGHEST_RATE, song.channels, resample_blocks(song, HIGHEST_RATE, context)
    )
    path = context.folder / "band.npy"
    back = write_blocks(path, song.rate, song.channels, resample_blocks(low, song.rate, context, song.frames))
    low.path.unlink()
    return back
