"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import sys


def return_freed_memory() -> None:
    """Give what this process freed back to the system, with glibc; elsewhere nothing. Takes some 10 ms.

    glibc keeps the gaps between what is still used, and each thread has its own: without this, what one stage needed
    would be held while the next one needs its own.
    """
    if sys.platform.startswith("linux"):
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)
