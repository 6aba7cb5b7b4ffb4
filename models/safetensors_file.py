"""Reads untrusted safetensors files. The format holds only tensors and strings; here their size is bounded, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_HEADER = 4 << 20  # bytes of JSON before the tensors
_ANOTHER = "Ask for another copy of the file, or get it from where it was first published."


def is_safetensors(path: Path) -> bool:
    """Whether the file at `path` is of that format, whatever its name; false where there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:  # reading it gives the error
        return False
    return start[8:] == b"{" and not start.startswith(b"PK")


def load(path: Path, largest: int = 4 << 30) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in the file at `path`, on the CPU, and its metadata. Tensors are mapped from the file; copy one that
    is to outlive it.

    Raises `UnderstudyError`: ``model-too-large`` (more than `largest` bytes), ``model-damaged``.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if path.stat().st_size > largest or header > _LARGEST_HEADER:
            raise UnderstudyError("model-too-large", f"{path} is larger than any such model.", _ANOTHER)
        with safe_open(path, "pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}, tensors.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise UnderstudyError(
            "model-damaged", f"{path} cannot be read as a model: it is damaged ({type(error).__name__}).", _ANOTHER
        ) from error
