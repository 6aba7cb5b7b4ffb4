"""How much reverb a dry copy of a vocal lacks against the original, from the energies of both over time.

The model: the energy of reverb is the dry energy convolved with an exponential decay (the model behind RT60; Lebart,
Boucher and Denbigh, "A new method based on spectral subtraction for speech dereverberation", 2001). The dry copy has
the same notes at the same time, so the decay time and the share of reverb are fitted to the original's energy in the
moments right after notes, where the dry copy is already quiet. The fit is a search over a grid of decays and shares.
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
_RANGE = 50.0  # dB below the singing down to which the original's moments are compared
_FARTHEST = 12.0  # dB: upper limit of a moment's distance, so that outliers don't decide
_LEAST_MOMENTS = 0.5  # seconds of compared moments without which nothing is fitted
_GAIN = 0.8  # the fit must reduce the mean distance to this part of the distance without reverb


@dataclass(frozen=True)
class Ambience:
    """`share`: part of the vocal's energy that is reverb, 0..1. `decay`: seconds to fall by 60 dB."""

    share: float
    decay: float


NONE = Ambience(0.0, 0.3)


def missing_ambience(original: Curve, dry: Curve, hop: float) -> Ambience:
    """The reverb that `dry` lacks against `original`.

    `original`, `dry`: energies every `hop` seconds, ``[values]`` each, of vocals at the same loudness. Returns `NONE`
    where the original has no more reverb, or too few notes end in a rest.
    """
    from scipy.ndimage import maximum_filter1d

    blocks = round(0.03 / hop)
    wet, copy = smoothed(original, blocks), smoothed(dry, blocks)
    if not len(wet) or wet.max() <= 1e-9 or copy.max() <= 1e-9:
        return NONE
    reach = round(_LATEST / hop)
    latest = maximum_filter1d(copy, reach, origin=(reach - 1) // 2, mode="constant")
    singing = wet[copy > 0.1 * latest]
    loud = float(singing.mean()) if singing.size else float(wet.mean())
    after = (copy < latest * 10 ** (-_FALLEN / 10)) & (latest > 0.03 * loud)
    compared = after & (wet > loud * 10 ** (-_RANGE / 10))
    if compared.sum() < _LEAST_MOMENTS / hop:
        return NONE
    wanted = 10 * np.log10(wet[compared])
    # constant noise (leakage, hiss) explains part of the energy; its level is fitted as well
    noises = [0.0, *np.percentile(wet[compared], (1, 5, 20, 50))]

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
    """The energy of the reverb alone ``[values]``, with the same total as `dry`: a delay and a one-pole filter, whose
    impulse response is the exponential decay."""
    from scipy.signal import lfilter

    delay = max(1, round(_PRE_DELAY / hop))
    keep = 10 ** (-6 * hop / decay)
    delayed = np.concatenate([np.zeros(delay), dry[:-delay]])
    late: Curve = lfilter([1 - keep], [1, -keep], delayed)
    return late
