"""Whether a recording was made by a vocoder of the kind that the engine `instant` sings with.

The idea: WORLD (Morise, Yokomori and Ozawa, IEICE E99-D, 2016) makes voiced sound from pulses whose phase follows from
their spectral envelope (minimum phase). If such sound is analysed and made again, period for period the same waveform
comes out. A throat, a mouth, a room and a microphone have other phases, and their waveform changes. So a recording is
made again, and the two are compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16000  # Hz
LONGEST = 8.0  # seconds that are looked at
THRESHOLD = 0.93
"""Median likeness from which a recording counts as made by a vocoder; docs/measurements.md has the error rates."""

_WINDOW, _HOP = RATE // 40, RATE // 100  # 25 ms, 10 ms
_F0 = (65.0, 500.0)  # Hz
_FAINTEST = 1e-3  # norm of a window


def likeness_when_made_again(sound: NDArray[np.float32]) -> float:
    """The median over voiced windows of mono `sound` at `RATE` of how alike they are after analysis and synthesis,
    each at the best place within a period: 1 for sound that WORLD made, 0 where nothing is voiced."""
    import pyworld

    signal = np.ascontiguousarray(sound[: round(LONGEST * RATE)], np.float64)
    coarse, times = pyworld.dio(signal, RATE, f0_floor=_F0[0], f0_ceil=_F0[1])
    f0 = pyworld.stonemask(signal, coarse, times, RATE)
    envelope = pyworld.cheaptrick(signal, f0, times, RATE)
    aperiodicity = pyworld.d4c(signal, f0, times, RATE, threshold=0.0)
    again = pyworld.synthesize(f0, envelope, aperiodicity, RATE)
    again = np.pad(again, (0, max(0, len(signal) - len(again))))[: len(signal)]
    taper, likeness = np.hanning(_WINDOW), []
    for start in range(0, len(signal) - 2 * _WINDOW, _HOP):
        frame = round((start + _WINDOW // 2) / RATE / 0.005)
        part = signal[start : start + _WINDOW] * taper
        norm = float(np.linalg.norm(part))
        if frame >= len(f0) or f0[frame] <= 0 or norm < _FAINTEST:
            continue
        reach = round(RATE / f0[frame] / 2) + 2  # pulses fall anywhere within a period
        around = again[max(0, start - reach) : start + _WINDOW + reach]
        parts = np.lib.stride_tricks.sliding_window_view(around, _WINDOW) * taper
        likeness.append(float(np.max(parts @ part / (np.linalg.norm(parts, axis=1) * norm + 1e-9))))
    return float(np.median(likeness)) if likeness else 0.0
