"""Features of a separation from the song and its two stems alone, without the true stems, in one pass.

- coherence: true stems are uncorrelated, so their product averages to zero over some seconds in a band. A leak adds a
  part of one stem to the other, in phase, and the product then follows the power of the stem that leaked. With stems
  V and I, ``Re(V conj(I)) = a |I|^2 + b |V|^2``, where a is the share of the instrumental in the vocals and b that of
  the vocals in the instrumental. The two powers vary differently over time, so least squares over the frames of a band
  separate a from b.
- phase: a mask takes its phase from the song. Where a stem is neither nearly all of the song nor nearly nothing of it,
a
  true stem has a phase of its own.
- mean spectra: a band that a network doesn't compute ends abruptly in a stem and not in the song.
- likeness of left and right: where the stem is nearly alone, against where other sound had to be removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource
from understudy.context import Context

Floats = NDArray[np.float64]

BANDS = 48
_LOWEST, _HIGHEST = 60.0, 16000.0  # Hz
_PER_COLUMN = 2  # frames whose powers are summed
_SECONDS = 10.0  # of sound per block
_SEGMENT = 64  # columns, some 3 s, over which a leak is assumed to be constant
_BETWEEN = (0.04, 0.64)  # of the song's power: where a stem is neither nothing nor all of it


@dataclass(frozen=True)
class StemFeatures:
    """Features of one stem. `coherence`: estimated level of the other stem in it, dB against it. `phase`: 0..1, how far
    its phase is that of the song. `leak`: ``[BANDS]``, the power in it that is the other stem's by coherence.
    `spectrum`: its mean power, ``[bins]``. `alone` and `among`: 0..1, likeness of left and right where the stem is
    nearly all of the song, and where the other one is about as loud; None without such moments or in mono. `power`: its
    total power."""

    coherence: float
    phase: float
    leak: Floats
    spectrum: Floats
    alone: float | None
    among: float | None
    power: float


@dataclass(frozen=True)
class BleedFeatures:
    """`spectrum`: of the song, ``[bins]``, whose bins are `hertz` apart. `edges`: of the bands, Hz. `missing`: level of
    the song minus both stems, dB against the song. `fit`: share of the vocals, 0..1, that is in the song at the same
    time (for true stems 1, since the instrumental averages out). `shared`: ``[columns]``, how much the two stems have
    in the same bands at the same time; `step`: seconds per column."""

    vocals: StemFeatures
    instrumental: StemFeatures
    spectrum: Floats
    hertz: float
    edges: Floats
    missing: float
    fit: float
    shared: Floats
    step: float


def measure_features(
    context: Context, song: AudioSource, vocals: AudioSource, instrumental: AudioSource
) -> BleedFeatures | None:
    """The features of stems with the song's rate and length; all are taken in mono where one of them is. None where
    there is nothing to measure: less than three seconds, or a stem that is silent (40 dB below the other
    throughout)."""
    channels = min(source.channels for source in (song, vocals, instrumental))
    return _Pass(song.rate, channels).over(context, song, vocals, instrumental)


class _Pass:
    """Sums over a song, filled block by block."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate, self.channels = rate, channels
        self.size = 1 << max(6, round(np.log2(rate * 0.0464)))
        self.hop = self.size // 2
        self.window = np.hanning(self.size + 1)[:-1].astype(np.float32)
        bins = self.size // 2 + 1
        self.hertz = rate / self.size
        highest = min(_HIGHEST, 0.95 * rate / 2)
        self.edges = np.geomspace(_LOWEST, highest, BANDS + 1)
        self.starts, self.narrow = _band_starts(self.edges, self.hertz, bins)
        self.spectra = np.zeros((3, bins))
        self.rest = self.whole = self.fit = 0.0
        self.phase = np.zeros((2, 2))  # by stem: in phase with the song, all
        self.likeness = np.zeros((2, 2, 2))  # by stem, alone and among others: likeness, weight
        self.powers: list[Floats] = []  # [2, columns, BANDS]
        self.products: list[Floats] = []  # [columns, BANDS]

    def over(
        self, context: Context, song: AudioSource, vocals: AudioSource, instrumental: AudioSource
    ) -> BleedFeatures | None:
        frames = song.frames // self.hop // _PER_COLUMN * _PER_COLUMN
        if frames * self.hop < 3 * self.rate:
            return None
        block = max(_PER_COLUMN, round(_SECONDS * self.rate / self.hop) // _PER_COLUMN * _PER_COLUMN)
        for first in range(0, frames, block):
            context.progress(first / frames)
            last = min(first + block, frames)
            start = (first - 1) * self.hop
            stop = start + (last - first - 1) * self.hop + self.size
            sounds = [source.read(start, stop).samples for source in (vocals, instrumental, song)]
            sounds = [np.where(np.isfinite(sound), sound, np.float32(0)) for sound in sounds]
            if self.channels == 1:
                sounds = [sound.mean(axis=0, keepdims=True) for sound in sounds]
            self._add(*(self._spectra(sound) for sound in sounds))
            own = slice(self.hop, (last - first + 1) * self.hop)
            left, here = (sounds[2] - sounds[0] - sounds[1])[:, own], sounds[2][:, own]
            self.rest += float(np.vdot(left, left))
            self.whole += float(np.vdot(here, here))
        context.progress(1.0)
        return self._features()

    def _spectra(self, samples: NDArray[np.float32]) -> NDArray[np.complex64]:
        """``[channels, frames, bins]``."""

        from scipy.fft import rfft

        framed = np.lib.stride_tricks.sliding_window_view(samples, self.size, axis=1)[:, :: self.hop]
        found: NDArray[np.complex64] = rfft(framed * self.window, axis=2)
        return found

    def _add(self, *spectra: NDArray[np.complex64]) -> None:
        """`spectra`: of vocals, instrumental and song."""
        level = [np.square(np.abs(one)).sum(axis=0) + np.float32(1e-12) for one in spectra]
        song, song_level = spectra[2], level[2]
        for number in (0, 1, 2):
            self.spectra[number] += level[number].sum(axis=0, dtype=np.float64)
        self.fit += float((spectra[0] * song.conj()).real.sum(dtype=np.float64))
        banded = [self._banded(one) for one in level]
        self.powers.append(np.stack(banded[:2]))
        self.products.append(self._banded((spectra[0] * spectra[1].conj()).real.sum(axis=0)))
        for number in (0, 1):
            share = level[number] / song_level
            between = (share > _BETWEEN[0]) & (share < _BETWEEN[1])
            with_song = (spectra[number] * song.conj()).real.sum(axis=0) * np.sqrt(level[number] / song_level)
            self.phase[number] += float(with_song[between].sum()), float(level[number][between].sum())
            if self.channels == 2:
                self._add_likeness(number, spectra[number], banded)

    def _add_likeness(self, number: int, stem: NDArray[np.complex64], banded: list[Floats]) -> None:
        product = stem[0] * stem[1].conj()
        real, imaginary = self._banded(product.real), self._banded(product.imag)
        sides = self._banded(np.square(np.abs(stem[0]))) * self._banded(np.square(np.abs(stem[1])))
        alike = np.sqrt((np.square(real) + np.square(imaginary)) / (sides + 1e-30))
        share = banded[number] / (banded[0] + banded[1])
        share[:, : self.narrow] = -1  # a likeness over few bins is always near one
        for place, where in enumerate((share > 0.8, (share > 0.1) & (share < 0.6))):
            weight = banded[number] * where
            self.likeness[number, place] += float((weight * alike).sum()), float(weight.sum())

    def _banded(self, values: NDArray[np.floating]) -> Floats:
        """``[frames, bins]`` summed to ``[columns, BANDS]``."""
        columns = values.reshape(-1, _PER_COLUMN, values.shape[1]).sum(axis=1, dtype=np.float64)
        return np.add.reduceat(columns[:, : self.starts[-1]], self.starts[:-1], axis=1)

    def _features(self) -> BleedFeatures | None:
        power = np.concatenate(self.powers, axis=1)
        product = np.concatenate(self.products)
        totals = power.sum(axis=(1, 2))
        if totals.min() <= 1e-4 * totals.max():
            return None
        leaks = _leaks(product, power[1], power[0]), _leaks(product, power[0], power[1])
        stems = []
        for number in (0, 1):
            likeness = self.likeness[number]
            enough = bool((likeness[:, 1] > 0.01 * totals[number]).all())
            stems.append(
                StemFeatures(
                    coherence=_decibels(leaks[number].sum() / totals[number]),
                    phase=float(self.phase[number, 0] / max(self.phase[number, 1], 1e-30)),
                    leak=leaks[number],
                    spectrum=self.spectra[number],
                    alone=float(likeness[0, 0] / likeness[0, 1]) if enough else None,
                    among=float(likeness[1, 0] / likeness[1, 1]) if enough else None,
                    power=float(totals[number]),
                )
            )
        return BleedFeatures(
            stems[0],
            stems[1],
            self.spectra[2],
            self.hertz,
            self.edges,
            _decibels(self.rest / max(self.whole, 1e-30)),
            float(np.clip(self.fit / self.spectra[0].sum(), 0, 1)),
            np.sqrt(power[0] * power[1]).sum(axis=1),
            _PER_COLUMN * self.hop / self.rate,
        )


def _band_starts(edges: Floats, hertz: float, bins: int) -> tuple[NDArray[np.intp], int]:
    """First bins of the bands and the end of the last one, each band at least a bin; and how many bands are narrower
    than six."""
    starts = np.round(edges / hertz).astype(np.intp)
    for band in range(1, len(starts)):
        starts[band] = max(starts[band], starts[band - 1] + 1)
    starts = np.minimum(starts, bins - 1 - np.arange(len(starts))[::-1])
    return starts, int(np.searchsorted(np.diff(starts), 6))


def _decibels(ratio: float) -> float:
    return float(10 * np.log10(max(ratio, 1e-6)))


def _leaks(product: Floats, leaking: Floats, own: Floats) -> Floats:
    """Power per band that leaked into the stem `own`, ``[BANDS]``. All arguments are ``[columns, BANDS]``.

    For each stretch of some seconds: weighted least squares of ``product = a leaking + b own``, then ``a^2 leaking``. A
    negative b is set to zero and a found again; a negative a counts as zero.
    """
    total = np.zeros(product.shape[1])
    for rows in np.array_split(np.arange(len(product)), max(1, len(product) // _SEGMENT)):
        c, p, q = product[rows], leaking[rows], own[rows]
        floor = 1e-6 * (p + q).max(axis=0) + 1e-30
        weight = 1 / (
            (p + floor) * (q + floor)
        )  # the variance of the product of uncorrelated stems is the product of their powers
        pp, pq, qq = (weight * p * p).sum(0), (weight * p * q).sum(0), (weight * q * q).sum(0)
        cp, cq = (weight * c * p).sum(0), (weight * c * q).sum(0)
        determinant = pp * qq - pq * pq + 1e-9 * pp * qq + 1e-30
        a, b = (cp * qq - cq * pq) / determinant, (cq * pp - cp * pq) / determinant
        a = np.where(b < 0, cp / (pp + 1e-30), a)
        total += np.minimum(np.square(np.maximum(a, 0)) * p.sum(0), q.sum(0))  # no more than the stem itself
    return total
