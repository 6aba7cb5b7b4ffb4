"""Reads untrusted files that `torch.save` wrote, without running anything and in bounded memory.

A pickle is a program for a small stack machine. Its operations are decoded by the standard library's `pickletools` and
interpreted here on plain containers. A class or function that the file names is never imported or called: the few calls
that stand for a tensor or an ordered dictionary are recognised by their names. The bytes of tensors stay in the file
and are memory-mapped.

`torch.load` isn't used: even with ``weights_only=True`` it allocates any amount of memory that a file requests, and it
can't read files that hold other objects beside their tensors. Sources: the documentation of `pickletools` and of
`torch.save`.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.models.unpacking import Limits, opened

if TYPE_CHECKING:
    import torch

    _StorageReader = Callable[[str, torch.dtype, int], torch.Tensor]  # key, kind and count of values -> [values]

Unknown = Literal["refuse", "ignore"]

_MOST_ENTRIES = 20_000
_LARGEST_PICKLE = 2 << 20  # a checkpoint of training with its optimiser has 0.3 MB
_LARGEST_NUMBER = 1 << 40  # of values in a tensor (a stride of 0 repeats values), of its sizes, strides and offset
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "Half": "float16", "BFloat16": "bfloat16", "Float": "float32", "Double": "float64", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
_STORAGES = {f"{place} {kind}Storage": dtype for place in ("torch", "torch.cuda") for kind, dtype in _DTYPES.items()}
_UNTYPED = "torch.storage UntypedStorage"
_EIGHT_BITS = {f"torch {name}": name for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")}
_QUANTISED = re.compile(r"torch(\.cuda)? Q\w+Storage")
_ORDERED = "collections OrderedDict"
_TENSORS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor")
_NEWER_TENSOR = "torch._utils _rebuild_tensor_v3"
"""Of the dtypes without a storage of their own: its arguments name the dtype, the storage holds bytes."""
_PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
_FRACTION = "fractions Fraction"
_KNOWN = {_ORDERED, _FRACTION, _UNTYPED, _NEWER_TENSOR, *_TENSORS, *_PARAMETERS, *_STORAGES, *_EIGHT_BITS}
# Names that no honest file holds beside its tensors: modules that reach the machine or run code, and such builtins. A
# file with one is refused even if unknown objects are to be ignored.
_RUNNERS = re.compile(
    r"(asyncio|bdb|cProfile|code|codeop|commands|ctypes|_ctypes|distutils|doctest|ftplib|http|httplib|imp|importlib|"
    r"linecache|marshal|multiprocessing|nt|os|pdb|pickle|_pickle|pip|pkgutil|popen2|posix|posixpath|profile|pty|pydoc|"
    r"runpy|shutil|signal|site|smtplib|socket|_socket|sqlite3|ssl|subprocess|_posixsubprocess|sys|tempfile|threading|"
    r"_thread|timeit|trace|urllib|urllib2|venv|webbrowser|zipimport)(\.|$)|"
    r"(builtins|__builtin__)\.(__import__|apply|breakpoint|compile|eval|exec|execfile|exit|input|open|quit)(\.|$)|"
    r"(io|_io|_pyio)\.(open|open_code|FileIO)(\.|$)"
)
_ANOTHER = "Ask for another copy of the file, or get it from where it was first published."


class _Unsafe(Exception):
    """The file holds something that isn't weights."""


class _Quantised(Exception):
    """Its numbers need a decoder."""


class _Damaged(Exception):
    """The bytes are not a file of `torch.save`."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names, as text: module, space, name. It is never imported."""

    text: str


_MARK = object()  # on the stack: the place where a group of values begins
_IGNORED = object()  # in place of every object that is neither a tensor nor a plain container


