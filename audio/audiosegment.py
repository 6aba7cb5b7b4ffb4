"""Conversion between `Audio` and pydub's `AudioSegment`, for programs that edit with pydub (optional extra `pydub`)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from understudy.audio.samples import Audio
from understudy.errors import UnderstudyError
from understudy.packages import require_package

if TYPE_CHECKING:
    from pydub import AudioSegment


def to_audiosegment(audio: Audio, bits: Literal[16, 24, 32] = 24) -> AudioSegment:
    """`audio` as an `AudioSegment` of the same rate, channels and length.

    pydub holds integers, so float32 samples are rounded to the nearest of ``2 ** bits`` steps, without dither; full
    scale (±1) is the full range, +1.0 being one step below it. 24 bits keep every bit of a float32 sample between 0.5
    and 1; they are held in 32-bit integers (``sample_width`` 4), as pydub does with 24-bit files.

    Nothing is clipped: raises `UnderstudyError` ``over-full-scale`` for samples beyond ±1 (`Audio` allows them;
    multiply by a gain first). Raises ``package-missing`` without pydub, ``ValueError`` for other values of `bits`.
    """
    if bits not in (16, 24, 32):
        raise ValueError(f"AudioSegments have 16, 24 or 32 bits, not {bits}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub warns where there is no ffmpeg, which is not needed here
        segment = require_package("pydub").AudioSegment
    peak = float(np.max(np.abs(audio.samples), initial=0.0))
    if not peak <= 1:
        raise UnderstudyError(
            "over-full-scale",
            f"The samples reach {peak:.3f}, beyond the full scale of 1 that an AudioSegment can hold.",
            f"Multiply them by {0.999 / peak:.3f} or less first." if np.isfinite(peak) else "Remove NaN and infinity.",
        )
    scale = 2.0 ** (bits - 1)
    # float64, because float32 cannot hold 2^31 - 1; +1.0 becomes the highest integer
    values = np.minimum(np.rint(audio.samples.T.astype(np.float64) * scale), scale - 1)
    data = values.astype("<i2") if bits == 16 else values.astype("<i4") << (32 - bits)
    return segment(data.tobytes(), sample_width=data.itemsize, frame_rate=audio.rate, channels=audio.channels)


def from_audiosegment(segment: AudioSegment) -> Audio:
    """`segment` as float32 ``[channels, frames]`` at its own rate, full scale ±1.

    Samples of 8, 16 and 24 bits (in 32) are exact; of full 32-bit samples float32 keeps the upper 24 bits.
    """
    width = segment.sample_width
    values = np.frombuffer(segment.raw_data, f"<i{width}").reshape(-1, segment.channels)
    samples = (values.T * 0.5 ** (8 * width - 1)).astype(np.float32)
    return Audio(np.ascontiguousarray(samples), segment.frame_rate)
