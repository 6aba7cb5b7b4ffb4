"""The delay of one sound against another one that holds it, by phase-transform correlation (Knapp & Carter 1976)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource
from understudy.pipeline.report.bands import clean

Floats = NDArray[np.float32]

SECONDS = 5.0
"""Of sound that a delay is taken from."""

_REACH = 0.6  # seconds that the delay is looked for on both sides


def delay_between(
    first: AudioSource, second: AudioSource, starts: Iterable[int], weights: Floats | None = None
) -> int | None:
    """Frames by which `second` is late: the median of what is found in the `SECONDS` from each of `starts`, None where
    nothing is. `weights`: of the channels, as `mono_part` takes them."""
    size, reach = round(SECONDS * first.rate), round(_REACH * first.rate)
    found = []
    for start in starts:
        earlier, later = (mono_part(sound, start, start + size, weights) for sound in (first, second))
        found.append(_delay(earlier, later, reach))
    delays = [delay for delay in found if delay is not None]
    return int(np.median(delays)) if delays else None


def mono_part(source: AudioSource, start: int, stop: int, weights: Floats | None = None) -> Floats:
    """Part of a sound in mono, float32 ``[frames]``; what isn't finite is silence. `weights`: of the channels, so that
    several sounds keep their sum; without them, its own."""
    audio = clean(source.read(start, stop))
    if weights is None or audio.channels == 1:
        return np.asarray(audio.mono().samples[0])
    return np.asarray(weights @ audio.samples)


def _delay(first: Floats, second: Floats, reach: int) -> int | None:
    """Frames by which `second` is late; None without a clear peak."""

    from scipy.fft import irfft, rfft

    size = 1 << (len(first) + reach).bit_length()
    # without a taper the cuts of the two pieces, which are at the same place, would be found
    taper = np.hanning(len(first)).astype(np.float32)
    cross = np.conj(rfft(first * taper, size)) * rfft(second * taper, size)
    correlation = irfft(cross / np.maximum(np.abs(cross), 1e-9 * np.max(np.abs(cross), initial=1e-9)), size)
    near = np.concatenate((correlation[-reach:], correlation[: reach + 1]))
    best = int(np.argmax(np.abs(near)))
    # noise alone peaks at about 5 standard deviations over this many places
    if abs(near[best]) < 8 * float(np.std(near)):
        return None
    return best - reach
