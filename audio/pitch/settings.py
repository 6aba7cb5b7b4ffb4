"""`PitchSettings`: the pitch tracker and its range."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SingleTracker = Literal["swift-f0", "fcpe", "praat", "harvest", "rmvpe"]


class PitchSettings(BaseModel):
    """`low` and `high` in Hz, inclusive; pitches outside are unvoiced. The default range covers every sung note: C2 of
    a bass is 65 Hz, F6 of a soprano (the Queen of the Night) 1397 Hz."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracker: Literal["swift-f0", "fcpe", "praat", "harvest", "rmvpe", "median"] = Field(
        "swift-f0", description="the pitch tracker; 'median' takes the median of several"
    )
    low: float = Field(50.0, ge=40, le=1000, description="lowest pitch in Hz")
    high: float = Field(1600.0, ge=100, le=2000, description="highest pitch in Hz")
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
