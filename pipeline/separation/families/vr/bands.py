"""The bands in which VR networks see a song: each at its own rate and resolution, their bins stacked into one spectrum.

The numbers are in ``configs/vr_bands.yaml``; the rules are Ultimate Vocal Remover's, among them what differs between
its versions 4 and 5.1 (`newer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Curve = NDArray[np.float32]
Matrix = tuple[tuple[float, float], tuple[float, float]]

_SIDES: dict[str, Matrix] = {  # what the network's two channels are of left and right
    "mid_side": ((0.5, 0.5), (1.0, -1.0)),
    "mid_side_b2": ((0.5, 1.0), (1.0, -0.5)),
    "mid_side_c": ((1.0, 0.25), (-0.25, 1.0)),
    "stereo_n": ((1 / 0.9375, 0.25 / 0.9375), (0.25 / 0.9375, 1 / 0.9375)),
}
_PLAIN: Matrix = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Band:
    """`rate` Hz; spectra of `n_fft` frames every `hop`, of whose bins those from `low` up to `high` are used.
    `sides`: what the network's two channels are of left and right. `back`: ``[n_fft // 2 + 1]``, the weight of each bin
    when the bands are put together again."""

    rate: int
    hop: int
    n_fft: int
    low: int
    high: int
    sides: Matrix
    back: Curve


@dataclass(frozen=True, eq=False)
class Bands:
    """`bands` from the lowest to the highest, whose `rate` is the network's. `bins`: of the stacked spectrum, one
    less than it has. `tilt`: ``[bins + 1]``, gain of each bin on the way in. `reverse`: the network takes the song
    backwards."""

    bands: tuple[Band, ...]
    bins: int
    tilt: Curve
    reverse: bool

    @property
    def rate(self) -> int:
        return self.bands[-1].rate

    @property
    def hop(self) -> int:
        """Frames at `rate` from one spectrum to the next."""
        return self.bands[-1].hop


def band_names() -> tuple[str, ...]:
    """The names of all sets of bands."""
    return tuple(sorted(_published()))


def read_bands(name: str, newer: bool) -> Bands:
    """The set of bands `name`, one of `band_names`, as networks before 5.1 or of 5.1 and later (`newer`) see them."""
    facts = _published()[name]
    bins, reverse = int(facts["bins"]), bool(facts.get("reverse")) and not newer
    count = len(facts["bands"])
    bands = tuple(
        _band(band, None if reverse else band.get("channels") if newer else facts.get("sides"), newer)
        for band in facts["bands"]
    )
    start, stop = facts["pre_filter"]
    return Bands(bands, bins, _tilt(bins, count, start, stop, newer), reverse)


@cache
def _published() -> Mapping[str, Mapping[str, Any]]:
    text = (files("understudy.configs") / "vr_bands.yaml").read_text("utf-8")
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found


def _band(facts: Mapping[str, Any], sides: str | None, newer: bool) -> Band:
    size = facts["n_fft"] // 2 + 1
    back = np.ones(size, np.float32)
    if "low_pass" in facts:
        start, stop = facts["low_pass"]
        back *= falling(size, start, stop, newer)
    if "high_pass" in facts:
        start, stop = facts["high_pass"]
        back *= rising(size, start, stop - 1, newer)
    low, high = facts["crop"]
    return Band(facts["rate"], facts["hop"], facts["n_fft"], low, high, _SIDES.get(sides or "", _PLAIN), back)


def falling(size: int, start: int, stop: int, newer: bool) -> Curve:
    """One up to bin `start`, then down to zero at `stop`."""
    if newer:
        return np.concatenate([np.ones(start - 1), np.linspace(1, 0, stop - start + 1), np.zeros(size - stop)]).astype(
            np.float32
        )
    curve = np.ones(size, np.float32)
    curve[start:stop] = 1 - np.arange(1, max(0, stop - start) + 1) / max(1, stop - start)
    curve[stop:] = 0
    return curve


def rising(size: int, start: int, stop: int, newer: bool) -> Curve:
    """Zero up to bin `stop`, then up to one at `start`, which is the higher one."""
    if newer:
        parts = [np.zeros(stop + 1), np.linspace(0, 1, 1 + start - stop), np.ones(size - start - 2)]
        return np.concatenate(parts).astype(np.float32)
    curve = np.ones(size, np.float32)
    curve[stop + 1 : start + 1] = 1 - np.arange(start - stop, 0, -1) / max(1, start - stop)
    curve[: stop + 1] = 0
    return curve


def _tilt(bins: int, bands: int, start: int, stop: int, newer: bool) -> Curve:
    """The gain of each bin on the way in: the highest ones fade out."""
    if start <= 0:
        return np.ones(bins + 1, np.float32)
    if newer or bands == 1:
        return falling(bins + 1, start, stop, newer)
    curve = np.ones(bins + 1, np.float64)
    last = 1.0
    for place in range(start + 1, stop):
        last = 10 ** (-(place - start) * (3.5 - last) / 20)
        curve[place] = last
    return curve.astype(np.float32)
