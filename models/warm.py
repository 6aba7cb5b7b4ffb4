"""Models that are kept loaded: the second cover in a process waits for nothing.

`warm` loads what isn't there yet, once, however many threads ask for it. What was used longest ago is let go when less
than `KEEP_FREE` bytes of memory are left; who still works with it keeps it alive until he is done.
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
"""Bytes (1.5 GiB) that shall stay available on the machine or in the container."""


@dataclass
class _Slot:
    """A place for one model; `lock` is held while it is loaded."""

    lock: Lock = field(default_factory=Lock)
    loaded: bool = False
    value: Any = None


_slots: dict[Hashable, _Slot] = {}  # least recently used first
_guard = Lock()


def warm(key: Hashable, load: Callable[[], T]) -> T:
    """What `load` gave when it was first called for `key`. `key` must tell apart all that changes what is loaded: the
    file's hash, the device, the precision. An exception of `load` reaches its caller, and the next call tries again.
    """
    with _guard:
        slot = _slots.pop(key, None) or _Slot()
        _slots[key] = slot  # the most recently used stands last
    with slot.lock:
        if not slot.loaded:
            _make_room(slot)
            slot.value = load()
            slot.loaded = True
            with _guard:
                _slots[key] = slot  # may have been forgotten meanwhile
        value: T = slot.value
    _make_room(slot)
    return value


def release() -> bool:
    """Let go of the model that was used longest ago; False if there was none. For a GPU that is full."""
    return _release(None)


def forget() -> None:
    """Let go of everything."""
    while release():
        pass


def _make_room(spared: _Slot) -> None:
    """Let go of others than `spared` while memory is short."""
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
