"""Minimal filtering: a short filter over a tile of samples with far fewer products than taps times samples.

    y = back @ ((taps @ w) * (forth @ x))

`x` and `w` are polynomials whose values at a few points are multiplied one by one, and whose product is found again
from those values. Winograd, "Arithmetic Complexity of Computations" (1980), chapter IV; Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks" (2016), on matrices in place of numbers, where it pays. The points: 0,
infinity, 1, -1, some more real ones, and the complex ones of a discrete Fourier transform. The latter cost half as
many products again, three for two values, but their values are all of one size, so that few digits suffice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MinimalFilter:
    """`forth` [products, tile + kernel - 1], `taps` [products, kernel], `back` [tile, products]; so that
    y_i = sum over k of w_k x_(i+k), for i in 0..tile-1."""

    forth: Matrix
    taps: Matrix
    back: Matrix


@cache
def minimal_filter(kernel: int, circle: int, reals: tuple[float, ...] = ()) -> MinimalFilter:
    """The filter of `kernel` taps with points 0, infinity, `reals`, and the `circle` (even) roots of unity."""
    tile = 2 + circle + len(reals) - kernel + 1
    if tile < 1:
        raise ValueError(f"{circle} points on the circle and {len(reals)} real ones are too few for {kernel} taps")
    taps, back = _values(kernel, circle, reals), _values(tile, circle, reals)
    # What every product of a tap with a sample must add to every output is known, and that the rest can do it, too:
    # `forth` is what is left to solve for. That transposes polynomial multiplication, whose `back` is an evaluation.
    pairs = (back[:, :, None] * taps[:, None, :]).reshape(len(taps), -1)
    wanted = np.arange(tile + kernel - 1) == np.add.outer(np.arange(tile), np.arange(kernel)).reshape(-1, 1)
    forth = np.linalg.lstsq(pairs.T, wanted.astype(float), rcond=None)[0]
    taps_size, forth_size = np.linalg.norm(taps, axis=1), np.abs(forth).max(axis=1)
    return MinimalFilter(forth / forth_size[:, None], taps / taps_size[:, None], back.T * taps_size * forth_size)


def _values(count: int, circle: int, reals: tuple[float, ...]) -> Matrix:
    """What the coefficients of a polynomial contribute to its values at the points: [products, `count`]."""
    power = np.arange(count)
    rows = [(power == 0).astype(float), (power == count - 1).astype(float)]
    rows += [np.power(point, power) for point in (1.0, -1.0, *reals)]
    for step in range(1, circle // 2):
        # A complex value in three real ones, seen from directions 60 degrees apart: the least that multiplies, and
        # better conditioned than the usual real part, imaginary part and sum.
        rows += [np.cos(2 * pi * step / circle * power - direction) for direction in (0, pi / 3, 2 * pi / 3)]
    return np.array(rows)
