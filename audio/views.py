"""Sources computed from other sources as they are read: nothing is written, only the requested frames are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.audio.samples import Audio, AudioSource, View


@dataclass(frozen=True)
class Sum:
    """The sum of `parts` (one rate and channel count), each times its factor; as long as the longest of them.

    `gains`: a factor per part; None: 1 for all. A part whose factor is 0 isn't read.
    """

    parts: Sequence[AudioSource]
    gains: Sequence[float] | None = None

    @property
    def rate(self) -> int:
        return self.parts[0].rate

    @property
    def channels(self) -> int:
        return self.parts[0].channels

    @property
    def frames(self) -> int:
        return max(part.frames for part in self.parts)

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """``[channels, stop - start]``; silence before the beginning and past the end."""
        stop = self.frames if stop is None else stop
        total = np.zeros((self.channels, stop - start), np.float32)
        gains = [1.0] * len(self.parts) if self.gains is None else self.gains
        for part, gain in zip(self.parts, gains, strict=True):
            if gain:
                total += part.read(start, stop).samples * np.float32(gain)
        return Audio(total, self.rate)


@dataclass(frozen=True)
class Shifted(View):
    """`source` from its frame `delay` on, as long as before; silence where it doesn't reach."""

    source: AudioSource
    delay: int

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """``[channels, stop - start]``."""
        stop = self.frames if stop is None else stop
        return self.source.read(start + self.delay, stop + self.delay)


@dataclass(frozen=True)
class MonoMix(View):
    """The mean of the channels of `source`, repeated in `channels` channels."""

    source: AudioSource
    channels: int = 1

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """``[channels, stop - start]``."""
        mean = self.source.read(start, stop).samples.mean(axis=0, keepdims=True, dtype=np.float32)
        return Audio(np.repeat(mean, self.channels, axis=0), self.rate)
