"""Whether the words of a recording were put together from pieces.

In speech, neighbouring words run into each other: the mouth is on its way to the next sound before the last one ends,
and pitch and level go on without a step. Where pieces were joined, the spectrum changes faster, the period breaks, or
level and background step. One join tells little, and a phrase has many: the evidence of all places between words is
averaged. The weights were fitted by logistic regression (`python -m benchmarks.consent --fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.mel import mel_filters
from understudy.voices.consent.phrase import RATE, Spoken

Floats = NDArray[np.float64]

THRESHOLD = 0.0
"""Evidence from which the words count as put together."""

# fitted on five speakers, untouched and in a simulated room: see docs/measurements.md
# fmt: off
MEAN = np.array([
    2.06, 2.96, 3.76, 2.42, 1.91, 1.29, 1.87, -0.632, 0.346,
    0.197, 1.04, 0.286, 0.378, 2.7, 2.67, -0.913, 0.736,
])
DEVIATION = np.array([
    1.41, 1.92, 2.19, 1.42, 0.935, 0.283, 1.96, 1.9, 0.476,
    0.299, 2.29, 0.452, 0.18, 2.68, 2.73, 2.17, 0.648,
])
WEIGHTS = np.array([
    0.61, 0.361, 0.446, 0.45, 0.863, 0.278, -0.347, -0.0103, 0.227,
    -0.415, 0.147, 0.0305, 0.124, -0.309, -0.238, -0.46, -0.419,
])
# fmt: on
BIAS = -0.0194

HOP = RATE // 200  # 5 ms
_WINDOW, _SIZE, _BANDS = RATE // 50, 512, 32
_PERIODS = (RATE // 400, RATE // 60)  # samples: pitches from 60 to 400 Hz
_PERIOD_WINDOW = 666
_PAUSE = 0.03  # seconds between two words from which their ends are looked at apart
_EDGE = 14  # frames around a place that are looked at


def joins(mono: NDArray[np.float32], said: Sequence[Spoken]) -> float:
    """The mean evidence (log odds) that the words `said` in `mono` at `RATE` were put together; above 0: likely."""
    found = features(mono, said)
    if not len(found):
        return 0.0
    return float(np.mean((found - MEAN) / DEVIATION @ WEIGHTS + BIAS))


def features(mono: NDArray[np.float32], said: Sequence[Spoken]) -> Floats:
    """What changes at the places between words, ``[places, 17]``: the spectrum over 20, 40 and 80 ms; the fastest,
    second fastest and mean change from frame to frame, relative to the recording's; level, and how deep it dips;
    whether both sides are voiced, the least periodicity, the step of the period in semitones; whether there is a pause;
    the fastest change relative to that over 80 ms; low and high bands; the level there, and its sharpest bend."""
    mel = _mel(mono)
    mel -= mel.mean(axis=0)
    level = mel.mean(axis=1)
    change = np.sqrt(np.mean(np.diff(mel, axis=0) ** 2, axis=1))
    usual = float(np.median(change[level[1:] > np.percentile(level, 30)]))
    periodicity, period = _periods(mono)
    low, high = mel[:, :4].mean(axis=1), mel[:, -8:].mean(axis=1)
    rows = []
    for before, after in pairwise(said):
        pause = after.start - before.stop >= _PAUSE
        for time in [before.stop, after.start] if pause else [before.stop]:
            k = int(time * RATE / HOP)
            if not _EDGE <= k < min(len(mel), len(period)) - _EDGE:
                continue
            steps = []
            for d in (2, 4, 8):
                left, right = mel[k - d - 2 : k - d + 1].mean(axis=0), mel[k + d - 1 : k + d + 2].mean(axis=0)
                steps.append(float(np.sqrt(np.mean((left - right) ** 2))))
            near = np.sort(change[k - 5 : k + 5])
            voiced = min(periodicity[k - 8], periodicity[k + 8]) > 0.5
            jump = min(8.0, abs(12 * float(np.log2(period[k + 6] / period[k - 6]))))
            sides = min(level[k - 12 : k - 6].max(), level[k + 6 : k + 12].max())
            rows.append(
                [
                    *steps,
                    near[-1] / usual,
                    near[-2] / usual,
                    change[k - 10 : k + 10].mean() / usual,
                    abs(level[k + 4] - level[k - 4]),
                    level[k - 3 : k + 3].min() - sides,
                    float(voiced),
                    periodicity[k - 4 : k + 5].min() if voiced else 0.0,
                    jump if voiced else 0.0,
                    float(pause),
                    near[-1] / (steps[2] + 0.3),
                    abs(low[k + 5] - low[k - 5]),
                    abs(high[k + 5] - high[k - 5]),
                    mel[k - 4 : k + 4].mean(),
                    np.abs(np.diff(level[k - 4 : k + 5], 2)).max(),
                ]
            )
    return np.asarray(rows, np.float64).reshape(len(rows), 17)


def _mel(mono: NDArray[np.float32]) -> Floats:
    """Log power in mel bands, ``[frames, _BANDS]``, every `HOP` samples."""
    padded = np.pad(mono, (_WINDOW // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames, _SIZE, axis=1)) ** 2
    return np.asarray(np.log(power @ mel_filters(RATE, _SIZE, _BANDS).T + 1e-9))


def _periods(mono: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """The greatest autocorrelation around each frame, 0..1, and its lag in samples."""
    half = _PERIOD_WINDOW // 2
    padded = np.pad(mono.astype(np.float64), (half, half))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _PERIOD_WINDOW)[: len(mono) : HOP] * np.hanning(
        _PERIOD_WINDOW
    )
    own = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048, axis=1)) ** 2, axis=1)
    inside = own[:, _PERIODS[0] : _PERIODS[1]] / (own[:, :1] + 1e-9)
    return inside.max(axis=1), inside.argmax(axis=1) + float(_PERIODS[0])
