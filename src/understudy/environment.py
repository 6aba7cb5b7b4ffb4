"""What the environment decides: the folders of voices and artifacts, the size of the cache, the device, the cluster."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from understudy.errors import UnderstudyError

GIB = 1 << 30


def voices_folder() -> Path:
    """The voice library: ``UNDERSTUDY_VOICES``, or ``voices`` in the platform's data folder."""
    return Path(os.environ.get("UNDERSTUDY_VOICES") or user_data_path("understudy") / "voices")


def cache_folder() -> Path:
    """The artifacts: ``UNDERSTUDY_CACHE``, or the platform's cache folder."""
    return Path(os.environ.get("UNDERSTUDY_CACHE") or user_cache_path("understudy"))


def cache_limit() -> int:
    """Bytes that the cache may hold: ``UNDERSTUDY_CACHE_GB`` gibibytes, 20 by default."""
    return round(float(os.environ.get("UNDERSTUDY_CACHE_GB") or 20) * GIB)


def shared_store() -> str:
    """Where a cluster's artifacts are: ``UNDERSTUDY_STORE``, or nothing."""
    return os.environ.get("UNDERSTUDY_STORE") or ""


def gpu_share() -> float:
    """The part of a GPU that a stage gets on a cluster: ``UNDERSTUDY_GPU_SHARE``, 1 by default."""
    return float(os.environ.get("UNDERSTUDY_GPU_SHARE") or 1)


def gpus() -> int:
    """The number of GPUs that torch can use."""
    if shutil.which("nvidia-smi") is None:
        return 0  # without importing torch
    import torch

    return int(torch.cuda.device_count())


def choose_device(requested: str | None = None) -> str:
    """The torch device of the networks, ``cpu`` or ``cuda:N``.

    `requested`: such a name, or ``auto`` for the GPU where there is one; None: ``UNDERSTUDY_DEVICE``, else ``auto``.
    Raises `UnderstudyError` ``device-unknown`` for a device that this machine doesn't have.
    """
    requested = requested or os.environ.get("UNDERSTUDY_DEVICE") or "auto"
    if requested == "cpu" or (requested == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"  # without importing torch, which takes longer than a cached cover
    import torch

    if requested == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    name, _, index = requested.partition(":")
    if name == "cuda" and (not index or index.isdigit()) and int(index or 0) < torch.cuda.device_count():
        return f"cuda:{index or 0}"
    raise UnderstudyError(
        "device-unknown",
        f"There is no device {requested!r} on this machine.",
        "Use --device cpu or auto; 'understudy doctor' shows what there is.",
    )
