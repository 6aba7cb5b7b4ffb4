"""What a tracker is, and the list of those that exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.samples import Samples
from understudy.errors import UnderstudyError

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


def tracker(name: str, weights: Path | None = None) -> Tracker:
    """The tracker of that name; raises `UnderstudyError` naming those that exist. `weights`: the file of the one that
    doesn't bring its own."""
    from understudy.audio.pitch.fcpe import track_fcpe
    from understudy.audio.pitch.harvest import track_harvest
    from understudy.audio.pitch.praat import track_praat
    from understudy.audio.pitch.rmvpe.tracker import MARGIN, WINDOW, track_rmvpe
    from understudy.audio.pitch.swift import track_swift

    trackers = {
        "swift-f0": Tracker(track_swift),
        "fcpe": Tracker(track_fcpe),
        "praat": Tracker(track_praat),
        "harvest": Tracker(track_harvest),
        "rmvpe": Tracker(partial(track_rmvpe, weights=weights), WINDOW, MARGIN, silence_around=False),
    }
    if name not in trackers:
        raise UnderstudyError(
            "pitch-tracker-unknown",
            f"There is no pitch tracker named {name!r}.",
            f"Choose one of: {', '.join(sorted((*trackers, 'median')))}.",
        )
    return trackers[name]
