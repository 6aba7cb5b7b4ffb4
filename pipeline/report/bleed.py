"""How clean a separation is, judged without the true stems.

The idea is that of minimum statistics (Martin 2001, there for noise in speech): a voice moves, so in every band there
are moments in which it is silent. What the vocal stem holds in those moments, against what the instrumental
plays in the same band at the same time, is the share of the instrumental that leaked into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.report.bands import Heard

_QUANTILE = 0.10  # of the ratios: low enough to be where the voice is silent, high enough not to be a lucky zero
_ACTIVE = 10 ** (-30 / 10)  # columns in which the instrumental is this near to the band's loudest count


@dataclass(frozen=True)
class Bleed:
    """`ratio`: dB of leaked instrumental in the vocal stem against the vocal itself (−10: clearly heard; −25: gone);
    None where nothing can be told, e.g. an a cappella. `spots`: seconds where the leak is loudest beside the vocal."""

    ratio: float | None
    spots: tuple[float, ...]


def estimate_bleed(vocals: Heard, instrumental: Heard) -> Bleed:
    """From the bands of both stems of one song."""
    columns = min(vocals.columns, instrumental.columns)
    voice, rest = vocals.bands[:columns], instrumental.bands[:columns]
    total = float(voice.sum())
    if columns < 40 or total <= 1e-9 or float(rest.sum()) <= 1e-3 * total:
        return Bleed(None, ())
    leak = np.zeros(columns)
    for band in range(voice.shape[1]):
        loudest = float(np.percentile(rest[:, band], 95))
        active = rest[:, band] > _ACTIVE * loudest
        if loudest <= 1e-12 or active.sum() < 20:
            continue
        share = float(np.quantile(voice[active, band] / rest[active, band], _QUANTILE))
        leak += np.minimum(share * rest[:, band], voice[:, band])
    ratio = float(leak.sum()) / max(total - float(leak.sum()), 1e-3 * total)
    return Bleed(float(10 * np.log10(max(ratio, 1e-6))), _spots(leak, vocals.step))


def _spots(leak: NDArray[np.float64], step: float, seconds: float = 3.0) -> tuple[float, ...]:
    size = max(1, round(seconds / step))
    blocks = len(leak) // size
    if blocks < 3:
        return ()
    heard = leak[: blocks * size].reshape(blocks, size).sum(axis=1)
    order = np.argsort(-heard, kind="stable")[:3]
    return tuple(sorted(float(block * size * step) for block in order))
