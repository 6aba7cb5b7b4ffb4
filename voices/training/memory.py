"""Memory of a training on a CPU."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Let glibc keep what this process frees, for its next allocations; elsewhere nothing.

    A step frees its large tensors and allocates the same again in the next. By default they go back to the kernel and
    come as fresh pages, which takes a tenth of the processor's time.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_THRESHOLD, (1 << 31) - 1)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        library.mallopt(_TOP_PAD, 64 << 20)
