"""Where things live: voices and cache, by option < environment < the platform's own data folders."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

GIB = 1 << 30


def voices_folder() -> Path:
    """``UNDERSTUDY_VOICES``, or the platform's data folder."""
    return Path(os.environ.get("UNDERSTUDY_VOICES") or user_data_path("understudy") / "voices")


def cache_folder() -> Path:
    """``UNDERSTUDY_CACHE``, or the platform's cache folder."""
    return Path(os.environ.get("UNDERSTUDY_CACHE") or user_cache_path("understudy"))


def cache_limit() -> int:
    """Bytes that the cache may hold: ``UNDERSTUDY_CACHE_GB`` gibibytes, 20 by default."""
    return round(float(os.environ.get("UNDERSTUDY_CACHE_GB") or 20) * GIB)
