"""The interface of pitch trackers: `PitchSettings`, and `Tracker`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from understudy.audio.samples import Samples
from understudy.choices import SingleTracker, TrackerName

RATE = 16000  # Hz of the sound that every tracker gets; 5 ms are 80 samples
PEAK = 0.5  # peak of the loud parts of that sound

F0 = NDArray[np.float32]


class PitchSettings(BaseModel):
    """`low` and `high` in Hz, inclusive; pitches outside are unvoiced. The default range covers every sung note: C2 of
    a bass is 65 Hz, F6 of a soprano (the Queen of the Night) 1397 Hz; whistle register reaches 2.5 kHz."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracker: TrackerName = Field("swift-f0", description="the pitch tracker; 'median' takes the median of several")
    low: float = Field(50.0, ge=40, le=1000, description="lowest pitch in Hz")
    high: float = Field(2500.0, ge=100, le=2500, description="highest pitch in Hz")
    confidence: float = Field(
        0.5, gt=0, lt=1, description="confidence at which a frame counts as voiced; lower finds more notes"
    )
    repair: bool = Field(True, description="correct short jumps to a neighbouring octave")
    median_of: tuple[SingleTracker, ...] = Field(
        ("swift-f0", "praat", "harvest"), description="the trackers of 'median', an odd number, most trusted first"
    )

    @property
    def trackers(self) -> tuple[SingleTracker, ...]:
        """The trackers that run."""
        return self.median_of if self.tracker == "median" else (self.tracker,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high < 1.5 * self.low:
            raise ValueError("high must be at least 1.5 times low")
        if len(self.median_of) % 2 == 0 or len(set(self.median_of)) != len(self.median_of):
            raise ValueError("median_of wants an odd number of different trackers")
        return self


@dataclass(frozen=True)
class Tracker:
    """`track(sound, settings, device) -> f0`.

    `sound`: mono float32 ``[samples]`` at `RATE`, scaled as a whole so that the loud parts of the song it comes from
    peak at `PEAK`. `device`: a torch device string, for trackers that run on torch. Returns float32
    ``[len(sound) // 80 + 1]`` in Hz, 0 where unvoiced, frame k centred at sample ``80 k``. `track` is a pure function
    and may be called by several threads at once.

    `window`: seconds of a song per call, `margin`: seconds of context on both sides, longer than the tracker's memory;
    both whole numbers of hops. `silence_around`: whether the sound is extended by silence beyond the ends of a song (to
    a whole number of seconds), or ends with it. `highest`: Hz up to which it finds a pitch; above, whistle register is
    found by `understudy.audio.pitch.classical.add_whistle`.
    """

    track: Callable[[Samples, PitchSettings, str], F0]
    window: float = 20
    margin: float = 2
    silence_around: bool = True
    highest: float = np.inf
