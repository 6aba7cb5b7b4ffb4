"""Files that `torch.save` wrote, from strangers: read without running anything, in bounded memory.

``weights_only=True`` runs no foreign code, but what it lets through can still ask for any amount of memory
(``bytearray(10**12)``, a tensor class called with a size, a storage that the file doesn't hold, a packed entry). So the
pickle is first read as data, and may do no more than describe dictionaries, lists, numbers, texts and tensors whose
bytes are in the file. The old form, pickles one after another without a zip, is held to the same.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from audio.errors import UnderstudyError
from audio.unpacking import Limits, opened

_MOST_ENTRIES = 20_000
_LARGEST_PICKLE = 2 << 20  # a checkpoint of training with its optimiser has 0.3 MB
_LARGEST_OLD_FORM = 1 << 30  # it is read into memory, the zip form is mapped
_OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_ITEM = {"Half": 2, "BFloat16": 2, "Float": 4, "Double": 8, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
         "Bool": 1}  # fmt: skip
_STORAGES = {f"{place} {kind}Storage": size for place in ("torch", "torch.cuda") for kind, size in _ITEM.items()}
_TENSOR, _TENSOR_OLD, _PARAMETER = (
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_parameter",
)
_ORDERED = "collections OrderedDict"
_KNOWN = {_TENSOR, _TENSOR_OLD, _PARAMETER, _ORDERED, *_STORAGES}
_CONSTANTS = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
              "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"}  # fmt: skip
_EMPTY: dict[str, object] = {"EMPTY_DICT": {}, "EMPTY_LIST": []}  # never filled: what goes in is not kept
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ANOTHER = "Ask for another copy of the file, or get it from where it was first published."


class _Global(str):
    """A name that the pickle mentions."""


class _Mark:
    pass


class _Storage:
    def __init__(self, values: int) -> None:
        self.values = values


class _Tensor:
    pass


def load(path: Path, largest: int = 4 << 30) -> Any:
    """What `torch.save` wrote at `path`, with its tensors on the CPU; those of the zip form are mapped, not read.

    Raises `UnderstudyError`: ``file-not-found``, ``model-too-large`` (more than `largest` bytes), ``model-unsafe`` for
    a pickle that would do more than describe tensors, ``model-damaged``, ``archive-refused``.
    """
    import torch

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UnderstudyError(
            "file-not-found", f"{path} cannot be read ({error.strerror or error}).", "Check the path; name a file."
        ) from error
    zipped = start.startswith(b"PK")
    most = largest if zipped else min(largest, _LARGEST_OLD_FORM)
    if size > most:
        raise UnderstudyError(
            "model-too-large", f"{path} is larger than {most >> 20} MB, which no such model is.", _ANOTHER
        )
    if zipped:
        _check_zip(path, largest)
    else:
        _check_old_form(path, size)
    try:
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # of any kind, depending on what the file holds
        raise _damaged(path, f"torch stumbles over it ({type(error).__name__})") from error


def _check_zip(path: Path, largest: int) -> None:
    with opened(path, Limits(largest, _MOST_ENTRIES, ratio=1, unpacked=False), _ANOTHER) as archive:
        pickles = [name for name in archive.entries if name.lower().endswith("data.pkl")]
        if any("/code/" in name.lower() or name.lower().endswith("constants.pkl") for name in archive.entries):
            raise _unsafe(path, "it holds a program (TorchScript), not just weights")
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise _damaged(path, "it has no single data.pkl")
        folder = pickles[0].split("/")[0]
        if next(iter(archive.entries)).split("/")[0] != folder:  # torch takes the folder of the first entry
            raise _damaged(path, "its entries lie in several folders")
        data = archive.read(pickles[0], _LARGEST_PICKLE)
        here = archive.path.stat().st_size
    file = io.BytesIO(data)
    described = _describe(file, path)
    if described > here:
        raise _damaged(path, "it describes more bytes of tensors than it has")
    if file.tell() != len(data):
        raise _damaged(path, "something follows its pickle")


def _check_old_form(path: Path, size: int) -> None:
    with path.open("rb") as whole:
        file = io.BytesIO(whole.read(_LARGEST_PICKLE))  # the pickles stand at its beginning, before the tensors' bytes
    described = _describe(file, path)  # first: a pickle of another kind is to be called what it is
    if _OLD_MAGIC not in file.getvalue()[:64]:
        raise _damaged(path, "it isn't a file that torch wrote")
    for _ in range(4):  # protocol, system, the object itself, the keys of its tensors
        described += _describe(file, path)
    if described > size:
        raise _damaged(path, "it describes more bytes of tensors than it has")


def _operations(file: BinaryIO, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(file):
            yield opcode.name, argument
    except (ValueError, IndexError, OverflowError, MemoryError, struct.error, EOFError) as error:
        raise _damaged(path, "its pickle ends early or is none") from error


def _describe(file: BinaryIO, path: Path) -> int:
    """Read one pickle as data. Returns how many bytes the tensors' storages have that it speaks of."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    protocol = 0
    storages: dict[str, int] = {}

    def to_mark() -> list[Any]:
        items: list[Any] = []
        while (item := stack.pop()) is not _Mark:
            items.append(item)
        return items[::-1]

    try:
        for name, argument in _operations(file, path):
            if name in _CONSTANTS:
                stack.append(_VALUES.get(name, argument))
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name == "MARK":
                stack.append(_Mark)
            elif name in _EMPTY:
                stack.append(_EMPTY[name])
            elif name == "EMPTY_TUPLE":
                stack.append(())
            elif name == "TUPLE":
                stack.append(tuple(to_mark()))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                count = int(name[-1])
                items = tuple(stack[-count:])
                if len(items) != count:
                    raise IndexError
                del stack[-count:]
                stack.append(items)
            elif name in ("SETITEMS", "SETITEM"):
                keys = to_mark()[::2] if name == "SETITEMS" else [stack.pop(-2), stack.pop()][:1]
                # a tuple of tuples of the same tuples would be hashed for years
                if not all(key is None or isinstance(key, str | int | float) for key in keys):
                    raise _unsafe(path, "its pickle has a dictionary with other keys than texts and numbers")
            elif name == "APPENDS":
                to_mark()
            elif name == "APPEND":
                stack.pop()
            elif name in ("GLOBAL", "STACK_GLOBAL", "INST"):
                stack.append(_known(path, name, argument, stack))
            elif name == "BINPERSID":
                key, bytes = _storage(path, stack.pop())
                storages[key] = max(bytes, storages.get(key, 0))
                stack.append(_Storage(bytes))
            elif name == "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_called(path, function, arguments))
            elif name == "BUILD":
                stack.pop()
                if stack[-1] is not dict:
                    raise _unsafe(path, "its pickle would change an object")
            elif name == "PROTO":
                protocol = argument
            elif name not in ("FRAME", "STOP"):
                raise _unsafe(path, f"its pickle uses {name}, which no state of a model needs")
    except (IndexError, KeyError, TypeError) as error:
        raise _damaged(path, "its pickle makes no sense") from error
    if protocol != 2:  # the only one that torch writes and reads, but for who insists
        raise _damaged(path, f"its pickle is of protocol {protocol}")
    return sum(storages.values())


