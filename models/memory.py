"""How much memory is available, so that models that are only kept loaded can be released in time."""

from __future__ import annotations

import os
from pathlib import Path


def available_memory() -> int | None:
    """Bytes that this process could still allocate without swapping, None where that is unknown.

    On Linux the smaller of what the machine has (``MemAvailable``) and what the control group leaves (a container's
    limit, cgroup v2; its page cache counts as available because the kernel drops it first).
    """
    found = [size for size in (machine_memory(), group_memory()) if size is not None]
    return min(found) if found else None


def machine_memory(path: Path = Path("/proc/meminfo")) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # not Linux
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def group_memory(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the strictest of the groups around this process leaves."""
    try:
        own = next(line[3:] for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder = root / own.lstrip("/")
    left = [_left(place) for place in (folder, *folder.parents) if place == root or root in place.parents]
    return min((size for size in left if size is not None), default=None)


def _left(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0)))
