"""Which device the heavy stages run on."""

from __future__ import annotations

import os
import shutil

from understudy.errors import UnderstudyError


def choose_device(asked: str | None = None) -> str:
    """``cpu`` or ``cuda:N``. By default the GPU where there is one; asking for one that isn't there is an error."""
    asked = asked or os.environ.get("UNDERSTUDY_DEVICE") or "auto"
    if asked == "cpu" or (asked == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"  # without importing torch, which takes longer than a cached cover
    import torch

    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    name, _, index = asked.partition(":")
    if name == "cuda" and (not index or index.isdigit()) and int(index or 0) < torch.cuda.device_count():
        return f"cuda:{index or 0}"
    raise UnderstudyError(
        "device-unknown",
        f"There is no device {asked!r} on this machine.",
        "Use --device cpu or auto; 'understudy doctor' shows what there is.",
    )
