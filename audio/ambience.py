"""How much of a room's sound a dry copy of a vocal lacks, from nothing but the two energies over time.

A room keeps sounding after the voice: its energy is the dry energy convolved with an exponential decay (the model
behind RT60; Lebart, Boucher and Denbigh, "A new method based on spectral subtraction for speech dereverberation",
2001). The copy has the same notes at the same time, so that decay and share can be fitted by comparing the moments
right after notes, where the dry copy has already fallen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.audio.effects.control import TINY, Curve, smoothed

DECAYS = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0, 2.6)
SHARES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35)

_PRE_DELAY = 0.012  # seconds, as in audio.effects.reverb
_FALLEN = 12.0  # dB that the dry copy is below its latest peak in the moments compared
_LATEST = 1.5  # seconds that a peak counts as latest
_RANGE = 50.0  # dB below the singing that the original's moments are compared down to
_FARTHEST = 12.0  # dB; a moment that is further off counts as this much
_LEAST_MOMENTS = 0.5  # seconds of them
_GAIN = 0.8  # the fit has to bring the mean distance down to this part of that without any room


@dataclass(frozen=True)
class Ambience:
    """`share`: part of the vocal's energy that is reverb, 0..1. `decay`: seconds to fall by 60 dB."""

    share: float
    decay: float


NONE = Ambience(0.0, 0.3)


def missing_ambience(original: Curve, dry: Curve, hop: float) -> Ambience:
    """The room that `dry` lacks against `original`: energies every `hop` seconds, ``[values]`` each, brought to the
    same loudness before. `NONE` where the original has no more room, or too few notes end in the clear to tell."""
    from scipy.ndimage import maximum_filter1d

    blocks = round(0.03 / hop)
    heard, copy = smoothed(original, blocks), smoothed(dry, blocks)
    if not len(heard) or heard.max() <= 1e-9 or copy.max() <= 1e-9:
        return NONE
    reach = round(_LATEST / hop)
    latest = maximum_filter1d(copy, reach, origin=(reach - 1) // 2, mode="constant")
    singing = heard[copy > 0.1 * latest]
    loud = float(singing.mean()) if singing.size else float(heard.mean())
    after = (copy < latest * 10 ** (-_FALLEN / 10)) & (latest > 0.03 * loud)
    compared = after & (heard > loud * 10 ** (-_RANGE / 10))
    if compared.sum() < _LEAST_MOMENTS / hop:
        return NONE
    wanted = 10 * np.log10(heard[compared])
    # what sounds on regardless (leakage, hiss) explains part of it; how much is fitted as well
    noises = [0.0, *np.percentile(heard[compared], (1, 5, 20, 50))]

    def distance(energy: Curve) -> float:
        return min(
            float(np.minimum(np.abs(10 * np.log10(energy + noise + TINY) - wanted), _FARTHEST).mean())
            for noise in noises
        )

    copy = copy[compared]
    without = distance(copy)
    best, least = NONE, without
    for decay in DECAYS:
        late = smoothed(_late(dry, decay, hop), blocks)[compared]
        for share in SHARES:
            off = distance((1 - share) * copy + share * late)
            if off < least:
                best, least = Ambience(share, decay), off
    return best if least < _GAIN * without else NONE


def _late(dry: Curve, decay: float, hop: float) -> Curve:
    """The energy of a room's sound alone, as much in total as `dry`."""
    from scipy.signal import lfilter

    delay = max(1, round(_PRE_DELAY / hop))
    keep = 10 ** (-6 * hop / decay)
    delayed = np.concatenate([np.zeros(delay), dry[:-delay]])
    late: Curve = lfilter([1 - keep], [1, -keep], delayed)
    return late
