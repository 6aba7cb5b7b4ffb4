"""How good a separation is, estimated from the song and its stems alone: bleed in dB, and other faults.

The mapping from the features in `bleed_features` to decibels was fitted to separations of songs with known stems; see
`_BLEED` and `_RESIDUE` for how, and for its accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource
from understudy.context import Context
from understudy.pipeline.separation.bleed_features import BleedFeatures, StemFeatures, measure_features
from understudy.pipeline.values import stored

CLEAN, AUDIBLE = -12.0, -6.0
"""dB of the other stem in a stem: of separations better than 20 dB, one in seventeen is estimated above the first, of
those worse than 10 dB more than half; above the second it is plainly audible."""

PHASY = 0.95
"""Of the scale of `Quality.phasiness`."""

BLURRED = 0.18
"""Of `Quality.blurred`: true stems have up to .12, masks that differ from left to right .11 to .28."""

LOST = -25.0
"""dB against the song: above it, the part of the song that is in neither stem is audibly missing."""

_CLIFF = 25.0  # dB by which a stem's share of the song falls at the end of a network's band
_CLIFF_WIDTH = 600.0  # Hz over which it does
_BESIDE = 1000.0  # Hz below the cliff that are looked at
_LOWEST_CLIFF = 3000.0  # Hz
_GOES_ON = 1500.0  # Hz of the song above a cliff: less is no loss
_QUIET_TOP = -75.0  # dB against the song's strongest bin: below it there is no sound
_SPOT = 3.0  # seconds

Floats = NDArray[np.float64]


@stored
@dataclass(frozen=True)
class Level:
    """An estimate in dB, and where the truth was in four of five songs: from `low` to `high`."""

    estimate: float
    low: float
    high: float


@stored
@dataclass(frozen=True)
class Quality:
    """`bleed`: instruments in the vocals, against the vocals; `residue`: voice in the instrumental, against it; both
    None where nothing can be measured, e.g. without a voice. `bleed_at`: seconds where it is loudest, `bleed_from` and
    `bleed_to`: Hz between which most of it lies. `cutoffs`: by stem, Hz above which it holds nothing although the song
    does. `missing`: the song minus both stems, dB against the song. `phasiness`: 0..1, how far the vocals' phase
    is that of the song instead of their own. `blurred`: 0..1, how much less alike left and right of the vocals are
    among instruments than alone; None in mono. `fit`: 0..1, how much of the vocals is in the song at the same time;
    vocals of elsewhere have next to nothing."""

    bleed: Level | None
    residue: Level | None
    bleed_at: tuple[float, ...]
    bleed_from: float | None
    bleed_to: float | None
    cutoffs: Mapping[str, float]
    missing: float | None
    phasiness: float | None
    blurred: float | None
    fit: float | None = None


NOTHING = Quality(None, None, (), None, None, {}, None, None, None)
"""Where nothing can be measured: one of the stems is silent, or the song is shorter than three seconds."""


def assess_separation(context: Context, song: AudioSource, vocals: AudioSource, instrumental: AudioSource) -> Quality:
    """The quality of stems with the song's rate, channels and length; they are read once, block by block."""
    features = measure_features(context, song, vocals, instrumental)
    if features is None:
        return NOTHING
    low, high = _where(features)
    return Quality(
        bleed=_level(_BLEED, features.vocals),
        residue=_level(_RESIDUE, features.instrumental),
        bleed_at=_spots(features),
        bleed_from=low,
        bleed_to=high,
        cutoffs=dict(_cutoffs(features)),
        missing=features.missing,
        fit=features.fit,
        phasiness=float(np.clip((features.vocals.phase - 0.75) / 0.25, 0, 1)),
        blurred=_blurred(features.vocals),
    )


def _blurred(stem: StemFeatures) -> float | None:
    if stem.alone is None or stem.among is None:
        return None
    return max(0.0, stem.alone - stem.among)


def _where(features: BleedFeatures) -> tuple[float | None, float | None]:
    """Hz between which the middle 70 % of the bleed lie."""
    leak = features.vocals.leak
    if leak.sum() <= 0:
        return None, None
    share = np.concatenate(([0.0], np.cumsum(leak) / leak.sum()))
    low, high = np.interp([0.15, 0.85], share, np.log(features.edges))
    return float(math.exp(low)), float(math.exp(high))


