"""Where the chips of the watermark lie in time and frequency, and which sign each of them has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LOWEST, BAND = 300.0, 90.0
"""Hz: where the cells begin, and how high each of them is. The main lobe of a window of 46 ms fits in twice."""

COLUMNS, ROWS = 52, 72
"""Chips in a period, and over frequency (to 13.3 kHz: above what speech and some codecs reach). Each has two cells both
ways."""

SLOT = 0.048
"""Seconds that a cell lasts."""

PERIOD = COLUMNS * 2 * SLOT
"""Seconds after which the pattern repeats."""

HIGHEST = LOWEST + ROWS * 2 * BAND

SYNCHRONISING = 4
"""One of so many chips synchronises."""

PUBLIC_KEY = 0
"""The key of marks that anyone can read."""


@dataclass(frozen=True, eq=False)
class Layout:
    """`signs`: -1 or 1 of each chip ``[COLUMNS, ROWS]``. `bits`: the position in the code that the chip carries, -1 for
    those that synchronise."""

    signs: NDArray[np.int8]
    bits: NDArray[np.int32]

    @property
    def synchronising(self) -> NDArray[np.bool_]:
        return self.bits < 0

    def pattern(self, code: NDArray[np.int8]) -> NDArray[np.int8]:
        """The signs of a mark with the `code` of its payload, -1 or 1 ``[length]``."""
        carried: NDArray[np.int8] = np.where(self.synchronising, 1, code[self.bits]).astype(np.int8)
        return self.signs * carried


@lru_cache(maxsize=8)
def layout(key: int, length: int) -> Layout:
    """The layout of a key, 0..2^64-1, for codes of `length`. Philox gives the same numbers everywhere."""
    random = np.random.Generator(np.random.Philox(key))
    chips = COLUMNS * ROWS
    signs = (random.integers(0, 2, chips) * 2 - 1).astype(np.int8)
    order = random.permutation(chips)
    bits = np.full(chips, -1, np.int32)
    carrying = order[chips // SYNCHRONISING :]
    bits[carrying] = np.arange(len(carrying)) % length
    return Layout(signs.reshape(COLUMNS, ROWS), bits.reshape(COLUMNS, ROWS))
