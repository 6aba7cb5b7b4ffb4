"""Reads untrusted ONNX files without running anything and in bounded memory.

The format is a Protocol Buffers message. Only the few fields that networks use are decoded. Weights in other files,
operators of other domains, functions, branches and loops are refused. Weights are memory-mapped. The package `onnx`
isn't used, because it builds every part of a file before one can count them: 40 MB of empty nodes take it 3.3 GB.
Sources: ``onnx.proto`` of the ONNX specification (field numbers) and the Protocol Buffers encoding guide.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.disk import reading
from understudy.errors import UnderstudyError

_MOST_NODES = 20_000
_MOST_FIELDS = 500  # of one message; the graph has one per node, weight, input and output
_MOST_NUMBERS = 1 << 20  # in a list of integers, each of which becomes a Python object
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_LISTS = {1: (4, "<f4"), 7: (7, "<i8"), 11: (10, "<f8")}  # data type -> field of its values where they aren't raw
_OWN_DOMAINS = ("", "ai.onnx")
_ANOTHER = "Get the file again from where it was first published."

Bytes = memoryview
Weights = NDArray[Any]


class _Damaged(Exception):
    """The bytes are no ONNX network, or one that needs more than its file."""


@dataclass(frozen=True)
class Node:
    """`operator` computes `outputs` from `inputs` (names; an empty one is left out)."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A network: `nodes` in order; `weights` by name, read-only; the shapes of `inputs` and `outputs` by name, None for
    a free or unknown size. `operators`: the version of ONNX's operator set."""

    nodes: tuple[Node, ...]
    weights: Mapping[str, Weights]
    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int | None, ...]]
    operators: int


def load(path: Path, largest: int = 1 << 30) -> Graph:
    """The network in the file at `path`.

    Raises `UnderstudyError`: ``file-not-found``, ``model-too-large`` (more than `largest` bytes), ``model-damaged``
    for a file that is no network or one that needs more than its file.
    """
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        if size > largest:
            raise UnderstudyError("model-too-large", f"{path} is larger than {largest >> 20} MB.", _ANOTHER)
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    try:
        return _model(content)
    except (_Damaged, UnicodeDecodeError, struct.error, ValueError, OverflowError) as error:
        reason = str(error) if isinstance(error, _Damaged) else "it is damaged"
        raise UnderstudyError(
            "model-damaged", f"{path} cannot be read as a network in ONNX's format: {reason}.", _ANOTHER
        ) from error


def _model(content: Bytes) -> Graph:
    # ModelProto: graph (7), opset_import (8), functions (25)
    graphs: list[Bytes] = []
    operators = 0
    for field, value in _fields(content):
        if field == 7:
            graphs.append(_bytes(value))
        elif field == 8:
            domain, version = _operator_set(_bytes(value))
            operators = version if domain in _OWN_DOMAINS else operators
        elif field == 25:
            raise _Damaged("it brings functions of its own")
    if len(graphs) != 1:
        raise _Damaged("it holds no network")
    nodes: list[Node] = []
    weights: dict[str, Weights] = {}
    inputs: dict[str, tuple[int | None, ...]] = {}
    outputs: dict[str, tuple[int | None, ...]] = {}
    # GraphProto: node (1), initializer (5), input (11), output (12), sparse_initializer (15)
    for field, value in _fields(graphs[0], 10 * _MOST_NODES):
        if field == 1:
            nodes.append(_node(_bytes(value)))
        elif field == 5:
            name, array = _tensor(_bytes(value))
            weights[name] = array
        elif field in (11, 12):
            name, shape = _value(_bytes(value))
            (inputs if field == 11 else outputs)[name] = shape
        elif field == 15:
            raise _Damaged("its weights are in a form that is not supported (sparse)")
        if len(nodes) > _MOST_NODES or len(weights) > _MOST_NODES:
            raise _Damaged("it has too many parts")
    for name in weights:  # old files list the weights among the inputs, too
        inputs.pop(name, None)
    return Graph(tuple(nodes), weights, inputs, outputs, operators)


def _operator_set(content: Bytes) -> tuple[str, int]:
    domain, version = "", 0
    for field, value in _fields(content):
        if field == 1:
            domain = _text(value)
        elif field == 2:
            version = _number(value)
    return domain, version


def _node(content: Bytes) -> Node:
    # NodeProto: input (1), output (2), op_type (4), attribute (5), domain (7)
    operator, inputs, outputs, attributes = "", [], [], {}
    for field, value in _fields(content):
        if field == 1:
            inputs.append(_text(value))
        elif field == 2:
            outputs.append(_text(value))
        elif field == 4:
            operator = _text(value)
        elif field == 5:
            name, attribute = _attribute(_bytes(value))
            attributes[name] = attribute
        elif field == 7 and _text(value) not in _OWN_DOMAINS:
            raise _Damaged(f"it needs operators that are not ONNX's own ({_text(value)[:40]!r})")
    return Node(operator, tuple(inputs), tuple(outputs), attributes)


