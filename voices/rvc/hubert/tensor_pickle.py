"""The tensors of a file that `torch.save` wrote, read without unpickling it.

The classic HuBERT file of fairseq pickles whole objects beside its tensors (arguments, configuration, dictionaries), so
`torch.load(weights_only=True)` refuses it, and `torch.load` without it would run whatever the file asks for. Here the
pickle's operations are decoded by the standard library's `pickletools` and carried out on plain containers alone. What
the file names (a class, a function) is never looked up or called: calls that stand for a tensor or an ordered dict are
recognised by name, all others give an inert placeholder. A file that names something which runs commands is refused: no
program wrote that by itself.

Both formats of `torch.save` are read: the zip (torch 1.6 and later) and the one before. Sources: the documentation of
`pickletools` and of `torch.save`.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from audio.errors import UnderstudyError

if TYPE_CHECKING:
    import torch

MOST_FILE = 4 << 30  # bytes; the largest HuBERT (1 billion values in float32)
MOST_PICKLE = 16 << 20  # bytes; ContentVec's is a few tens of kilobytes
MOST_OPERATIONS = 2_000_000
MOST_ENTRIES = 100_000
MOST_DIRECTORY = 16 << 20  # bytes of a zip's directory
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}

# What no honest checkpoint names: modules that reach the machine or run text, and builtins that do.
_RUNNERS = re.compile(
    r"(asyncio|bdb|cProfile|code|codeop|commands|ctypes|_ctypes|distutils|doctest|ftplib|http|httplib|imp|importlib|"
    r"linecache|marshal|multiprocessing|nt|os|pdb|pickle|_pickle|pip|pkgutil|popen2|posix|posixpath|profile|pty|pydoc|"
    r"runpy|shutil|signal|site|smtplib|socket|_socket|sqlite3|ssl|subprocess|_posixsubprocess|sys|tempfile|threading|"
    r"_thread|timeit|trace|urllib|urllib2|venv|webbrowser|zipimport)(\.|$)|"
    r"(builtins|__builtin__)\.(__import__|apply|breakpoint|compile|eval|exec|execfile|exit|input|open|quit)(\.|$)|"
    r"(io|_io|_pyio)\.(open|open_code|FileIO)(\.|$)"
)


class _Broken(Exception):
    """The bytes are no file of `torch.save`."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file. `strides` count values; everything is checked to lie inside the storage."""

    path: Path
    position: int  # bytes
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> torch.Tensor:
        """The tensor, in memory of its own, contiguous, as stored."""
        import numpy as np
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=dtype)
        values = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        wanted = values * dtype.itemsize
        data = np.fromfile(self.path, np.uint8, wanted, offset=self.position)
        if len(data) != wanted:
            _refuse(self.path, "It ends early.")
        return torch.from_numpy(data).view(dtype).as_strided(self.shape, self.strides).contiguous()


class _Placeholder:
    """Stands for every object that is neither a tensor nor a plain container."""


_PLACEHOLDER = _Placeholder()


@dataclass(frozen=True)
class _Name:
    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    width: int
    values: int


@dataclass(frozen=True)
class _View:
    """A tensor before it is known where its storage lies."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """The stack's height at which a group of values begins."""


_MARK = _Mark()


def is_torch_file(start: bytes) -> bool:
    """Whether a file that begins with these bytes (16 or more) can be one of `torch.save`'s."""
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


def read_tensor_tree(path: Path) -> Any:
    """What `torch.save` stored: dicts, lists, tuples, strings, numbers, and `StoredTensor`s for tensors. Placeholders
    stand for all else. Nothing of the tensors' data is read yet.

    Raises `UnderstudyError`: ``model-unreadable`` or ``model-hostile``.
    """
    if path.stat().st_size > MOST_FILE:
        _refuse(path, f"It is larger than {MOST_FILE >> 30} GiB.")
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        tree, places = _read_zip(path) if zipped else _read_legacy(path)
        return _place(path, tree, places)
    except (zipfile.BadZipFile, NotImplementedError, struct.error):
        _refuse(path, "It is damaged.")
    except _Broken as error:
        _refuse(path, str(error))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        _refuse(path, f"Its pickle is damaged ({type(error).__name__}).")


def _refuse(path: Path, why: str) -> NoReturn:
    raise UnderstudyError(
        "model-unreadable",
        f"{path.name} can't be read as a file of model weights. {why}",
        "Fetch the file again; it should be a .pt, .bin or .safetensors file of the model.",
    )


