"""One pass over a sound: levels in bands over time, loudness-weighted level, and faults of its samples.

All levels in the report come from this one pass, which reads window by window and keeps only control data: 96 bands at
some 20 columns per second. A column is two Hann-windowed spectra of 46 ms, each overlapping the next by half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.k_weighting import power_response
from understudy.audio.samples import Audio, AudioSource
from understudy.context import Context

Floats = NDArray[np.float32]

BANDS = 96
LOWEST, HIGHEST = 50.0, 16000.0  # Hz
CLIP_RUN = 3  # full-scale samples in a row: a single one is only a loud sample
_SECONDS = 20.0  # read at once
_QUIET = 1e-4  # magnitude below which equal samples are no cut crests


@dataclass(frozen=True, eq=False)
class BandLevels:
    """Levels of a sound over time, and faults of its samples.

    `bands`: mean power per band, float32 ``[columns, BANDS]``, summed over channels. `weighted`: K-weighted mean square
    per column, float32 ``[columns]``, summed over channels. `step`: seconds per column; column k covers
    ``k * step`` to ``(k + 1) * step``. `peak`: largest absolute sample. `bad_samples`: NaN or infinite ones (taken
    as silence). `clipped`: samples in runs of at least `CLIP_RUN` equal ones at full scale. `crests`: the same at the
    largest magnitude of some seconds, whatever that is. `clicks`: seconds at which the waveform jumps as singing does
    not. Both are None where they were not looked for.
    """

    bands: Floats
    weighted: Floats
    step: float
    peak: float
    bad_samples: int
    clipped: int
    crests: int | None
    clicks: tuple[float, ...] | None

    @property
    def columns(self) -> int:
        return int(self.bands.shape[0])

    @property
    def level(self) -> Floats:
        """K-weighted level per column in LUFS units (no gate), at least -120."""
        return _decibels(self.weighted) - np.float32(0.691)


def _decibels(power: NDArray[np.floating]) -> Floats:
    level: Floats = (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)
    return level


def _band_weights(size: int, rate: int) -> Floats:
    """Triangles between neighbouring centres, ``[bins, BANDS]``; bands narrower than a bin read between bins."""
    frequencies = np.arange(size // 2 + 1) * rate / size
    centres = np.geomspace(LOWEST, HIGHEST, BANDS + 2)  # one more on either side
    weights = np.zeros((len(frequencies), BANDS), np.float32)
    for band in range(BANDS):
        low, centre, high = centres[band : band + 3]
        up, down = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
        triangle = np.clip(np.minimum(up, down), 0, None)
        if triangle.sum() < 1 and centre < rate / 2:
            position = centre * size / rate
            near = int(position)
            triangle[near : near + 2] = (1 - (position - near), position - near)[: len(triangle) - near]
        weights[:, band] = triangle
    return weights


def _loudness_weights(size: int, rate: int) -> Floats:
    """K-weighting of power per bin, ``[bins]``."""
    frequencies = np.arange(size // 2 + 1) * rate / size
    weights: Floats = power_response(frequencies, rate).astype(np.float32)
    return weights


def short_term(levels: BandLevels, duration: float) -> Floats:
    """Short-term loudness, float32 ``[values]``, ten a second, as `understudy.audio.loudness.Loudness` has it: value i
    is of the
    3 s that end (i + 1) / 10 seconds from the beginning. Taken from the columns, hence right to about 0.2 LU."""
    energy = np.concatenate(([0.0], np.cumsum(levels.weighted, dtype=np.float64))) * levels.step
    edges = np.arange(len(energy)) * levels.step
    ends = np.arange(1, int(duration * 10 + 1e-6) + 1) / 10
    power = (np.interp(ends, edges, energy) - np.interp(ends - 3.0, edges, energy)) / 3.0
    return np.where(ends < 3.0 - 1e-6, np.float32(-120), _decibels(power) - np.float32(0.691)).astype(np.float32)


def clean(audio: Audio) -> Audio:
    """NaN and infinite samples as silence."""
    finite = np.isfinite(audio.samples)
    return audio if finite.all() else Audio(np.where(finite, audio.samples, np.float32(0)), audio.rate)


def analyse(source: AudioSource, context: Context, *, clicks: bool = False) -> BandLevels:
    """Measure all of `source`, at any rate and with any number of channels. `clicks`: whether to look for clicks and
    cut crests, which costs as much as the rest and is only meaningful for a voice alone."""

    from scipy.fft import rfft
    from scipy.sparse import csr_array

    size = 1 << max(6, round(np.log2(source.rate * 0.0464)))
    hop = size // 2
    per_column = 2 * hop
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    # one-sided spectrum of a windowed block to mean square: Parseval, with the window's energy taken out
    scale = np.float32(2.0 / (size * float(np.sum(window.astype(np.float64) ** 2))))
    # sparse: a bin lies in two bands only, and a dense product would wake the threads of BLAS for little
    weights = csr_array(np.column_stack((_band_weights(size, source.rate), _loudness_weights(size, source.rate))).T)

    columns = max(1, -(-source.frames // per_column))
    summed = np.zeros((columns, BANDS + 1), np.float32)  # the last is the loudness
    peak, bad, clipped, crests = 0.0, 0, 0, 0
    jumps: list[float] = []
    block = max(1, round(_SECONDS * source.rate / per_column))
    for first in range(0, columns, block):
        context.progress(first / columns)
        last = min(columns, first + block)
        count = last - first
        # each column is two frames, centred at a quarter and three quarters of it
        start = first * per_column - hop // 2
        samples = source.read(start, start + (count * 2 - 1) * hop + size).samples
        finite = np.isfinite(samples)
        if not finite.all():
            own = finite[:, hop // 2 : hop // 2 + count * per_column]
            bad += int(own.size - np.count_nonzero(own))
            samples = np.where(finite, samples, np.float32(0))
        for channel in samples:
            frames = np.lib.stride_tricks.sliding_window_view(channel, size)[::hop]
            power = np.square(np.abs(rfft(frames * window, axis=1))) * scale
            pooled = 0.5 * (power[0::2] + power[1::2])
            summed[first:last] += (weights @ pooled.T).T
        own_samples = samples[:, hop // 2 : hop // 2 + min(count * per_column, source.frames - first * per_column)]
        peak = max(peak, float(np.max(np.abs(own_samples), initial=0.0)))
        clipped += sum(_flat(channel, 1.0) for channel in own_samples)
        if clicks:
            crests += sum(_flat(channel, float(np.abs(channel).max(initial=0.0))) for channel in own_samples)
            mid = Audio.of(own_samples, source.rate).mono().samples[0]
            jumps += [first * per_column / source.rate + at for at in _clicks(mid, source.rate)]
    context.progress(1.0)
    return BandLevels(
        bands=summed[:, :BANDS],
        weighted=summed[:, BANDS],
        step=per_column / source.rate,
        peak=peak,
        bad_samples=bad,
        clipped=clipped,
        crests=crests if clicks else None,
        clicks=tuple(jumps) if clicks else None,
    )


def _flat(channel: Floats, top: float) -> int:
    """Samples in runs of at least `CLIP_RUN` equal ones at the magnitude `top` (or beyond, cut flat)."""
    flat = np.abs(channel) >= 0.9995 * top
    if top < _QUIET or not flat.any():
        return 0
    flat[1:] &= ~flat[:-1] | (channel[1:] == channel[:-1])  # a run ends where the value changes
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[0::2]
    return int(runs[runs >= CLIP_RUN].sum())


def _clicks(mono: Floats, rate: int) -> list[float]:
    """Seconds of single jumps: second difference far above what the 20 ms around it do, and lasting a few samples only.

    A click is a discontinuity, white in the second difference and over within a sample or two; a drum or a consonant
    raises the second difference for milliseconds, which raises the yardstick with it.
    """
    if len(mono) < 3:
        return []
    bend = np.abs(np.diff(mono, n=2))
    width = max(8, round(0.01 * rate))
    blocks = len(bend) // width
    if blocks == 0:
        return []
    tiled = bend[: blocks * width].reshape(blocks, width)
    typical = np.percentile(tiled, 90, axis=1)
    around = np.maximum(typical, np.maximum(np.roll(typical, 1), np.roll(typical, -1)))
    top = tiled.max(axis=1)
    jumps = np.flatnonzero((top > 0.1 * np.abs(mono).max()) & (top > 12 * around))
    found: list[float] = []
    for block in jumps:
        at = float((block * width + int(tiled[block].argmax()) + 1) / rate)
        if not found or at - found[-1] > 0.005:  # one click may reach into two blocks
            found.append(at)
    return found
