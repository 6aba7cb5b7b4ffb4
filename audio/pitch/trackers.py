"""What a tracker is, and the list of those that exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from audio.errors import UnderstudyError
from audio.pitch.settings import PitchSettings
from audio.samples import Samples

RATE = 16000  # Hz of the sound that every tracker listens to; 5 ms are 80 samples
PEAK = 0.5  # what the loud parts of that sound peak at

F0 = NDArray[np.float32]

Tracker = Callable[[Samples, PitchSettings, str], F0]
"""(sound, settings, device) -> f0.

`sound`: mono float32 ``[samples]`` at `RATE`, a whole number of hops long, scaled as a whole so that the loud parts
of the song it comes from peak at `PEAK`. `device`: a torch device string, for trackers that run on torch. The answer:
float32 ``[len(sound) / 80 + 1]`` in Hz, 0 where unvoiced, frame k centred at sample ``80 k``. A tracker is a pure
function and may run in several threads at once."""


def tracker(name: str) -> Tracker:
    """The tracker of that name; raises `UnderstudyError` naming those that exist."""
    from audio.pitch.fcpe import track_fcpe
    from audio.pitch.harvest import track_harvest
    from audio.pitch.median import track_median
    from audio.pitch.praat import track_praat
    from audio.pitch.swift import track_swift

    trackers: dict[str, Tracker] = {
        "swift-f0": track_swift,
        "fcpe": track_fcpe,
        "praat": track_praat,
        "harvest": track_harvest,
        "median": track_median,
    }
    if name not in trackers:
        raise UnderstudyError(
            "pitch-tracker-unknown",
            f"There is no pitch tracker named {name!r}.",
            f"Choose one of: {', '.join(sorted(trackers))}.",
        )
    return trackers[name]