def _read_zip(path: Path) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The tree and, by the storages' keys, where each lies: (first byte, bytes)."""
    size = path.stat().st_size
    _check_directory(path, size)
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _Broken("It is a zip, but none of torch's.")
        folder = pickles[0].removesuffix("data.pkl")
        places: dict[str, tuple[int, int]] = {}
        for name, entry in entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise _Broken("It is compressed, which torch never does.")
            file.seek(entry.header_offset)
            header = file.read(30)
            if header[:4] != b"PK\x03\x04":
                raise _Broken("Its directory points nowhere.")
            name_length, extra_length = struct.unpack("<HH", header[26:30])
            first = entry.header_offset + 30 + name_length + extra_length
            if first + entry.file_size > size:
                raise _Broken("It ends early.")
            places[name] = (first, entry.file_size)
        if _bytes(file, places.get(folder + "byteorder", (0, 0)), 16) not in (b"", b"little"):
            raise _Broken("It was written on a big-endian machine.")
        if places[pickles[0]][1] > MOST_PICKLE:
            raise _Broken("Its pickle is far larger than any model's.")
        tree = _carry_out(path, BytesIO(_bytes(file, places[pickles[0]], MOST_PICKLE)))
    data = folder + "data/"
    return tree, {name.removeprefix(data): place for name, place in places.items() if name.startswith(data)}


def _bytes(file: Any, place: tuple[int, int], most: int) -> bytes:
    file.seek(place[0])
    data: bytes = file.read(min(place[1], most))
    return data


def _check_directory(path: Path, size: int) -> None:
    """Refuse a zip whose directory alone would fill the memory: `zipfile` reads it whole. APPNOTE 4.3.14-16."""
    with path.open("rb") as file:
        tail_at = max(0, size - 22 - 65_535 - 76)
        file.seek(tail_at)
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise _Broken("It ends early.")
    entries, directory = struct.unpack("<HI", tail[at + 10 : at + 16])
    if tail[at - 20 : at - 16] == b"PK\x06\x07":
        record_at = at - 76  # where `zipfile` looks, too
        if struct.unpack("<Q", tail[at - 12 : at - 4])[0] != tail_at + record_at or record_at < 0:
            raise _Broken("Its directory points nowhere.")
        entries, directory = struct.unpack("<QQ", tail[record_at + 32 : record_at + 48])
    if entries > MOST_ENTRIES or directory > MOST_DIRECTORY:
        raise _Broken("Its directory is far larger than any model's.")