def _attribute(content: Bytes) -> tuple[str, Any]:
    # AttributeProto: name (1), f (2), i (3), s (4), t (5), g (6), floats (7), ints (8), graphs (11)
    name, floats, integers = "", list[float](), list[int]()
    single: Any = None
    for field, value in _fields(content):
        if field == 1:
            name = _text(value)
        elif field == 2:
            single = _float(value)
        elif field == 3:
            single = _number(value)
        elif field == 4:
            single = bytes(_bytes(value)).decode()
        elif field == 5:
            single = _tensor(_bytes(value))[1]
        elif field in (6, 11):
            raise _Damaged("it has branches or loops")
        elif field == 7:
            floats.extend(_many(value, "<f4") if isinstance(value, memoryview) else [_float(value)])
        elif field == 8:
            integers.extend(_varints(value) if isinstance(value, memoryview) else [_number(value)])
    return name, tuple(floats or integers) if single is None else single


def _tensor(content: Bytes) -> tuple[str, Weights]:
    # TensorProto: dims (1), data_type (2), name (8); the values are raw_data (9), or float_data (4), int64_data (7) or
    # double_data (10); external_data (13) and data_location (14) name another file
    name, kind, shape = "", 0, list[int]()
    raw: Bytes | None = None
    lists: dict[int, list[Any]] = {}
    for field, value in _fields(content):
        if field == 1:
            shape.extend(_varints(value) if isinstance(value, memoryview) else [_number(value)])
        elif field == 2:
            kind = _number(value)
        elif field == 8:
            name = _text(value)
        elif field == 9:
            raw = _bytes(value)
        elif field == 13 or (field == 14 and _number(value) != 0):
            raise _Damaged("its weights lie in another file")
        elif field in (4, 10):
            dtype = "<f4" if field == 4 else "<f8"
            if not isinstance(value, memoryview):
                raise _Damaged("its weights are damaged")
            lists.setdefault(field, []).append(_many(value, dtype))
        elif field == 7:
            lists.setdefault(field, []).append(_varints(value) if isinstance(value, memoryview) else [_number(value)])
    if kind not in _DTYPES or len(shape) > 8 or any(size < 0 for size in shape):
        raise _Damaged("its weights are of a kind that is not supported")
    if raw is None:
        if kind not in _LISTS:
            raise _Damaged("its weights are of a kind that is not supported")
        field, dtype = _LISTS[kind]
        array = np.concatenate([np.asarray(part, dtype) for part in lists.get(field, [])] or [np.zeros(0, dtype)])
    else:
        array = _many(raw, _DTYPES[kind])
    if array.size != math.prod(shape):
        raise _Damaged("its weights don't fill their shapes")
    return name, array.reshape(shape)


def _value(content: Bytes) -> tuple[str, tuple[int | None, ...]]:
    """The name and the shape of an input or output (ValueInfoProto: type.tensor_type.shape.dim.dim_value)."""
    name, shape = "", list[int | None]()
    for field, value in _fields(content):
        if field == 1:
            name = _text(value)
        elif field == 2:
            for tensor in _within(_bytes(value), 1):
                for dimensions in _within(tensor, 2):
                    for dimension in _within(dimensions, 1):
                        sizes = [_number(size) for number, size in _fields(dimension) if number == 1]
                        shape.append(sizes[0] if sizes and sizes[0] > 0 else None)
    return name, tuple(shape)


def _within(content: Bytes, number: int) -> Iterator[Bytes]:
    """The messages in the fields of that number."""
    return (_bytes(value) for field, value in _fields(content) if field == number)


def _fields(content: Bytes, most: int = _MOST_FIELDS) -> Iterator[tuple[int, int | bytes | Bytes]]:
    """Number and value of each field of a message, in order.

    A field begins with a varint: its number, and in the lowest three bits its wire type. 0 is a varint (an int here), 1
    and 5 are numbers of 8 and 4 bytes (bytes), 2 is a length and as many bytes: a string, a message, packed numbers (a
    view). `most` bounds the fields before anything is made of them."""
    at = 0
    while at < len(content):
        most -= 1
        if most < 0:
            raise _Damaged("it has too many parts")
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(content, at)
            yield key >> 3, number
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise _Damaged("it is damaged")
        if length > len(content) - at:
            raise _Damaged("it ends too early")
        part = content[at : at + length]
        yield key >> 3, part if kind == 2 else bytes(part)
        at += length


def _varint(content: Bytes, at: int) -> tuple[int, int]:
    """The number at byte `at`, seven bits a byte, the lowest first, and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise _Damaged("it ends too early")
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise _Damaged("it is damaged")


def _varints(content: Bytes) -> list[int]:
    if len(content) > _MOST_NUMBERS:
        raise _Damaged("it has lists that are too long")
    numbers, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    """Negative numbers are written in two's complement of 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _number(value: int | bytes | Bytes) -> int:
    if not isinstance(value, int):
        raise _Damaged("it is damaged")
    return _signed(value)


def _float(value: int | bytes | Bytes) -> float:
    if not isinstance(value, bytes):
        raise _Damaged("it is damaged")
    return float(struct.unpack("<f", value)[0])


def _bytes(value: int | bytes | Bytes) -> Bytes:
    if not isinstance(value, memoryview):
        raise _Damaged("it is damaged")
    return value


def _text(value: int | bytes | Bytes) -> str:
    return bytes(_bytes(value)).decode()


def _many(content: Bytes, dtype: str) -> Weights:
    return np.frombuffer(content, dtype)
