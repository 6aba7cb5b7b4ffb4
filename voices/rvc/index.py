"""The index of a voice: the faiss file of its content features, checked before faiss may see it, then memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_index(path: Path) -> Any:
    """The faiss index stored at `path` (one that an import has checked), its vectors memory-mapped where faiss can."""
    import faiss

    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
