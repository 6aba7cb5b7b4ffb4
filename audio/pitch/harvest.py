"""Harvest (Morise 2017, "Harvest: a high-performance fundamental frequency estimator from speech signals"), of WORLD.

Hears a pitch in nearly everything, so its voicing is generous; slow, but it lets other threads run."""

from __future__ import annotations

import numpy as np

from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.pitch.trackers import F0, RATE
from understudy.audio.samples import Samples


def track_harvest(sound: Samples, settings: PitchSettings, device: str) -> F0:
    import pyworld

    frames = len(sound) // 80 + 1
    if not np.any(sound):
        return np.zeros(frames, np.float32)
    f0, _ = pyworld.harvest(sound.astype(np.float64), RATE, settings.low, settings.high, 5.0)
    f0 = f0[:frames]
    return np.asarray(np.pad(f0, (0, frames - len(f0))), np.float32)
