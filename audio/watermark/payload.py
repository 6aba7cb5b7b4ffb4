"""The 32 bits of a watermark, and the code that protects them.

32 bits and a checksum of 16 bits are six symbols of 8 bits. Each symbol is one of 256 biorthogonal sequences of 128
signs (rows of a Hadamard matrix and their negatives: the first-order Reed-Muller code). The decoder correlates with all
of them, combines the likeliest of each symbol, best combination first, and takes the first whose checksum is right.
"""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["cover", "conversion"]
KINDS: tuple[Kind, ...] = ("cover", "conversion")

LENGTH = 6 * 128
"""Signs in the code of a payload."""

TRIED = 64
"""Combinations of symbols that the decoder tries."""

_VERSION = 1
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
    protected = payload.bits << 16 | _checksum(payload.bits)
    sequences = _sequences()
    return np.concatenate([sequences[symbol] for symbol in protected.to_bytes(6, "big")])


def decode(soft: NDArray[np.floating]) -> Payload | None:
    """The payload of received signs ``[LENGTH]``: the larger a value, the surer its sign. None if there is none."""
    likelihood = soft.reshape(6, 128) @ _sequences().T.astype(np.float64)  # [symbols, 256]
    likely = np.argsort(-likelihood, axis=1)[:, :_LIKELY]
    lost = likelihood.max(axis=1)[:, None] - np.take_along_axis(likelihood, likely, axis=1)
    for ranks in _best_first(lost):
        bits = int.from_bytes(bytes(int(likely[place, rank]) for place, rank in enumerate(ranks)), "big")
        if _checksum(bits >> 16) == bits & 0xFFFF:
            return Payload.of(bits >> 16)
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
    return zlib.crc32(bits.to_bytes(4, "big")) & 0xFFFF


def _sequences() -> NDArray[np.int8]:
    """The 256 sequences ``[256, 128]``."""
    from scipy.linalg import hadamard

    rows = hadamard(128, np.int8)
    return np.concatenate([rows, -rows])
