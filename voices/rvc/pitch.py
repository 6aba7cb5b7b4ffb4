"""The pitch of a song as the synthesizer takes it: f0 for the decoder's source, and coarse steps for the prior.

RVC's prior encoder looks the pitch up in a table of 255 steps on the mel scale from 50 to 1100 Hz; pitches outside take
the nearest step. Only the table is bounded: the source gets f0 itself, so notes above 1100 Hz keep their pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack

HOP = 0.01  # seconds per frame

LOWEST, HIGHEST = 50.0, 1100.0  # Hz of steps 1 and 255
STEPS = 255


@dataclass(frozen=True, eq=False)
class FramePitch:
    """The pitch of each frame of 10 ms; the song's frame 0 is at index `margin`.

    `f0`: Hz ``[margin + last + 1 + margin]``, 0 where the source shall be noise. `voiced`: same shape, whether the
    track is voiced there. `phase`: same shape, the phase of the source in turns (0..1) before each frame, as if the
    song were synthesised in one piece: pieces then join without a jump.
    """

    f0: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    phase: NDArray[np.float64]
    margin: int

    def place(self, frame: int) -> int:
        """The index of the song's `frame`, which may be negative down to ``-margin``."""
        return frame + self.margin


def frame_pitch(pitch: PitchTrack, last: int, margin: int, transpose: float, fill: bool) -> FramePitch:
    """The pitch of a song that ends at frame `last`, with `margin` reflected frames on both sides, as its sound has.

    `transpose`: semitones. `fill`: unvoiced stretches are interpolated in Hz, for models trained with it.
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
    phase = np.concatenate([[0.0], np.cumsum(f0[:-1] * HOP % 1.0)]) % 1.0
    return FramePitch(f0, voiced, phase, margin)


def coarse_pitch(f0: NDArray[np.floating]) -> NDArray[np.int64]:
    """`f0` in Hz, any shape, 0 where unvoiced, to steps 1..255 of the same shape; unvoiced is 1, as in RVC.

    mel(f) = 1127 ln(1 + f / 700) (O'Shaughnessy, 1987), rounded half to even.
    """
    low, high = _mel(np.float64(LOWEST)), _mel(np.float64(HIGHEST))
    steps = 1 + (_mel(np.asarray(f0, np.float64)) - low) * (STEPS - 1) / (high - low)
    return np.rint(np.clip(steps, 1, STEPS)).astype(np.int64)


def _mel(hertz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700))
