"""`Melody`: the pitch of a song as the synthesizer takes it, one value per frame of 10 ms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack

HOP = 0.01
"""Seconds per frame."""


@dataclass(frozen=True, eq=False)
class Melody:
    """`f0`: Hz ``[margin + last + 1 + margin]``, 0 where the source shall be noise; frame 0 of the song stands at
    `margin`. `voiced`: same shape, whether a pitch was heard there. `turns`: the source's phase in turns before each
    frame, were the song sung in one breath."""

    f0: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    turns: NDArray[np.float64]
    margin: int

    def place(self, frame: int) -> int:
        """Where in the arrays the song's `frame` stands; may be negative by up to `margin`."""
        return frame + self.margin


def melody(pitch: PitchTrack, last: int, margin: int, transpose: float, fill: bool) -> Melody:
    """The melody of a song that ends at frame `last`, `margin` more on both sides, in which it is reflected as the
    sound is.

    `transpose`: semitones. `fill`: unvoiced stretches get the pitch between those beside them, linear in Hz; for
    models that were trained so.
    """
    f0: NDArray[np.float64] = np.zeros(last + 1)
    track = pitch if pitch.hop == HOP else pitch.resampled(HOP)
    known = min(last + 1, track.frames)
    f0[:known] = track.f0[:known]
    f0 = np.pad(f0, margin, mode="reflect")
    voiced = f0 > 0
    if fill and voiced.any():
        f0 = np.interp(np.arange(len(f0)), np.flatnonzero(voiced), f0[voiced])
    f0 = f0 * 2 ** (transpose / 12)
    turns = np.concatenate([[0.0], np.cumsum(f0[:-1] * HOP % 1.0)]) % 1.0
    return Melody(f0, voiced, turns, margin)