def load(path: Path, largest: int = 4 << 30, unknown: Unknown = "refuse") -> Any:
    """What `torch.save` wrote at `path`: dictionaries, lists, tuples, strings, numbers, and tensors on the CPU.

    Tensors are mapped from the file; copy one that is to outlive it. A class or function is returned as its `Name`, a
    fraction as a `Fraction`. An object of another kind makes the file unsafe; with `unknown` ``ignore`` an inert
    placeholder takes its place, and dictionary entries whose keys are neither strings nor numbers are dropped.

    Raises `UnderstudyError`: ``file-not-found``, ``model-too-large`` (more than `largest` bytes), ``model-unsafe`` for
    a pickle that would run something or make unknown objects, ``model-quantised``, ``model-damaged``,
    ``archive-refused``.
    """
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        zipped = file.read(2) == b"PK"
    if size > largest:
        raise UnderstudyError(
            "model-too-large", f"{path} is larger than {largest >> 20} MB, which no such model is.", _ANOTHER
        )
    try:
        return _read_zip(path, largest, unknown) if zipped else _read_old(path, size, unknown)
    except _Unsafe as error:
        raise UnderstudyError(
            "model-unsafe",
            f"{path} is refused: {error}.",
            "Nothing of it was run. Don't open this file with other programs; get the model from somebody you trust.",
        ) from error
    except _Quantised as error:
        raise UnderstudyError(
            "model-quantised", f"{path} holds quantised weights, which can't be read.", "Take the version that isn't."
        ) from error
    except _Damaged as error:
        raise UnderstudyError("model-damaged", f"{path} cannot be read as a model: {error}.", _ANOTHER) from error


def _read_zip(path: Path, largest: int, unknown: Unknown) -> Any:
    """The format since torch 1.6: an uncompressed zip with ``NAME/data.pkl`` and a file ``NAME/data/KEY`` per
    storage."""
    with opened(path, Limits(largest, _MOST_ENTRIES, ratio=1, unpacked=False), _ANOTHER) as archive:
        if any("/code/" in name.lower() or name.lower().endswith("constants.pkl") for name in archive.entries):
            raise _Unsafe("it holds a program (TorchScript), not just weights")
        pickles = [name for name in archive.entries if name.lower().endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise _Damaged("it has no single data.pkl")
        folder = pickles[0].split("/")[0]
        if next(iter(archive.entries)).split("/")[0] != folder:  # torch takes the folder of the first entry
            raise _Damaged("its entries lie in several folders")
        pickled = archive.read(pickles[0], _LARGEST_PICKLE)
        order = f"{folder}/byteorder"
        if order in archive.entries and archive.read(order, 16) != b"little":
            raise _Damaged("it was written on a big-endian machine")
        data = f"{folder}/data/"
        places = {name.removeprefix(data): archive.place(name) for name in archive.entries if name.startswith(data)}
    file = BytesIO(pickled)
    tree = _unpickle(file, unknown, _mapped(path, places))
    if file.tell() != len(pickled):
        raise _Damaged("something follows its pickle")
    return tree


def _read_old(path: Path, size: int, unknown: Unknown) -> Any:
    """The format before torch 1.6: five pickles in a row (magic number, protocol version, byte order, the object, the
    keys of its storages), then for each storage its number of values as int64 and the values.

    The positions of the storages are known only after the object's pickle. So it is interpreted twice: first with empty
    tensors on the meta device, to learn the storages' sizes, then with the mapped bytes."""
    import torch

    sizes: dict[str, tuple[int, int]] = {}

    def noted(key: str, dtype: torch.dtype, values: int) -> torch.Tensor:
        if values * dtype.itemsize > size:
            raise _Damaged("it describes more bytes of tensors than it has")
        sizes[key] = values, dtype.itemsize
        return torch.empty(values, dtype=dtype, device="meta")

    with path.open("rb") as whole:
        file = BytesIO(whole.read(_LARGEST_PICKLE))
        if _unpickle(file, unknown, noted) != _OLD_MAGIC:
            raise _Damaged("it isn't a file that torch wrote")
        _unpickle(file, unknown, noted)
        machine = _unpickle(file, unknown, noted)
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise _Damaged("it was written on a big-endian machine")
        start = file.tell()
        _unpickle(file, unknown, noted)
        keys = _unpickle(file, unknown, noted)
        at, places = file.tell(), {}
        for key in keys if isinstance(keys, list) else ():
            if not isinstance(key, str) or key not in sizes:
                raise _Damaged("it holds data of no tensor")
            values, width = sizes[key]
            whole.seek(at)
            if whole.read(8) != struct.pack("<q", values):
                raise _Damaged("the data of its tensors aren't where they should be")
            places[key] = at + 8, values * width
            at += 8 + values * width
        if at > size:
            raise _Damaged("it describes more bytes of tensors than it has")
    file.seek(start)
    return _unpickle(file, unknown, _mapped(path, places))


def _mapped(path: Path, places: Mapping[str, tuple[int, int]]) -> _StorageReader:
    """A function that returns the storage of a key, mapped from its place (first byte, number of bytes) in `places`."""
    import numpy as np
    import torch

    whole = np.memmap(path, np.uint8, "c")  # copied on writing: the file stays as it is
    found: dict[str, torch.Tensor] = {}

    def storage(key: str, dtype: torch.dtype, values: int) -> torch.Tensor:
        first, size = places.get(key, (0, 0))
        length = values * dtype.itemsize
        if length > size:
            raise _Damaged("it describes more bytes of tensors than it has")
        if key not in found:
            data = torch.from_numpy(whole[first : first + size])
            found[key] = data.clone() if first % 8 else data  # torch expects aligned values
        return found[key][:length].view(dtype)

    return storage


def _unpickle(pickled: BytesIO, unknown: Unknown, storage: _StorageReader) -> Any:
    """The object that one pickle builds; `pickled` is then positioned behind its end."""
    try:
        return _interpret(pickled, unknown, storage)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RuntimeError) as error:
        raise _Damaged("its pickle ends early or makes no sense") from error


