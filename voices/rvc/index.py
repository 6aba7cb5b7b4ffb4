"""The index of a voice: the faiss file of its content features, validated byte by byte before faiss opens it.

faiss trusts its files: a changed length makes it crash or allocate terabytes. RVC's trainers write one simple kind,
``IVF<lists>,Flat``: the vectors are sorted into lists by their nearest centre, and a search looks only at the lists of
the centres nearest to the query. Its layout as `faiss/impl/index_write.cpp` writes it, little endian throughout:

    "IwFl", header (below), number of lists u64, lists searched by default u64
    the lists' centres, themselves an index: "IxF2", header, count u64 of float32, the values
    a direct map, which is not used: kind u8 (0), length u64 (0)
    "ilar", number of lists u64, bytes per vector u64, "full", number of lists u64, the length of each u64
    for each list: its vectors, float32; then their ids, i64

    header: dimension i32, vectors i64, two unused i64, trained u8, metric i32 (1: L2)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.wording import counted

LARGEST = 4 << 30  # bytes; 200,000 vectors, beyond which trainers cluster them, have 0.6 GB
_MOST_LISTS = 1 << 20
_HEADER = struct.Struct("<iqqqBi")
_L2 = 1
_BLOCK = 1 << 22  # values
_ANOTHER = "Give the added_….index that came with the model, or import the model without an index."


@dataclass(frozen=True)
class IndexFile:
    """`vectors` of `dimension` values (256: v1, 768: v2) in `lists` lists, of which `searched` by default."""

    dimension: int
    vectors: int
    lists: int
    searched: int


def open_index(path: Path) -> Any:
    """The faiss index at `path`, which `check_index` must have accepted. Its vectors are memory-mapped."""
    import faiss

    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)


def check_index(path: Path) -> IndexFile:
    """The sizes of the index file at `path`, after validating every byte of it without faiss.

    Raises `UnderstudyError`: ``file-not-found``, ``index-not-faiss``, ``index-unsupported`` for other kinds of faiss
    indexes, ``index-empty`` for one without vectors, ``index-damaged``.
    """
    with reading(path), path.open("rb") as file:
        return _Reader(file, path).index()


class _Reader:
    """Reads an index file once. Every count is checked against the file's size before anything is allocated."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.size = file.seek(0, 2)
        file.seek(0)

    def index(self) -> IndexFile:
        if self.size > LARGEST:
            raise self.damaged(f"it is larger than {LARGEST >> 30} GB")
        kind = self.file.read(4)
        if len(kind) != 4 or not kind.startswith(b"I") or not kind.isalnum():
            raise UnderstudyError("index-not-faiss", f"{self.path} isn't a faiss index.", _ANOTHER)
        if kind != b"IwFl":
            raise self.unsupported(f"is of the kind {ascii(kind)[1:]}")
        dimension, vectors = self.header()
        lists, searched = self.number(), self.number()
        if vectors == 0:
            raise UnderstudyError(
                "index-empty",
                f"{self.path} is an index without vectors: the trained_… file, an intermediate result of training.",
                "Give the added_….index from the same folder, or import the model without an index.",
            )
        if not 1 <= lists <= min(_MOST_LISTS, self.size) or not 1 <= searched <= lists:
            raise self.damaged(f"it has {counted(lists, 'list')} and searches {searched}")
        self.centres(dimension, lists)
        if self.file.read(1) != b"\0" or self.number() != 0:
            raise self.unsupported("has a direct map of its vectors")
        self.lists(dimension, vectors, lists)
        if self.file.tell() != self.size:
            raise self.damaged("something follows its end")
        return IndexFile(dimension, vectors, lists, searched)

    def header(self) -> tuple[int, int]:
        dimension, vectors, _, _, trained, metric = self.unpack(_HEADER)
        if dimension not in (256, 768):
            raise self.unsupported(f"has vectors of {dimension} values; those of RVC have 256 (v1) or 768 (v2)")
        if metric != _L2:
            raise self.unsupported(f"has another distance than L2 (metric {metric})")
        if trained != 1 or not 0 <= vectors <= self.size:
            raise self.damaged(f"its header gives {counted(vectors, 'vector')}")
        return int(dimension), int(vectors)

    def centres(self, dimension: int, lists: int) -> None:
        kind = self.file.read(4)
        if kind not in (b"IxF2", b"IxFl"):
            raise self.unsupported(f"has centres of the kind {ascii(kind)[1:]}")
        if self.header() != (dimension, lists) or self.number() != dimension * lists:
            raise self.damaged("the numbers of its lists and centres differ")
        self.finite(dimension * lists)

    def lists(self, dimension: int, vectors: int, lists: int) -> None:
        if self.file.read(4) != b"ilar":
            raise self.unsupported("stores its lists in another file")
        if self.number() != lists or self.number() != dimension * 4:
            raise self.damaged("the sizes of its lists are inconsistent")
        form, count = self.file.read(4), self.number()
        lengths: NDArray[np.uint64]
        if form == b"full" and count == lists:
            lengths = self.array("<u8", lists)
        elif form == b"sprs" and count <= 2 * lists and count % 2 == 0:  # pairs (list, length) of the lists not empty
            pairs = self.array("<u8", count).reshape(-1, 2)
            lengths = np.zeros(lists, np.uint64)
            if np.any(pairs[:, 0] >= lists) or len(np.unique(pairs[:, 0])) != len(pairs):
                raise self.damaged("it lists a list twice, or one that does not exist")
            lengths[pairs[:, 0].astype(np.int64)] = pairs[:, 1]
        else:
            raise self.damaged("the lengths of its lists are missing")
        if np.any(lengths > vectors) or int(np.sum(lengths, dtype=np.uint64)) != vectors:
            raise self.damaged(f"its lists do not add up to {counted(vectors, 'vector')}")
        if self.size - self.file.tell() != vectors * (dimension * 4 + 8):
            raise self.damaged("it is cut off, or something follows its end")
        seen = np.zeros(vectors, bool)
        for length in lengths.tolist():
            self.finite(dimension * length)
            numbers = self.array("<i8", length)
            if length and (numbers.min() < 0 or numbers.max() >= vectors):
                raise self.damaged("it has a vector id beyond the last")
            seen[numbers] = True
        if not seen.all():
            raise self.damaged("it has two vectors with one id")

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        data = self.file.read(form.size)
        if len(data) != form.size:
            raise self.damaged("it ends too early: it is cut off, or a length in it is wrong")
        return form.unpack(data)

    def number(self) -> int:
        return int(self.unpack(struct.Struct("<Q"))[0])

    def array(self, kind: str, count: int) -> NDArray[Any]:
        data = self.file.read(count * np.dtype(kind).itemsize)
        if len(data) != count * np.dtype(kind).itemsize:
            raise self.damaged("it ends too early: it is cut off, or a length in it is wrong")
        return np.frombuffer(data, kind)

    def finite(self, values: int) -> None:
        while values:
            block = self.array("<f4", min(values, _BLOCK))
            values -= len(block)
            # beyond 1e15 a squared distance overflows float32; the comparison is False for NaN as well
            if not np.all(np.abs(block) < 1e15):
                raise self.damaged("some of its values are not finite")

    def unsupported(self, why: str) -> UnderstudyError:
        message = f"{self.path} {why}; RVC's trainers do not write such an index."
        return UnderstudyError("index-unsupported", message, _ANOTHER)

    def damaged(self, why: str) -> UnderstudyError:
        return UnderstudyError("index-damaged", f"{self.path} is damaged: {why}.", _ANOTHER)
