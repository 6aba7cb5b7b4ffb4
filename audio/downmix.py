"""Surround sound to stereo with the coefficients of ITU-R BS.775-4, table 2: centre and surrounds at -3 dB, no LFE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.audio.samples import Samples

_HALF_POWER = 0.5**0.5
# left and right share of each channel, by FFmpeg's channel names
_SHARES = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "FLC": (_HALF_POWER, 0.5),  # between front left and centre
    "FRC": (0.5, _HALF_POWER),
    "BC": (0.5, 0.5),  # one rear channel: -3 dB, then shared at equal power
}
# the layouts that FFmpeg assumes for a file that names none
_USUAL = {
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def to_stereo(samples: Samples, names: Sequence[str]) -> Samples:
    """``[channels, frames]`` with 3 to 8 channels named as FFmpeg does -> ``[2, frames]``; no scaling, so peaks may
    pass full scale. A channel with an unknown name counts by its place in the usual layout of that many channels."""
    known = names if len(names) == len(samples) and all(name in _SHARES for name in names) else _USUAL[len(samples)]
    shares = np.array([_SHARES[name] for name in known], np.float32)
    return np.ascontiguousarray(shares.T @ samples)
