"""The two trackers that need no network.

Praat: the autocorrelation method with path finding (Boersma 1993, "Accurate short-term analysis of the fundamental
frequency and the harmonics-to-noise ratio of a sampled sound"), through parselmouth.
Harvest of WORLD (Morise 2017, "Harvest: a high-performance fundamental frequency estimator from speech signals"): finds
a pitch in nearly every frame, so its voicing is generous; slow, but other threads can run meanwhile.
"""

from __future__ import annotations

import numpy as np

from understudy.audio.pitch.tracker import F0, PEAK, RATE, PitchSettings
from understudy.audio.samples import Samples

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


def track_harvest(sound: Samples, settings: PitchSettings, device: str) -> F0:
    import pyworld

    frames = len(sound) // 80 + 1
    if not np.any(sound):
        return np.zeros(frames, np.float32)
    f0, _ = pyworld.harvest(sound.astype(np.float64), RATE, settings.low, settings.high, 5.0)
    f0 = f0[:frames]
    return np.asarray(np.pad(f0, (0, frames - len(f0))), np.float32)
