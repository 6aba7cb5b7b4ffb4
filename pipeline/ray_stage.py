"""A stage on another machine: what is sent there (`Order`), and what is done there (`run`).

Sound doesn't travel with the order. An input is named by the key of its artifact, a file by its hash; the worker copies
both from the shared store unless its machine has them. What holds no files, settings and manifests, is pickled. Models
that a stage looks up by name are those of the sender, and the versions of the packages that it uses must be, too.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, TypeAlias
from uuid import uuid4

import ray
from ray import cloudpickle

from understudy import __version__, environment
from understudy.errors import Cancelled, UnderstudyError
from understudy.models import Weights
from understudy.models.installed import give
from understudy.pipeline.executor import Ready
from understudy.pipeline.graph import Node, Output, Stage, models, packages, part_of
from understudy.pipeline.making import State, make
from understudy.pipeline.shared_store import SharedStore, StoreAddress, owned, prune_copies, touch
from understudy.pipeline.store import Record
from understudy.voices.library import refuse_revoked
from understudy.voices.voice import Voice, file_hash

REPORTS = 0.25  # seconds between two reports of progress
GRACE = 1.0  # seconds that a cancelled stage has until its process ends
TOUCH = 60.0  # seconds between two notes that the inputs are in use
PRUNE = 60.0  # seconds between two cleanups of this machine's copies
OWN = ("disk-full", "out-of-memory", "storage-unavailable")
"""Codes of errors that a machine has and others may not: their messages name it."""
_SAME = "Install the same versions on all machines, best from one container image."

Told: TypeAlias = tuple[State, float, float, str, str]
"""What is told of a stage while it runs: the arguments of `Report`."""


@dataclass(frozen=True)
class Order:
    """A stage to run. `arguments`: packed by `_Packer`, as are the `models` that it looks up by name. `version` of
    Understudy and versions of `packages`: those of the sender."""

    name: str
    key: str
    voices: tuple[str, ...]
    stage: Stage[Any]
    arguments: bytes
    packages: Mapping[str, str | None]
    store: StoreAddress
    workers: int
    version: str = __version__

    @staticmethod
    def of(ready: Ready, store: SharedStore, workers: int) -> Order:
        """The order for a node; its files are sent to the store."""
        stage = ready.node.stage
        packed = io.BytesIO()
        _Packer(packed, ready.keys, store).dump(({**ready.inputs, **ready.given}, models(stage)))  # type: ignore[no-untyped-call]
        return Order(
            ready.node.name, ready.key, ready.voices, stage, packed.getvalue(), packages(stage), store.address, workers
        )

    @staticmethod
    def unpacked(packed: bytes) -> Order:
        """The order that was pickled. Raises ``cluster-version`` where its stage isn't known, and as `check` does."""
        try:
            order: Order = cloudpickle.loads(packed)
        except (ImportError, AttributeError) as error:
            raise UnderstudyError(
                "cluster-version",
                f"The machine {socket.gethostname()} of the cluster doesn't know the stage: {error}.",
                _SAME,
            ) from error
        order.check()
        return order

    def check(self) -> None:
        """Raise ``cluster-version`` where this machine would make something else of it than the sender."""
        here = {"understudy": __version__, **packages(self.stage)}
        for package, version in {"understudy": self.version, **self.packages}.items():
            if here[package] != version:
                raise UnderstudyError(
                    "cluster-version",
                    f"The machine {socket.gethostname()} of the cluster has {package} {here[package] or 'not at all'}, "
                    f"where {version or 'none'} is expected.",
                    _SAME,
                )


class _Packer(cloudpickle.Pickler):
    """Pickles arguments with names in place of artifacts and files, which are sent to `store`."""

    def __init__(self, file: io.BytesIO, keys: Mapping[Node[Any], str], store: SharedStore) -> None:
        super().__init__(file)  # type: ignore[no-untyped-call]
        self._keys, self._store = keys, store

    def persistent_id(self, thing: Any) -> Any:
        match thing:
            # with the function that made the value: in its module the value's class is defined or imported
            case Node():
                return "value", self._keys[thing], None, thing.stage.run
            case Output():
                return "value", self._keys[thing.node], thing.field, thing.node.stage.run
            case Weights():
                self._store.send_file(thing.path, thing.sha256, model=True)
                return "weights", thing.path.name, thing.sha256, thing.companions
            case Voice():
                refuse_revoked(thing)  # the other machine has no library in which a stage could look
                used = {
                    path.relative_to(thing.folder).as_posix(): (path, sha) for path, sha in thing.used_files.items()
                }
                for path, sha256 in used.values():
                    self._store.send_file(path, sha256)
                return "voice", thing.manifest, {name: sha256 for name, (_, sha256) in used.items()}
            case Path() if thing.is_file():
                sha256 = file_hash(thing)
                self._store.send_file(thing, sha256)
                return "file", str(thing), sha256
        return None


