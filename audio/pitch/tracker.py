"""What a tracker is, and the list of those that exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.samples import Samples

RATE = 16000  # Hz of the sound that every tracker listens to; 5 ms are 80 samples
PEAK = 0.5  # what the loud parts of that sound peak at

F0 = NDArray[np.float32]


@dataclass(frozen=True)
class Tracker:
    """`hear(sound, settings, device) -> f0`.

    `sound`: mono float32 ``[samples]`` at `RATE`, scaled as a whole so that the loud parts of the song it comes from
    peak at `PEAK`. `device`: a torch device string, for trackers that run on torch. The answer: float32
    ``[len(sound) // 80 + 1]`` in Hz, 0 where unvoiced, frame k centred at sample ``80 k``. `hear` is a pure function
    and may be called by several threads at once.

    `window`: seconds of a song that it shall hear at once, `margin`: seconds of context on both sides, longer than its
    memory; both whole numbers of hops. `silence_around`: whether past the ends of a song it hears silence, a whole
    number of seconds in all, or nothing.
    """

    hear: Callable[[Samples, PitchSettings, str], F0]
    window: float = 20
    margin: float = 2
    silence_around: bool = True