def _spots(features: BleedFeatures) -> tuple[float, ...]:
    """Beginnings of the three passages in which the stems have most in the same bands at the same time."""
    size = max(1, round(_SPOT / features.step))
    blocks = len(features.shared) // size
    if blocks < 3:
        return ()
    shared = features.shared[: blocks * size].reshape(blocks, size).sum(axis=1)
    order = np.argsort(-shared, kind="stable")[:3]
    return tuple(sorted(float(block * size * features.step) for block in order))


def _cutoffs(features: BleedFeatures) -> Iterator[tuple[str, float]]:
    """The frequencies at which a stem ends abruptly while the song goes on."""
    song = _smooth(features.spectrum, features.hertz)
    level = 10 * np.log10(song / song.max() + 1e-30)
    sounding = np.flatnonzero(level > _QUIET_TOP)
    top = int(sounding[-1]) if sounding.size else 0
    for name, stem in (("vocals", features.vocals), ("instrumental", features.instrumental)):
        share = 10 * np.log10(_smooth(stem.spectrum, features.hertz) / (song + 1e-30) + 1e-12)
        found = _cliff(share, top, features.hertz)
        if found is not None:
            yield name, found


def _smooth(spectrum: Floats, hertz: float) -> Floats:
    """The mean over 150 Hz."""
    width = max(1, round(150 / hertz))
    padded = np.pad(spectrum, (width // 2, width - 1 - width // 2), mode="edge")
    smooth: Floats = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    return smooth


def _cliff(share: Floats, top: int, hertz: float) -> float | None:
    """The frequency from which on, up to the song's `top`, the share stays `_CLIFF` dB below what it was just
    before."""
    first, width, beside = (max(1, round(value / hertz)) for value in (_LOWEST_CLIFF, _CLIFF_WIDTH, _BESIDE))
    last = top - max(width, round(_GOES_ON / hertz))
    if last < first + beside:
        return None
    highest_after = np.maximum.accumulate(share[: top + 1][::-1])[::-1]
    for start in range(first, last):
        before = float(np.median(share[max(0, start - beside) : start + 1]))
        if before - float(highest_after[start + width]) >= _CLIFF and before > -35:
            # where in the cliff: half way down
            down = share[start : start + width + 1]
            return float((start + int(np.argmax(down < before - _CLIFF / 2))) * hertz)
    return None


@dataclass(frozen=True)
class _Fit:
    """The estimated power of a leak, relative to its stem, is the sum of three powers: one that grows with coherence,
    one that grows with phase, and `base`, all in dB. Of the two: dB at the feature's reference value in `_AT`, and dB
    per unit of the feature. `error`: dB within which four of five estimates were, on songs that were not part of the
    fit."""

    base: float
    coherence: tuple[float, float]
    phase: tuple[float, float]
    error: float


_AT = {"coherence": 0.0, "phase": 0.95}
"""Reference values of the features."""

# Fitted to SIR (BSSEval with 128 taps, up to 25 dB) of 196 separations of seven songs whose stems are known or come
# from different recordings: leaks of -30 to -6 dB, fourteen masks from ideal to hardly any good, leaked drums and
# sides, the embedded separator and mixtures of its stems with the true ones. With each song left out in turn: rank
# correlation .62 and mean error 4.8 dB for the vocals (.96 and 2.6 dB for plain leaks), .49 and 5.1 dB for the
# instrumental. True stems are all estimated at -23 dB or less (fourteen). Whole drum hits in the vocals are not
# noticed.
_BLEED = _Fit(-25.1, (0.81, 0.73), (-18.5, 157.8), 7.9)
_RESIDUE = _Fit(-34.3, (1.3, 2.06), (-17.8, 74.8), 8.3)


def _level(fit: _Fit, stem: StemFeatures) -> Level:
    parts = [fit.base]
    for name, at in _AT.items():
        offset, slope = getattr(fit, name)
        parts.append(offset + slope * (getattr(stem, name) - at))
    estimate = float(np.clip(10 * np.log10(np.sum(np.power(10.0, np.asarray(parts) / 10))), -25, 5))
    return Level(estimate, estimate - fit.error, estimate + fit.error)