class _Unpacker(pickle.Unpickler):
    """Gives the arguments back, with the values of artifacts and the paths of files on this machine. `used`: the
    folders of these; `names`: of this machine's files the names that they have where they come from."""

    def __init__(self, packed: bytes, store: SharedStore) -> None:
        super().__init__(io.BytesIO(packed))
        self._store = store
        self.used: set[Path] = set()
        self.names: dict[str, str] = {}

    def persistent_load(self, id: Any) -> Any:
        match id:
            case ("value", key, part, _):
                value = self._store.load(key).value
                self.used.add(self._store.folder(key))
                return value if part is None else part_of(value, part)
            case ("weights", name, sha256, companions):
                return Weights(self._file(name, sha256, model=True), sha256, companions)
            case ("voice", manifest, files):
                return Voice(self._voice(files), manifest)
            case ("file", path, sha256):
                found = self._file(Path(path).name, sha256)
                self.names[str(found)] = path
                return found
        raise pickle.UnpicklingError(f"an unknown reference: {id!r}")

    def _file(self, name: str, sha256: str, model: bool = False) -> Path:
        path = self._store.file(sha256, name, model)
        self.used.add(path.parent)
        return path

    def _voice(self, files: Mapping[str, str]) -> Path:
        """A folder with links to the files of a voice, in which they have their names."""
        listing = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(files.items()))
        folder = self._store.root / "files" / hashlib.sha256(listing.encode()).hexdigest()
        for name, sha256 in files.items():
            source, target = self._file(Path(name).name, sha256), folder / name
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f".{uuid4().hex}")
                os.link(source, part)
                part.replace(target)
        self.used.add(folder)
        return folder


@dataclass(frozen=True)
class Ended:
    """The last that is told of a stage: how its artifact was made and whether it was there already, or its error; and
    the `machine`, as Ray calls it, that has the artifact's files now."""

    record: Record | None
    cached: bool
    error: Exception | None
    machine: str


def run(packed: bytes) -> Iterator[Told | Ended]:
    """Carry out an order; a generator, so that Ray hands over what it yields while the stage runs.

    The stage runs in a thread. This one is interrupted by Ray when the stage is cancelled, or sees it, as interrupts
    can get lost; a stage that hasn't ended soon after is ended with its process, since some libraries compute for
    minutes without a look at anything.
    """
    context = ray.get_runtime_context()
    told: SimpleQueue[Told | Ended] = SimpleQueue()
    cancelled = Event()
    thread = Thread(target=_carry_out, args=(packed, told, cancelled), name="stage", daemon=True)
    try:
        thread.start()
        while True:
            try:
                event = told.get(timeout=0.1)  # an interrupt doesn't end a longer wait
            except Empty:
                if context.is_canceled():
                    return
                continue
            yield event
            if isinstance(event, Ended):
                return
    finally:
        cancelled.set()
        thread.join(GRACE)
        if thread.is_alive():
            os._exit(1)


_pruned = 0.0


def _carry_out(packed: bytes, told: SimpleQueue[Told | Ended], cancelled: Event) -> None:
    global _pruned
    machine = ray.get_runtime_context().get_node_id()
    names: dict[str, str] = {}
    try:
        order = Order.unpacked(packed)
        copies = environment.cache_folder()
        store = _store(order.store, copies)
        unpacker = _Unpacker(order.arguments, store)
        names = unpacker.names
        last = touched = time.monotonic()

        def arguments() -> Mapping[str, Any]:
            given, found = unpacker.load()
            give(found)
            return dict(given)

        def report(state: State, fraction: float, seconds: float, device: str, why: str = "") -> None:
            nonlocal last, touched
            now = time.monotonic()
            if now - touched > TOUCH:
                touched = now
                touch(unpacker.used)
            if state != "progress" or now - last > REPORTS:
                last = now
                told.put((state, fraction, seconds, device, why))

        device = _device()
        with store.telling(lambda why: told.put(("delayed", 0.0, 0.0, device, why))):
            record, cached = make(
                store,
                order.key,
                order.voices,
                order.name,
                order.stage,
                arguments,
                device,
                order.workers,
                report,
                cancelled,
            )
        if time.monotonic() - _pruned > PRUNE:
            _pruned = time.monotonic()
            prune_copies(copies, environment.cache_limit())
        told.put(Ended(record, cached, None, machine))
    except UnderstudyError as error:
        if isinstance(error, Cancelled):
            told.put(Ended(None, False, error, machine))
            return
        message = f"On the machine {socket.gethostname()}: {error.message}" if error.code in OWN else error.message
        texts = [_as_sent(text, names) for text in (message, error.hint)]
        told.put(Ended(None, False, UnderstudyError(error.code, *texts), machine))
    except Exception as error:
        told.put(Ended(None, False, _portable(error), machine))


_stores: dict[str, SharedStore] = {}


def _store(address: StoreAddress, copies: Path) -> SharedStore:
    """The store as this process sees it, opened once."""
    known = repr((address, copies))
    if known not in _stores:
        _stores[known] = owned(address, copies)
    return _stores[known]


def _device() -> str:
    """The GPU that Ray has given to this process, if torch can use it."""
    if not ray.get_gpu_ids():
        return "cpu"
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _portable(error: Exception) -> Exception:
    """The error, or what can be said of one that can't be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _as_sent(text: str, names: Mapping[str, str]) -> str:
    """`text` with the sender's names of files."""
    for here, there in names.items():
        text = text.replace(here, there)
    return text
