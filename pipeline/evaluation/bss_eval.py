"""BSSEval version 4: how much of a stem's error is other stems (interference), its own place and colour (spatial
distortion), or neither (artefacts).

E. Vincent, R. Gribonval, C. Fevotte, "Performance measurement in blind audio source separation" (2006), its form for
several channels "BSS Eval images" (2007), and version 4 of it as of F.-R. Stoeter, A. Liutkus, N. Ito, "The 2018 Signal
Separation Evaluation Campaign" (LVA/ICA 2018). An estimate is projected, by least squares, onto its own truth through
filters of 512 taps from every channel to every channel (P), and likewise onto all truths (Q). With truth s, estimate e:

    spatial = P - s    interference = Q - P    artefacts = e - Q
    SDR = |s|^2 / |e - s|^2    ISR = |s|^2 / |spatial|^2
    SIR = |P|^2 / |interference|^2    SAR = |Q|^2 / |artefacts|^2

Version 4 finds the filters once for the whole song, then takes the ratios in windows of a second, side by side. A
window in which any truth or estimate is silent counts for none of the stems. Reported is the median of the windows.

The least squares need the correlations of all channels at lags up to 511: a block Toeplitz system of normal equations.
What makes it fast: correlations are products of spectra of blocks, summed before a single inverse transform; all
estimates are columns of one system with one factorisation; the energies of a window's projections are taken from their
spectra (Parseval's theorem), so nothing is transformed back.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource
from understudy.context import Context

TAPS = 512
_BLOCK = 1 << 15  # frames per transform while correlating
_AT_ONCE = 8  # of those blocks
_LOADS = (1e-14, 1e-12, 1e-10, 1e-8)  # of the mean diagonal, added to a singular matrix until it can be factored

Floats = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


@dataclass(frozen=True)
class BssEval:
    """Figures of one stem of one song in dB, medians over its windows; `windows`: the number of those."""

    sdr: float
    isr: float
    sir: float
    sar: float
    windows: int


def bss_eval(
    context: Context, truths: Mapping[str, AudioSource], estimates: Mapping[str, AudioSource], frames: int
) -> dict[str, BssEval] | None:
    """The figures of every stem. `estimates` has the names of `truths`; all share rate and channel count.

    None where they aren't defined: fewer than two stems, or no window in which none of them is silent (as when
    one is silent throughout).
    """
    windows = windowed(context, truths, estimates, frames)
    if windows is None:
        return None
    counted = ~np.isnan(windows[0, 0])
    if not counted.any():
        return None
    medians = np.median(windows[:, :, counted], axis=2)
    return {
        name: BssEval(float(sdr), float(isr), float(sir), float(sar), int(counted.sum()))
        for name, (sdr, isr, sir, sar) in zip(truths, medians, strict=True)
    }


def windowed(
    context: Context, truths: Mapping[str, AudioSource], estimates: Mapping[str, AudioSource], frames: int
) -> Floats | None:
    """SDR, ISR, SIR and SAR, ``[stems, 4, windows]`` in dB, NaN in windows that don't count; None as in `bss_eval`."""

    from scipy.fft import next_fast_len

    sources, found = list(truths.values()), [estimates[name] for name in truths]
    if len(sources) < 2 or frames < TAPS:
        return None
    channels = sources[0].channels
    lags = _correlations(context.part(0.0, 0.4), sources, found, frames)
    if (lags[np.arange(len(lags)), np.arange(len(lags)), TAPS - 1] <= 0).any():
        return None
    joint, own = _filters(lags, channels)
    context.progress(0.6)
    rate = sources[0].rate
    starts = range(0, max(frames - rate, 0) + 1, rate)
    size = min(rate, frames)
    bins = int(next_fast_len(size + TAPS - 1, real=True))
    # spectra of the filters, [bins, out, into], for one matrix product per bin
    through = np.fft.rfft(joint, bins, axis=2).transpose(2, 1, 0)
    alone = np.fft.rfft(own, bins, axis=2).transpose(2, 1, 0)
    weight = np.full(bins // 2 + 1, 2.0)  # Parseval over half a spectrum: bins with a mirror image count twice
    weight[0] = 1.0
    if bins % 2 == 0:
        weight[-1] = 1.0
    result = np.full((len(sources), 4, len(starts)), np.nan)
    for number, start in enumerate(starts):
        context.part(0.6, 1.0).progress(number / len(starts))
        true, estimated = (_stacked(group, start, start + size) for group in (sources, found))
        parts = [*np.split(true, len(sources)), *np.split(estimated, len(sources))]
        if any(not part.any() for part in parts):
            continue
        # truth s, estimate e, projections p (on its own truth) and q (on all truths), as spectra [channels, bins]
        s, e = np.fft.rfft(true, bins), np.fft.rfft(estimated, bins)
        q = _through(through, s)
        p = _own(alone, s, channels)
        energies = [
            (np.square(np.abs(signal)) @ weight).reshape(-1, channels).sum(axis=1) / bins
            for signal in (s, e - s, p - s, p, q - p, q, e - q)
        ]
        truth, error, spatial, projected, interference, spanned, artefacts = energies
        result[:, 0, number] = _decibels(truth, error)
        result[:, 1, number] = _decibels(truth, spatial)
        result[:, 2, number] = _decibels(projected, interference)
        result[:, 3, number] = _decibels(spanned, artefacts)
    return result


def _decibels(over: Floats, under: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        ratio: Floats = 10 * np.log10(over / under)
    return np.minimum(ratio, 300.0)  # an exact estimate is infinitely good, which JSON can't hold


def _through(filters: Spectrum, truths: Spectrum) -> Spectrum:
    """Spectra ``[channels, bins]`` filtered with ``[bins, out, into]``: a matrix product per bin."""
    sent: Spectrum = np.matmul(filters, truths.T[:, :, None])[:, :, 0].T
    return sent


def _own(filters: Spectrum, truths: Spectrum, channels: int) -> Spectrum:
    """As `_through`, each stem through its own filters: those of ``[bins, out, into of the same stem]``."""
    sent = [
        _through(filters[:, first : first + channels], truths[first : first + channels])
        for first in range(0, len(truths), channels)
    ]
    return np.concatenate(sent)


def _stacked(sources: Sequence[AudioSource], start: int, stop: int) -> Floats:
    """All channels of all sources, ``[channels, frames]``, in double precision."""
    return np.concatenate([source.read(start, stop).samples for source in sources]).astype(np.float64)


def _correlations(
    context: Context, truths: Sequence[AudioSource], estimates: Sequence[AudioSource], frames: int
) -> Floats:
    """Cross-correlations of every channel of the truths with every channel of the truths and of the estimates,
    ``[truths, truths + estimates, 2 TAPS - 1]``; entry ``TAPS - 1 + k`` is ``sum_n truth[n] other[n + k]``.

    By FFT in blocks: `middle` is a stretch of a truth, `other` the same stretch with TAPS - 1 frames on both sides, so
    that the circular correlation of the two holds all lags without wrapping around.
    """
    reach = TAPS - 1
    step = _BLOCK - 2 * reach
    total: Spectrum | None = None
    starts = list(range(0, frames, step))
    for first in range(0, len(starts), _AT_ONCE):
        context.progress(first / len(starts))
        plain, wide = [], []
        for start in starts[first : first + _AT_ONCE]:
            stop = min(start + step, frames)
            # past the song's end there is silence, also where a source is longer
            truth = _stacked(truths, start - reach, min(stop + reach, frames))
            other = np.concatenate([truth, _stacked(estimates, start - reach, min(stop + reach, frames))])
            middle = truth[:, reach : reach + stop - start]
            plain.append(np.fft.rfft(middle, _BLOCK))
            wide.append(np.fft.rfft(other, _BLOCK))
        here = np.matmul(
            np.conj(np.stack(plain).transpose(2, 1, 0)), np.stack(wide).transpose(2, 0, 1)
        )  # [bins, truths, others], summed over the blocks
        total = here if total is None else total + here
    assert total is not None
    lags: Floats = np.fft.irfft(total.transpose(1, 2, 0), _BLOCK)[:, :, : 2 * TAPS - 1]
    return lags


def _filters(lags: Floats, channels: int) -> tuple[Floats, Floats]:
    """The projections as filters (the solutions of the normal equations): on all truths ``[into, out of, TAPS]``, and
    on the stem's own truth, ``[into of the same stem, out of, TAPS]``."""
    count = len(lags)
    matrix = _block_toeplitz(lags[:, :count])
    wanted = lags[:, count:, TAPS - 1 :].transpose(0, 2, 1).reshape(count * TAPS, -1)
    joint = _solved(matrix, wanted).reshape(count, TAPS, -1).transpose(0, 2, 1)
    own = np.empty((channels, count, TAPS))
    for first in range(0, count, channels):
        rows = slice(first * TAPS, (first + channels) * TAPS)
        columns = slice(first, first + channels)
        found = _solved(matrix[rows, rows], wanted[rows, columns])
        own[:, columns] = found.reshape(channels, TAPS, channels).transpose(0, 2, 1)
    return joint, own


def _block_toeplitz(lags: Floats) -> Floats:
    """The Gram matrix of all channels delayed by 0 to TAPS - 1, ``[channels TAPS, channels TAPS]``: each block of TAPS
    x TAPS holds the correlation of two channels at the lag row minus column."""
    count = len(lags)
    delay = TAPS - 1 + np.arange(TAPS)[:, None] - np.arange(TAPS)[None, :]
    matrix = np.empty((count, TAPS, count, TAPS))
    for row in range(count):
        for column in range(count):
            matrix[row, :, column] = lags[row, column][delay]
    return matrix.reshape(count * TAPS, count * TAPS)


def _solved(matrix: Floats, wanted: Floats) -> Floats:
    """The solution of the normal equations, by LU although Cholesky would be twice as fast: lossy material has nothing
    above 16 kHz, so the matrix is nearly singular, and the smallest load on its diagonal with which Cholesky succeeds
    changes SIR by 0.1 dB."""

    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    mean = float(np.trace(matrix)) / len(matrix)
    with warnings.catch_warnings(), suppress(LinAlgError):
        warnings.simplefilter("ignore")  # about the condition number; the residual is checked below
        found: Floats = np.linalg.solve(matrix, wanted).astype(np.float64, copy=False)
        if np.isfinite(found).all() and np.abs(matrix @ found - wanted).max() <= 1e-6 * np.abs(wanted).max():
            return found
    # equal truths (the same channel twice) make it singular; how their filters share the sound doesn't matter then, so
    # a small multiple of the identity is added
    for load in _LOADS:
        loaded = matrix + load * mean * np.eye(len(matrix))
        try:
            return cho_solve(cho_factor(loaded, lower=True, overwrite_a=True), wanted)  # type: ignore[no-any-return]
        except LinAlgError:
            continue
    raise ArithmeticError("a correlation matrix that is loaded so is positive definite")