def _interpret(pickled: BytesIO, unknown: Unknown, storage: _StorageReader) -> Any:
    """Interpret the operations of a pickle (the comments in `pickletools` define each).

    Every operation pushes onto `stack` or takes from it; `memo` holds values that the pickle uses more than once. A
    group of values (the items of a list, the arguments of a tuple) is what was pushed since the last `_MARK`. An object
    is made in three steps: GLOBAL pushes the class's name, REDUCE or NEWOBJ takes name and arguments and pushes the
    object, BUILD takes a state for it. Here the first gives a `Name`, the second a tensor, dictionary or placeholder by
    that name (`_called`), and the third drops the state. The values of a tensor are a persistent object (BINPERSID)
    whose identifier names a storage (`_storage`)."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any

    def to_mark() -> list[Any]:
        items: list[Any] = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    for operation, argument, _ in pickletools.genops(pickled):
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            # plain values and containers
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple([stack.pop() for _ in range(int(operation.name[-1]))][::-1]))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(to_mark())
            case "APPEND":
                items = [stack.pop()]
                _extend(stack[-1], items)
            case "APPENDS" | "ADDITEMS":
                items = to_mark()
                _extend(stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                stack.append(_set_items({}, to_mark(), unknown))
            case "SETITEM":
                items = [stack.pop(), stack.pop()][::-1]
                _set_items(stack[-1], items, unknown)
            case "SETITEMS":
                items = to_mark()
                _set_items(stack[-1], items, unknown)
            # classes and functions: only names, checked against the list of those known to be harmful
            case "GLOBAL":
                stack.append(_named(argument, unknown))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                if not isinstance(module, str) or not isinstance(name, str):
                    raise TypeError
                stack.append(_named(f"{module} {name}", unknown))
            # objects: recognised by name or replaced by a placeholder, never made
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_called(function, arguments, unknown))
            case "BUILD":  # takes an object's state; that of an ordered dictionary (a state dict) is its metadata
                stack.pop()
                if not isinstance(stack[-1], dict):
                    _ignored("its pickle would change an object", unknown)
            case "BINPERSID":
                stack.append(_storage(stack.pop(), storage))
            case "INST":
                to_mark()
                stack.append(_called(_named(argument, unknown), None, unknown))
            case "OBJ" | "FROZENSET":
                to_mark()
                stack.append(_ignored(f"its pickle uses {operation.name}, which no model's weights need", unknown))
            case "NEWOBJ_EX":
                del stack[-3:]
                stack.append(_ignored("its pickle would make an object", unknown))
            case "EMPTY_SET" | "EXT1" | "EXT2" | "EXT4" | "PERSID" | "NEXT_BUFFER" | "READONLY_BUFFER":
                stack.append(_ignored(f"its pickle uses {operation.name}, which no model's weights need", unknown))
            case _:  # a number, a string, bytes
                stack.append(argument)
    raise ValueError


def _ignored(why: str, unknown: Unknown) -> object:
    if unknown == "refuse":
        raise _Unsafe(why)
    return _IGNORED


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif target is not _IGNORED:
        raise TypeError


def _set_items(target: Any, items: list[Any], unknown: Unknown) -> Any:
    """Put alternating keys and values into a dictionary. Only plain keys: hashing nested tuples that share their parts
    takes time exponential in their depth."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (key is None or isinstance(key, str | float) or (isinstance(key, int) and abs(key) < 1 << 63)):
            _ignored("its pickle has a dictionary with other keys than texts and numbers", unknown)
        elif target is not _IGNORED:
            if not isinstance(target, dict):
                raise TypeError
            target[key] = value
    return target


