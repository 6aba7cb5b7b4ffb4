"""Keeps models loaded between uses, so that the second cover in a process doesn't load them again.

`warm` loads a model once, however many threads need it. When less than `KEEP_FREE` bytes of memory are available, the
least recently used models are released; a thread that still works with one keeps its reference until it is done.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from understudy.models.memory import available_memory

T = TypeVar("T")

KEEP_FREE = 3 << 29
"""Bytes (1.5 GiB) that are to stay available on the machine or in the container."""


@dataclass
class _Slot:
    """A place for one model; `lock` is held while it is loaded."""

    lock: Lock = field(default_factory=Lock)
    loaded: bool = False
    value: Any = None


_slots: dict[Hashable, _Slot] = {}  # least recently used first
_guard = Lock()


def warm(key: Hashable, load: Callable[[], T]) -> T:
    """The model under `key`, made by `load` on first use. `key` must hold everything that changes the result of `load`:
    the file's hash, the device, the dtype. An exception of `load` passes through, and the next call tries again."""
    with _guard:
        slot = _slots.pop(key, None) or _Slot()
        _slots[key] = slot  # the most recently used is last
    with slot.lock:
        if not slot.loaded:
            _make_room(slot)
            slot.value = load()
            slot.loaded = True
            with _guard:
                _slots[key] = slot  # may have been released meanwhile
        value: T = slot.value
    _make_room(slot)
    return value


def release() -> bool:
    """Release the least recently used model; False if there was none. For a GPU that is full."""
    return _release(None)


def forget() -> None:
    """Release all models."""
    while release():
        pass


def _make_room(spared: _Slot) -> None:
    """Release models other than `spared` while memory is short."""
    while (left := available_memory()) is not None and left < KEEP_FREE and _release(spared):
        pass


def _release(spared: _Slot | None) -> bool:
    with _guard:
        idle = next((key for key, slot in _slots.items() if slot.loaded and slot is not spared), None)
        if idle is None:
            return False
        del _slots[idle]
    gc.collect()
    return True
