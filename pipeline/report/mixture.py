"""What the remix did, read back from the cover: the gains of its two parts, what neither explains, and any delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from understudy.audio.samples import AudioSource
from understudy.context import Context
from understudy.pipeline.report.bands import clean

_SECONDS = 5.0  # of a piece
_PIECES = 16  # evenly spread over the cover: more say the same
_SPOTS = 3  # of them: where the delay is looked for
_REACH = 0.25  # seconds that the delay is looked for on both sides


@dataclass(frozen=True)
class Mixture:
    """`vocal_gain` and `instrumental_gain` in dB: the parts' levels in the cover against their own files, by least
    squares. `residual`: dB of the cover that the two don't explain, against the cover; limiting shows here too.
    `delay`: frames by which the cover's instrumental is late. None where a part is silent."""

    vocal_gain: float | None
    instrumental_gain: float | None
    residual: float | None
    delay: int | None


def unmix(cover: AudioSource, vocals: AudioSource, instrumental: AudioSource, context: Context) -> Mixture:
    """From evenly spread pieces of all three; neither time nor memory grows with their length."""
    products = np.zeros((3, 3))  # of vocals, instrumental, cover with each other
    size = round(_SECONDS * cover.rate)
    all_starts = range(0, cover.frames, size)
    count = min(_PIECES, len(all_starts))
    starts = [all_starts[piece * len(all_starts) // count] for piece in range(count)]
    power: list[float] = []
    for start in starts:
        context.progress(start / cover.frames)
        stop = min(start + size, cover.frames)
        # in double precision: what the two don't explain is a small difference of large sums
        stack = np.stack([_mid(part, start, stop) for part in (vocals, instrumental, cover)]).astype(np.float64)
        own = np.einsum("if,jf->ij", stack, stack)
        products += own
        power.append(float(own[1, 1]))
    delays = []
    for spot in sorted(np.argsort(power, kind="stable")[::-1][:_SPOTS]):
        start, stop = starts[spot], starts[spot] + size
        if power[spot] > 0:
            delays.append(_delay(_mid(instrumental, start, stop), _mid(cover, start, stop), round(_REACH * cover.rate)))
    found = [delay for delay in delays if delay is not None]
    delay = int(np.median(found)) if found else None

    whole = products[2, 2]
    present = [part for part in (0, 1) if products[part, part] > max(1e-9 * whole, 1e-12)]
    if whole <= 1e-9 or not present:
        return Mixture(None, None, None, delay)
    gains = np.linalg.lstsq(products[np.ix_(present, present)], products[present, 2], rcond=1e-9)[0]
    rest = max(0.0, whole - float(gains @ products[present, 2]))
    decibels = {part: _decibels(float(gain) ** 2) for part, gain in zip(present, gains, strict=True)}
    return Mixture(decibels.get(0), decibels.get(1), _decibels(rest / whole), delay)


def _mid(source: AudioSource, start: int, stop: int) -> NDArray[np.float32]:
    mid: NDArray[np.float32] = clean(source.read(start, stop)).mono().samples[0]
    return mid


def _decibels(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-12)))


def _delay(first: NDArray[np.float32], second: NDArray[np.float32], reach: int) -> int | None:
    """Frames by which `second` is late, by phase-transform correlation (Knapp & Carter 1976); None without a clear
    peak."""
    size = 1 << (len(first) + reach).bit_length()
    cross = np.conj(rfft(first, size)) * rfft(second, size)
    correlation = irfft(cross / np.maximum(np.abs(cross), 1e-9 * np.max(np.abs(cross), initial=1e-9)), size)
    near = np.concatenate((correlation[-reach:], correlation[: reach + 1]))
    best = int(np.argmax(np.abs(near)))
    # noise alone peaks at about 5 standard deviations over this many places
    if abs(near[best]) < 8 * float(np.std(near)):
        return None
    return best - reach