def _named(text: str, unknown: Unknown) -> Name:
    """The name of a class or function. Raises `_Unsafe` unless it is known, or unknown ones may be ignored and it is
    not among those that reach the machine."""
    if text not in _KNOWN and (unknown == "refuse" or _RUNNERS.match(text.replace(" ", "."))):
        raise _Unsafe(f"opening it would run {_shorten(text.replace(' ', '.'))}")
    return Name(text)


def _called(function: Any, arguments: Any, unknown: Unknown) -> Any:
    """The value that a call in the pickle stands for: a tensor, a parameter (its tensor), a dictionary, a fraction;
    otherwise a placeholder."""
    import torch

    if isinstance(function, Name) and isinstance(arguments, tuple):
        if function.text == _ORDERED and not arguments:
            return {}
        if function.text in _TENSORS and len(arguments) >= 4 and isinstance(arguments[0], torch.Tensor):
            return _tensor(*arguments[:4])
        if function.text == _NEWER_TENSOR and len(arguments) >= 7 and isinstance(arguments[0], torch.Tensor):
            named = arguments[6].text if isinstance(arguments[6], Name) else ""
            if named in _EIGHT_BITS:
                return _tensor(arguments[0].view(getattr(torch, _EIGHT_BITS[named])), *arguments[1:4])
        if function.text in _PARAMETERS and arguments and isinstance(arguments[0], torch.Tensor):
            return arguments[0]
        if function.text == _FRACTION and (fraction := _fraction(arguments)) is not None:
            return fraction
    called = _shorten(function.text) if isinstance(function, Name) else "something"
    return _ignored(f"opening it would call {called} in an unusual way", unknown)


def _fraction(arguments: tuple[Any, ...]) -> Fraction | None:
    """A fraction from two integers or from a string such as ``39/5`` (Python before 3.11 pickles it so); None for other
    arguments and for numbers beyond 62 bits."""
    match arguments:
        case (str(text),) if match := re.fullmatch(r"(-?\d{1,18})(?:/(\d{1,18}))?", text, re.ASCII):
            numbers = int(match[1]), int(match[2] or 1)
        case (int(above), int(below)):
            numbers = above, below
        case _:
            return None
    if max(map(abs, numbers)) > 1 << 62 or numbers[1] == 0:
        return None
    return Fraction(*numbers)


def _storage(identifier: Any, storage: _StorageReader) -> torch.Tensor:
    """The values ``[count]`` of a storage. `identifier`: ("storage", its type, key, device, count of values)."""
    import torch

    if (
        isinstance(identifier, tuple)
        and len(identifier) in (5, 6)
        and identifier[0] == "storage"
        and isinstance(identifier[1], Name)
        and identifier[1].text in (*_STORAGES, _UNTYPED)
        and isinstance(identifier[2], str)
        and type(identifier[4]) is int
        and identifier[4] >= 0
        and identifier[5:] in ((), (None,))
    ):
        return storage(identifier[2], getattr(torch, _STORAGES.get(identifier[1].text, "uint8")), identifier[4])
    if isinstance(identifier, tuple) and isinstance(identifier[1], Name) and _QUANTISED.match(identifier[1].text):
        raise _Quantised
    raise _Unsafe("its pickle asks for something that isn't a tensor")


def _tensor(values: torch.Tensor, offset: Any, shape: Any, strides: Any) -> torch.Tensor:
    """A view of the storage `values`. All numbers are the file's: they are checked before torch sees them."""
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or not len(shape) == len(strides) <= 8:
        raise TypeError
    if any(type(number) is not int or not 0 <= number <= _LARGEST_NUMBER for number in (offset, *shape, *strides)):
        raise ValueError
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count > _LARGEST_NUMBER or (count and last >= values.numel()):
        raise _Damaged("a tensor in it reaches beyond its data")
    return values.as_strided(shape, strides, offset) if count else values.new_empty(shape)


def _shorten(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])
