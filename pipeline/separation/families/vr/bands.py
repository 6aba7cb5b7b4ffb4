"""The bands in which VR networks see a song: each at its own rate and resolution, their bins stacked into one spectrum.

The numbers are those of the published networks, as the package audio-separator ships them, and so are the rules
(Ultimate Vocal Remover's), among them what differs between its versions 4 and 5.1 (`newer`).
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]
Matrix = tuple[tuple[float, float], tuple[float, float]]

_PLACE = Path("separator", "uvr_lib_v5", "vr_network", "modelparams")
_SIDES: dict[str, Matrix] = {  # what the network's two channels are of left and right
    "mid_side": ((0.5, 0.5), (1.0, -1.0)),
    "mid_side_b2": ((0.5, 1.0), (1.0, -0.5)),
    "mid_side_c": ((1.0, 0.25), (-0.25, 1.0)),
    "stereo_n": ((1 / 0.9375, 0.25 / 0.9375), (0.25 / 0.9375, 1 / 0.9375)),
}
_PLAIN: Matrix = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Band:
    """`rate` Hz; spectra of `n_fft` frames every `hop`, of whose bins those from `low` up to `high` are heard.
    `sides`: what the network's two channels are of left and right. `back`: ``[n_fft // 2 + 1]``, how much each bin
    counts when the bands are put together again."""

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
    less than it has. `tilt`: ``[bins + 1]``, how much each counts. `reverse`: the network hears the song backwards.
    """

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
    return tuple(sorted(path.stem for path in _folder().glob("*.json")))


def read_bands(name: str, newer: bool) -> Bands:
    """The set of bands `name`, one of `band_names`, as networks before 5.1 or of 5.1 and later (`newer`) see them."""
    told = json.loads((_folder() / f"{name}.json").read_text("utf-8"))
    bins = int(told.get("n_bins") or told["bins"])
    numbers = sorted(told["band"], key=int)
    bands = tuple(_band(told, told["band"][number], place, len(numbers), newer) for place, number in enumerate(numbers))
    tilt = _tilt(bins, len(bands), int(told["pre_filter_start"]), int(told["pre_filter_stop"]), newer)
    return Bands(bands, bins, tilt, bool(told.get("reverse")) and not newer)


def _folder() -> Path:
    package = importlib.util.find_spec("audio_separator")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package audio-separator is not installed", name="audio_separator")
    return Path(package.submodule_search_locations[0]) / _PLACE


def _band(told: dict[str, Any], band: dict[str, Any], place: int, count: int, newer: bool) -> Band:
    size = band["n_fft"] // 2 + 1
    back = np.ones(size, np.float32)
    if place < count - 1:
        back *= falling(size, band["lpf_start"], band["lpf_stop"], newer)
    if band.get("hpf_start", -1) > 0 and place > 0:
        back *= rising(size, band["hpf_start"], band["hpf_stop"] - 1, newer)
    if newer:
        sides = _SIDES.get(band.get("convert_channels", ""), _PLAIN)
    else:
        sides = next((_SIDES[kind] for kind in ("mid_side", "mid_side_b2") if told.get(kind)), _PLAIN)
    if told.get("reverse") and not newer:
        sides = _PLAIN
    return Band(band["sr"], band["hl"], band["n_fft"], band["crop_start"], band["crop_stop"], sides, back)


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
    """What is taken off the highest bins before the network hears them."""
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
