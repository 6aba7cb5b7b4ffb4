"""The 32 bits of a watermark, and the code that protects them.

32 bits and a checksum of 13 bits are five symbols of 9 bits. Each symbol is one of 512 biorthogonal sequences of 256
signs (rows of a Hadamard matrix and their negatives: the first-order Reed-Muller code). The decoder correlates with all
of them, combines the likeliest of each symbol, best combination first, and takes the first whose checksum is right.
"""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["cover", "conversion"]
KINDS: tuple[Kind, ...] = ("cover", "conversion")

_SYMBOLS, _BITS = 5, 9
_CHECKED = _SYMBOLS * _BITS - 32  # bits of the checksum

LENGTH = _SYMBOLS << _BITS - 1
"""Signs in the code of a payload."""

PAYLOADS = len(KINDS) << 28
"""How many there are."""

TRIED = 64
"""Combinations of symbols that the decoder tries."""

_VERSION = 2  # of the layout
_LIKELY = 4  # candidates of each symbol


@dataclass(frozen=True)
class Payload:
    """What a mark says: the `kind` of content; `key`, 0..255, of whom the mark is; `id`, 0..2^20-1, by which they find
    the work."""

    kind: Kind
    key: int
    id: int

    def __post_init__(self) -> None:
        if not (0 <= self.key < 256 and 0 <= self.id < 1 << 20):
            raise ValueError(f"key must be 0..255 and id 0..{(1 << 20) - 1}, got {self.key} and {self.id}")

    @property
    def bits(self) -> int:
        """Version (2 bits), kind (2), key (8), id (20)."""
        return _VERSION << 30 | KINDS.index(self.kind) << 28 | self.key << 20 | self.id

    @staticmethod
    def of(bits: int) -> Payload | None:
        """None for a version or a kind that is not known."""
        kind = bits >> 28 & 3
        if bits >> 30 != _VERSION or kind >= len(KINDS):
            return None
        return Payload(KINDS[kind], bits >> 20 & 255, bits & 0xFFFFF)


def encode(payload: Payload) -> NDArray[np.int8]:
    """The signs ``[LENGTH]`` that carry `payload`."""
    protected = payload.bits << _CHECKED | _checksum(payload.bits)
    places = range((_SYMBOLS - 1) * _BITS, -1, -_BITS)
    signs = [_sequences()[protected >> place & (1 << _BITS) - 1] for place in places]
    return np.concatenate(signs).astype(np.int8)


def decode(soft: NDArray[np.floating], least: float = 0.0) -> Payload | None:
    """The payload of received signs ``[LENGTH]``: the larger a value, the surer its sign. None if there is none whose
    code has at least that correlation with them."""
    likelihood = soft.reshape(_SYMBOLS, -1).astype(np.float32) @ _sequences().T  # [symbols, 512]
    highest = likelihood.max(axis=1)[:, None]
    if highest.sum() < least:
        return None
    likely = np.argsort(-likelihood, axis=1)[:, :_LIKELY]
    lost = highest - np.take_along_axis(likelihood, likely, axis=1)
    for ranks in _best_first(lost):
        if highest.sum() - sum(lost[place, rank] for place, rank in enumerate(ranks)) < least:
            return None
        bits = 0
        for place, rank in enumerate(ranks):
            bits = bits << _BITS | int(likely[place, rank])
        payload = Payload.of(bits >> _CHECKED)
        if payload is not None and _checksum(payload.bits) == bits & (1 << _CHECKED) - 1:
            return payload
    return None


def _best_first(lost: NDArray[np.floating]) -> list[tuple[int, ...]]:
    """The `TRIED` combinations of ranks, one per symbol, that lose the least likelihood, ``lost[symbol, rank]``."""
    first = (0,) * len(lost)
    waiting, seen = [(0.0, first)], {first}
    found: list[tuple[int, ...]] = []
    while waiting and len(found) < TRIED:
        cost, ranks = heapq.heappop(waiting)
        found.append(ranks)
        for place, rank in enumerate(ranks):
            after = (*ranks[:place], rank + 1, *ranks[place + 1 :])
            if rank + 1 < lost.shape[1] and after not in seen:
                seen.add(after)
                heapq.heappush(waiting, (cost - lost[place, rank] + lost[place, rank + 1], after))
    return found


def _checksum(bits: int) -> int:
    return zlib.crc32(bits.to_bytes(4, "big")) & (1 << _CHECKED) - 1


@cache
def _sequences() -> NDArray[np.float32]:
    """The sequences ``[512, 256]``."""
    from scipy.linalg import hadamard

    rows = hadamard(1 << _BITS - 1, np.float32)
    return np.concatenate([rows, -rows])