def _read_legacy(path: Path) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Five pickles in a row (magic number, protocol, machine, the object, the storages' keys), then every storage:
    its count of values in 8 bytes, its values."""
    size = path.stat().st_size
    with path.open("rb") as file:
        pickles = BytesIO(file.read(MOST_PICKLE))
        if _carry_out(path, pickles) != LEGACY_MAGIC:
            raise _Broken("It is a pickle, but none of torch's.")
        _carry_out(path, pickles)
        machine = _carry_out(path, pickles)
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise _Broken("It was written on a big-endian machine.")
        storages: dict[str, _Storage] = {}
        tree = _carry_out(path, pickles, storages)
        keys = _carry_out(path, pickles)
        places = {}
        at = pickles.tell()
        for key in keys:
            storage = storages[key]
            file.seek(at)
            values = struct.unpack("<q", file.read(8))[0]
            if values != storage.values or at + 8 + values * storage.width > size:
                raise _Broken("It ends early.")
            places[key] = (at + 8, values * storage.width)
            at += 8 + values * storage.width
    return tree, places


def _carry_out(path: Path, pickled: BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """What one pickle builds, of plain containers, `_View`s and placeholders; `pickled` is left behind its end."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for count, (operation, argument, _) in enumerate(pickletools.genops(pickled)):
        if count > MOST_OPERATIONS:
            raise _Broken("Its pickle is far larger than any model's.")
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
                _since_mark(stack)
            case "DUP":
                stack.append(stack[-1])
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append({})
            case "LIST":
                stack.append(_since_mark(stack))
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                width = int(operation.name[-1])
                stack[-width:] = [tuple(stack[-width:])]
            case "DICT":
                items = _since_mark(stack)
                stack.append({})
                _set_items(stack[-1], items)
            case "SETITEM":
                items = [stack.pop(), stack.pop()][::-1]
                _set_items(stack[-1], items)
            case "SETITEMS":
                items = _since_mark(stack)
                _set_items(stack[-1], items)
            case "APPEND":
                items = [stack.pop()]
                _extend(stack[-1], items)
            case "APPENDS" | "ADDITEMS":
                items = _since_mark(stack)
                _extend(stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(path, *argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(path, module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, called = stack.pop(), stack.pop()
                stack.append(_called(called, arguments))
            case "NEWOBJ_EX":
                del stack[-3:]
                stack.append(_PLACEHOLDER)
            case "BUILD":  # attributes; of an ordered dict they are its metadata
                stack.pop()
            case "INST":
                _since_mark(stack)
                stack.append(_called(_named(path, *argument.split(" ", 1)), ()))
            case "OBJ":
                _since_mark(stack)
                stack.append(_PLACEHOLDER)
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
                if storages is not None:
                    storages[stack[-1].key] = stack[-1]
            case "FROZENSET":
                _since_mark(stack)
                stack.append(_PLACEHOLDER)
            case "EMPTY_SET" | "EXT1" | "EXT2" | "EXT4" | "PERSID":
                stack.append(_PLACEHOLDER)
            case "NEXT_BUFFER" | "READONLY_BUFFER":
                raise _Broken("Its pickle refers to data outside the file.")
            case _:  # a number, a string, bytes
                stack.append(argument)
    raise _Broken("It ends early.")


def _since_mark(stack: list[Any]) -> list[Any]:
    """Takes the values above the topmost mark off the stack, and the mark."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _set_items(target: Any, items: list[Any]) -> None:
    """Put keys and values, by turns, into a dict. Keys that aren't plain are left out: hashing a nest of tuples can
    take for ever."""
    if len(items) % 2:
        raise _Broken("Its pickle is damaged.")
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 63):
                target[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)


def _named(path: Path, module: Any, name: Any) -> _Name:
    """A name in the file, never looked up. Refuses what can only have been put there to do harm."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise _Broken("Its pickle is damaged.")
    if _RUNNERS.match(f"{module}.{name}"):
        raise UnderstudyError(
            "model-hostile",
            f"{path.name} asks for {module[:40]}.{name[:40]} to be run when it is opened. Nothing of it was run.",
            "Delete the file: somebody tampered with it, and other programs may run what it asks for.",
        )
    return _Name(module, name)


def _called(called: Any, arguments: Any) -> Any:
    """What a call stands for: a tensor, a parameter, a dict; a placeholder for every other."""
    if not isinstance(called, _Name) or not isinstance(arguments, tuple):
        return _PLACEHOLDER
    match called.module, called.name:
        case "collections", "OrderedDict" if not arguments:
            return {}
        case "torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor":
            storage, offset, shape, strides = arguments[:4]
            return _view(storage, offset, shape, strides)
        case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state":
            return arguments[0]
    return _PLACEHOLDER


def _storage(identity: Any) -> _Storage:
    """`identity`: ("storage", its type, key, device, count of values)."""
    kind, stored, key, _, values = identity[:5]
    if kind != "storage" or not isinstance(stored, _Name) or stored.name not in _STORAGES:
        raise _Broken("It stores something that is no tensor.")
    if not isinstance(key, str) or type(values) is not int:
        raise _Broken("Its pickle is damaged.")
    dtype, width = _STORAGES[stored.name]
    if not 0 <= values <= MOST_FILE:
        raise _Broken("A tensor in it has an impossible size.")
    return _Storage(key, dtype, width, values)


def _view(storage: Any, offset: Any, shape: Any, strides: Any) -> _View:
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > 8:
        raise _Broken("A tensor in it has an impossible shape.")
    numbers = (offset, *shape, *strides)
    if any(type(number) is not int or not 0 <= number <= MOST_FILE for number in numbers):
        raise _Broken("A tensor in it has an impossible shape.")
    view = _View(storage, offset, tuple(shape), tuple(strides))
    values = 1
    for size in view.shape:
        values *= size
    last = sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if values > storage.values or (values and offset + last >= storage.values):
        raise _Broken("A tensor in it reaches beyond its data.")
    return view


def _place(path: Path, tree: Any, places: dict[str, tuple[int, int]]) -> Any:
    """The tree with every `_View` as a `StoredTensor`. Containers are changed in place, each once: a pickle may hold
    one container a thousand times, or inside itself."""
    root = [tree]
    waiting: list[Any] = [root]
    seen: dict[int, Any] = {}
    while waiting:
        container = waiting.pop()
        if id(container) in seen:
            continue
        seen[id(container)] = container
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, _View):
                container[key] = _stored(path, value, places)
            elif isinstance(value, dict | list):
                waiting.append(value)
    return root[0]


def _stored(path: Path, view: _View, places: dict[str, tuple[int, int]]) -> StoredTensor:
    first, size = places.get(view.storage.key, (0, -1))
    if size < view.storage.values * view.storage.width:
        raise _Broken("It lacks the data of a tensor.")
    return StoredTensor(path, first + view.offset * view.storage.width, view.storage.dtype, view.shape, view.strides)
