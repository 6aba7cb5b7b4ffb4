"""`PitchSettings`: which tracker listens, and between which pitches."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SingleTracker = Literal["swift-f0", "fcpe", "praat", "harvest", "rmvpe"]


class PitchSettings(BaseModel):
    """`low` and `high` are Hz, inclusive; anything outside is unvoiced. The default band holds every sung note:
    a bass's C2 is 65 Hz, the Queen of the Night's F6 1397 Hz."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracker: Literal["swift-f0", "fcpe", "praat", "harvest", "rmvpe", "median"] = Field(
        "swift-f0", description="what listens for the pitch; 'median' asks several and takes the middle"
    )
    low: float = Field(50.0, ge=40, le=1000, description="lowest pitch in Hz")
    high: float = Field(1600.0, ge=100, le=2000, description="highest pitch in Hz")
    confidence: float = Field(
        0.5, gt=0, lt=1, description="how sure a tracker must be that a frame is voiced; lower hears more"
    )
    repair: bool = Field(True, description="mend short jumps to a neighbouring octave")
    median_of: tuple[SingleTracker, ...] = Field(
        ("swift-f0", "praat", "harvest"), description="the trackers of 'median', an odd number, most trusted first"
    )

    @property
    def listening(self) -> tuple[SingleTracker, ...]:
        """The trackers that are asked."""
        return self.median_of if self.tracker == "median" else (self.tracker,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high < 1.5 * self.low:
            raise ValueError("high must be at least 1.5 times low")
        if len(self.median_of) % 2 == 0 or len(set(self.median_of)) != len(self.median_of):
            raise ValueError("median_of wants an odd number of different trackers")
        return self
