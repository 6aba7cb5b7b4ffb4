"""How loud the vocal of a song really is, where the separated one lacks a part of its energy.

The embedded separator's mask is below 1 wherever something else sounds with the voice, and takes that share of the
voice away with it. The key idea: if S is the separated vocal and X the song, S = M X in each bin of the spectrum. A
mask of the energy would leave the energy M |X|^2, and the separated vocal has M^2 |X|^2. The exponent is fitted:
M^`EXPONENT` |X|^2, that is |S|^`EXPONENT` |X|^(2 - `EXPONENT`), summed over the bins with K-weighting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from understudy.audio.effects.control import TINY, Curve, smoothed
from understudy.audio.k_weighting import power_response
from understudy.audio.samples import AudioSource
from understudy.audio.spectrogram import Grid, analyse
from understudy.context import Context
from understudy.pipeline.values import stored

EXPONENT = 1.0
"""Fitted on 18 songs and mixes with known stems: 0.8 to 1.0 are best."""

MOST = 6.0
"""dB that the separated vocal may be short of."""

_SIZE, _TOP = 0.093, 16000.0  # seconds, Hz: of the spectrum
_WINDOW = 20.0  # seconds read at a time
_SOMEBODY, _NOBODY = 14.0, 20.0  # dB of the song above the separated vocal: up to, and from; sung songs have 2 to 10
_BIAS, _STEEPNESS = 1.4, 1.33  # the leftover in dB is _STEEPNESS * (what the masks say + _BIAS), fitted
_SLOW, _FAST = 1.0, 0.1  # seconds: over which the level is followed, and is told from pauses
_MOMENT = 4.0  # seconds over which the leftover is told
_PAUSE, _LOUD = -15.0, -5.0  # dB of the singing: up to the first only the mean is known, from the second the moment


@stored
@dataclass(frozen=True, eq=False)
class VocalLevel:
    """What the separated vocal is short of, in dB, 0 to `MOST`. `mean`: over all that is sung; `curve`: over time, a
    value every `step` seconds from the beginning. `leftover`: the singer in the instrumental against the true vocal, in
    dB, estimated with an rms error of 2 dB; None where nobody sings. `left`: the same around each second, NaN where
    nobody sings."""

    mean: float
    curve: np.ndarray
    step: float
    leftover: float | None = None
    left: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def at(self, seconds: np.ndarray) -> Curve:
        """The curve at these moments."""
        values: Curve = np.interp(seconds, np.arange(len(self.curve)) * self.step, self.curve)
        return values


def vocal_level(context: Context, song: AudioSource, vocals: AudioSource) -> VocalLevel:
    """The level that `vocals`, separated from `song` by a mask, are short of."""
    grid = Grid.of(song.rate, _SIZE, min(_TOP, song.rate / 2))
    grid = Grid(grid.rate, grid.size, grid.size // 2, grid.bins)
    parts = zip(*_energies(context, song, vocals, grid), strict=True)
    separated, likely, left, whole = (np.concatenate(part) for part in parts)
    step = grid.hop / grid.rate
    fast = max(2, round(_FAST / step))
    short = smoothed(separated, fast)
    sung = _sung(short)
    if not sung.any():
        return VocalLevel(0.0, np.zeros(len(separated)), step)
    mean = _decibels(smoothed(likely, fast)[sung].mean() / short[sung].mean())
    # what lies so far below the song is no singer's voice, and isn't raised
    below = 10 * np.log10(smoothed(whole, fast)[sung].mean() / short[sung].mean())
    sure = float(np.clip((_NOBODY - below) / (_NOBODY - _SOMEBODY), 0.0, 1.0))
    slow = round(_SLOW / step)
    here = smoothed(separated, slow)
    moment = _decibels((smoothed(likely, slow) + TINY) / (here + TINY))
    # in pauses there is only what leaked, of which the mask says nothing
    loud = np.clip((10 * np.log10(here / short[sung].mean() + TINY) - _PAUSE) / (_LOUD - _PAUSE), 0.0, 1.0)
    leftover = 10 * np.log10(smoothed(left, fast)[sung].mean() / smoothed(likely, fast)[sung].mean() + TINY)
    moments = _by_second(smoothed(left, fast) * sung, smoothed(likely, fast) * sung, step)
    leftover, moments = (_STEEPNESS * (estimate + _BIAS) for estimate in (leftover, moments))
    return VocalLevel(sure * float(mean), sure * (mean + (moment - mean) * loud), step, float(leftover), moments)


def _by_second(part: Curve, whole: Curve, step: float) -> Curve:
    """Energy of the part against the whole in dB over `_MOMENT`, each second; NaN where the whole is next to silent."""
    seconds = np.round(np.arange(0, len(whole) * step) / step).astype(int).clip(0, len(whole) - 1)
    part, whole = (smoothed(energy, round(_MOMENT / step))[seconds] for energy in (part, whole))
    found = 10 * np.log10(part / (whole + TINY) + TINY)
    return np.asarray(np.where(whole > 0.01 * whole.max(), found, np.nan))


def _decibels(ratio: Curve | float) -> Curve:
    return np.asarray(np.clip(10 * np.log10(ratio), 0.0, MOST))


def _energies(context: Context, song: AudioSource, vocals: AudioSource, grid: Grid) -> Iterator[tuple[Curve, ...]]:
    """K-weighted energies per frame of `grid`, window by window: of the separated vocals, of the likely ones, of what
    the instrumental likely has of them, and of the song."""
    weights = power_response(grid.frequencies, grid.rate).astype(np.float32)
    size = max(1, round(_WINDOW * grid.rate / grid.hop)) * grid.hop
    for start in range(0, song.frames, size):
        stop = min(start + size, song.frames)
        count = -(-(stop - start) // grid.hop)

        def power(source: AudioSource, start: int = start, count: int = count) -> np.ndarray:
            # frame 1 of what is read has its middle at `start`
            samples = source.read(start - grid.hop, start + count * grid.hop).samples
            spectrum = analyse(samples, grid)[:, 1 : 1 + count]
            return np.asarray(spectrum.real**2 + spectrum.imag**2)

        mix, sung = power(song), power(vocals)
        likely = sung ** np.float32(EXPONENT / 2) * mix ** np.float32(1 - EXPONENT / 2)
        left = likely * np.square(1 - np.minimum(np.sqrt(sung / (mix + np.float32(TINY))), 1))
        parts = sung, likely, left, mix
        yield tuple(np.einsum("cfb,b->f", energy, weights, dtype=np.float64) / grid.size**2 for energy in parts)
        context.progress(stop / song.frames)


def _sung(energy: Curve) -> np.ndarray:
    """Where there is singing: within 20 dB of the mean, twice gated as BS.1770 does."""
    loud = energy > 1e-7
    for _ in range(2):
        if loud.any():
            loud &= energy >= 0.01 * energy[loud].mean()
    return loud
