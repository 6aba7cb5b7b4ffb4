"""How clean a separation is, judged without the true stems.

Two signs of instruments in the vocal stem, each in bands over time:
- the floor (after minimum statistics, Martin 2001, which find the noise in speech): a voice moves, so in every band
  there are moments in which it is silent. What the stem holds in those, against what the instrumental plays in the
  same band at the same time, is the share that leaked in. It finds leaks of constant share.
- common motion: a voice and a band rise and fall independently of each other. Where the fine envelopes of
  the two stems correlate, one is heard in the other. It finds the leaks of masks, which move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from pipeline.report.bands import Heard

_QUANTILE = 0.10  # of the ratios: low enough to be where the voice is silent, high enough not to be a lucky zero
_ACTIVE = 10 ** (-30 / 10)  # columns in which the instrumental is this near to the band's loudest count
_FLOOR = 10 ** (-25 / 10)  # of the band's loudest: what is softer moves nothing that is heard
_TREND = 0.5  # seconds; slower than this, both follow the song's form

# Fitted on four songs with known stems, leaks of constant share at -20, -10 and -3 dB and five kinds of mask:
# a correlation of 0 is a clean stem, .13 to .26 stands at -20 dB, .35 to .54 at -10 dB.
_NO_MOTION, _PER_MOTION = -20.0, 32.0


@dataclass(frozen=True)
class Bleed:
    """`ratio`: dB of leaked instrumental in the vocal stem against the vocal itself, by the worse of the two signs: a
    rough estimate (-15 hides, -5 is a duet). `floor`: what the first sign says in dB, `motion`: the
    correlation that the second found. All None where nothing can be told, e.g. for an a cappella.
    `spots`: seconds where the leak is loudest."""

    ratio: float | None
    floor: float | None
    motion: float | None
    spots: tuple[float, ...]


def estimate_bleed(vocals: Heard, instrumental: Heard) -> Bleed:
    """From the bands of both stems of one song."""
    columns = min(vocals.columns, instrumental.columns)
    voice, rest = vocals.bands[:columns], instrumental.bands[:columns]
    total = float(voice.sum())
    if columns < 40 or total <= 1e-9 or float(rest.sum()) <= 1e-3 * total:
        return Bleed(None, None, None, ())
    leak = np.zeros(columns)
    motion, weights = np.zeros(voice.shape[1]), np.zeros(voice.shape[1])
    trend = max(3, round(_TREND / vocals.step))
    for band in range(voice.shape[1]):
        ours, theirs = voice[:, band].astype(np.float64), rest[:, band].astype(np.float64)
        loudest = float(np.percentile(theirs, 95))
        active = theirs > _ACTIVE * loudest
        if loudest <= 1e-12 or active.sum() < 20:
            continue
        share = float(np.quantile(ours[active] / theirs[active], _QUANTILE))
        leak += np.minimum(share * theirs, ours)
        weights[band] = float(ours.sum()) ** 0.3  # as loud as it sounds, roughly, not as strong as it is
        motion[band] = _correlation(_motion(ours, trend), _motion(theirs, trend))
    ratio = float(leak.sum()) / max(total - float(leak.sum()), 1e-3 * total)
    floor = float(10 * np.log10(max(ratio, 1e-6)))
    common = float(motion @ weights / max(float(weights.sum()), 1e-12))
    return Bleed(max(floor, _NO_MOTION + _PER_MOTION * common), floor, common, _spots(voice, rest, vocals.step))


def _motion(power: NDArray[np.float64], trend: int) -> NDArray[np.float64]:
    """The envelope in dB without what changes slowly."""
    level = 10 * np.log10(power + max(_FLOOR * float(np.percentile(power, 95)), 1e-12))
    motion: NDArray[np.float64] = level - uniform_filter1d(level, trend)
    return motion


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    power = float(first @ first) * float(second @ second)
    return float(first @ second) / power**0.5 if power > 1e-9 else 0.0


def _spots(
    voice: NDArray[np.float32], rest: NDArray[np.float32], step: float, seconds: float = 3.0
) -> tuple[float, ...]:
    """Beginnings of the three passages in which the two stems have most in the same bands at the same time."""
    size = max(1, round(seconds / step))
    blocks = len(voice) // size
    if blocks < 3:
        return ()
    shared = np.sqrt(voice * rest).sum(axis=1)[: blocks * size].reshape(blocks, size).sum(axis=1)
    order = np.argsort(-shared, kind="stable")[:3]
    return tuple(sorted(float(block * size * step) for block in order))