def _known(path: Path, operation: str, argument: Any, stack: list[Any]) -> _Global:
    if operation == "STACK_GLOBAL":
        words = stack[-2:]
        del stack[-2:]
        argument = " ".join(word if isinstance(word, str) else "?" for word in words)
    if argument not in _KNOWN:
        raise _unsafe(path, f"opening it would run {_shorten(argument.replace(' ', '.'))}")
    return _Global(argument)


def _called(path: Path, function: Any, arguments: Any) -> Any:
    if isinstance(function, _Global) and isinstance(arguments, tuple):
        if function == _ORDERED and not arguments:
            return dict
        if function in (_TENSOR, _TENSOR_OLD) and len(arguments) >= 4 and isinstance(arguments[0], _Storage):
            return _Tensor()
        if function == _PARAMETER and arguments and isinstance(arguments[0], _Tensor):
            return _Tensor()
    called = _shorten(function) if isinstance(function, str) else "something"
    raise _unsafe(path, f"opening it would call {called} in an unusual way")


def _storage(path: Path, told: Any) -> tuple[str, int]:
    """The key and the bytes of the storage that a persistent id speaks of."""
    if (
        isinstance(told, tuple)
        and len(told) in (5, 6)
        and told[0] == "storage"
        and isinstance(told[1], _Global)
        and told[1] in _STORAGES
        and isinstance(told[2], str)
        and isinstance(told[4], int)
        and told[4] >= 0
        and told[5:] in ((), (None,))
    ):
        return told[2], told[4] * _STORAGES[told[1]]
    raise _unsafe(path, "its pickle asks for something that isn't a tensor")


def _shorten(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])


def _unsafe(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError(
        "model-unsafe",
        f"{path} is refused: {why}.",
        "Nothing of it was run. Don't open this file with other programs; get the model from somebody you trust.",
    )


def _damaged(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError("model-damaged", f"{path} cannot be read as a model: {why}.", _ANOTHER)
