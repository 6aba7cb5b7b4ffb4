"""The dtype that networks compute in."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16", "float16"]


def default_precision(device: str) -> Precision:
    """The dtype in which matrix products on `device` (a torch device string) are fast: float16 on a GPU, bfloat16 on a
    CPU that multiplies it in hardware (twice as fast there as float32), otherwise float32."""
    if not device.startswith("cpu"):
        return "float16"
    return "bfloat16" if _multiplies_bfloat16() else "float32"


@cache
def _multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
