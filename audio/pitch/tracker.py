"""`Tracker`: the interface of a pitch tracker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.samples import Samples

RATE = 16000  # Hz of the sound that every tracker gets; 5 ms are 80 samples
PEAK = 0.5  # peak of the loud parts of that sound

F0 = NDArray[np.float32]


@dataclass(frozen=True)
class Tracker:
    """`track(sound, settings, device) -> f0`.

    `sound`: mono float32 ``[samples]`` at `RATE`, scaled as a whole so that the loud parts of the song it comes from
    peak at `PEAK`. `device`: a torch device string, for trackers that run on torch. Returns float32
    ``[len(sound) // 80 + 1]`` in Hz, 0 where unvoiced, frame k centred at sample ``80 k``. `track` is a pure function
    and may be called by several threads at once.

    `window`: seconds of a song per call, `margin`: seconds of context on both sides, longer than the tracker's memory;
    both whole numbers of hops. `silence_around`: whether the sound is extended by silence beyond the ends of a song (to
    a whole number of seconds), or ends with it.
    """

    track: Callable[[Samples, PitchSettings, str], F0]
    window: float = 20
    margin: float = 2
    silence_around: bool = True
