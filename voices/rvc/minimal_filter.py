"""Minimal filtering: a short filter over a tile of samples with far fewer products than taps times samples.

    y = back @ ((taps @ w) * (forth @ x))

The key idea: `x` and `w` are the coefficients of polynomials. Their product is found by evaluating both at enough
points, multiplying the values, and interpolating. Winograd, "Arithmetic Complexity of Computations" (1980), chapter IV;
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), with matrices (channels in, channels out) in
place of numbers, which makes the products expensive and the evaluations cheap.

The points are 0, infinity, 1, -1, some more real ones, and complex ones on the unit circle, as in a discrete Fourier
transform. A pair of complex points costs three products instead of two, but all powers on the circle have magnitude 1,
so that low precision suffices.
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
    """`forth` [products, tile + kernel - 1], `taps` [products, kernel] and `back` [tile, products], such that
    y_i = sum over k of w_k x_(i+k) for i in 0..tile-1."""

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
    # Filtering is the transpose of polynomial multiplication, in which `back` is an evaluation as `taps` is. `forth`
    # then follows from a linear system: for all i, j, k the sum over products p of back_pi taps_pk forth_pj must be 1
    # where j = i + k and 0 elsewhere.
    pairs = (back[:, :, None] * taps[:, None, :]).reshape(len(taps), -1)
    wanted = np.arange(tile + kernel - 1) == np.add.outer(np.arange(tile), np.arange(kernel)).reshape(-1, 1)
    forth = np.linalg.lstsq(pairs.T, wanted.astype(float), rcond=None)[0]
    # scaled so that all values have about the same size; `back` takes the factors
    taps_size, forth_size = np.linalg.norm(taps, axis=1), np.abs(forth).max(axis=1)
    return MinimalFilter(forth / forth_size[:, None], taps / taps_size[:, None], back.T * taps_size * forth_size)


def _values(count: int, circle: int, reals: tuple[float, ...]) -> Matrix:
    """The matrix [products, `count`] that evaluates a polynomial with `count` coefficients at the points."""
    power = np.arange(count)
    rows = [(power == 0).astype(float), (power == count - 1).astype(float)]
    rows += [np.power(point, power) for point in (1.0, -1.0, *reals)]
    for step in range(1, circle // 2):
        # A complex value as its projections on three directions 60 degrees apart: three products are the least for a
        # complex multiplication, and these are better conditioned than real part, imaginary part and their sum.
        rows += [np.cos(2 * pi * step / circle * power - direction) for direction in (0, pi / 3, 2 * pi / 3)]
    return np.array(rows)
