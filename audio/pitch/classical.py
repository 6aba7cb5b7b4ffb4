"""The two trackers that need no network.

Praat: the autocorrelation method with path finding (Boersma 1993, "Accurate short-term analysis of the fundamental
frequency and the harmonics-to-noise ratio of a sampled sound"), through parselmouth.
Harvest of WORLD (Morise 2017, "Harvest: a high-performance fundamental frequency estimator from speech signals"): finds
a pitch in nearly every frame, so its voicing is generous; slow, but other threads can run meanwhile.
"""

from __future__ import annotations

import numpy as np

from understudy.audio.pitch.track import stretches
from understudy.audio.pitch.tracker import F0, PEAK, RATE, PitchSettings
from understudy.audio.samples import Samples

_WHISTLE_FLOOR, _WHISTLE_STRENGTH, _WHISTLE_SHORTEST = 300.0, 0.8, 10  # Hz, Praat's strength, frames
_SILENCE = 0.01  # of the loud parts' peak: frames below lean towards unvoiced


def track_praat(sound: Samples, settings: PitchSettings, device: str) -> F0:
    import parselmouth

    frames = len(sound) // 80 + 1
    window = 3 / settings.low  # seconds: three of the longest periods
    # Praat centres its frames on the sound's middle. With this much silence on both sides exactly `frames` of them fit,
    # and they lie on our grid.
    pad = round(window / 2 * RATE) + 20
    padded = np.pad(sound.astype(np.float64), pad)
    peak = float(np.abs(padded - padded.mean()).max())
    if peak == 0:
        return np.zeros(frames, np.float32)
    pitch = parselmouth.Sound(padded, RATE).to_pitch_ac(
        time_step=0.005,
        pitch_floor=settings.low,
        pitch_ceiling=settings.high,
        # Praat measures silence against the peak of what it was given; ours is measured against the entire song
        silence_threshold=_SILENCE * PEAK / peak,
        # 0.45, Praat's own default, at the default confidence of 0.5
        voicing_threshold=0.9 * settings.confidence,
    )
    f0 = pitch.selected_array["frequency"].astype(np.float32)
    if len(f0) != frames:
        raise ValueError(f"Praat answered with {len(f0)} frames for {frames}")
    return np.asarray(f0)


def add_whistle(f0: F0, sound: Samples, settings: PitchSettings, highest: float) -> F0:
    """`f0` with the notes above `highest` Hz in its unvoiced frames, by Praat's method in windows of 10 ms.

    Only what is clearly periodic for 50 ms is taken: neither sibilants nor breath reach such a strength there.
    """
    import parselmouth

    if settings.high <= highest or not np.any(sound):
        return f0
    pad = round(1.5 / _WHISTLE_FLOOR * RATE) + 20
    padded = np.pad(sound.astype(np.float64), pad)
    pitch = parselmouth.Sound(padded, RATE).to_pitch_ac(
        time_step=0.005,
        pitch_floor=_WHISTLE_FLOOR,
        pitch_ceiling=settings.high,
        silence_threshold=2 * _SILENCE * PEAK / float(np.abs(padded - padded.mean()).max()),
        voicing_threshold=_WHISTLE_STRENGTH,
    )
    found = pitch.selected_array["frequency"].astype(np.float32)
    if len(found) != len(f0):
        raise ValueError(f"Praat answered with {len(found)} frames for {len(f0)}")
    added = f0.copy()
    for start, stop in stretches(found > highest):
        if stop - start >= _WHISTLE_SHORTEST:
            own = slice(start, stop)
            added[own] = np.where(f0[own] > 0, f0[own], found[own])
    return added


def track_harvest(sound: Samples, settings: PitchSettings, device: str) -> F0:
    import pyworld

    frames = len(sound) // 80 + 1
    if not np.any(sound):
        return np.zeros(frames, np.float32)
    f0, _ = pyworld.harvest(sound.astype(np.float64), RATE, settings.low, settings.high, 5.0)
    f0 = f0[:frames]
    return np.asarray(np.pad(f0, (0, frames - len(f0))), np.float32)
