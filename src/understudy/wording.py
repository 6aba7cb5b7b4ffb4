"""Numbers as messages write them and options take them: counts, times, lengths."""

from __future__ import annotations

import re

_TIME = re.compile(r"(?:(?:(?P<h>\d{1,4}):)?(?P<m>\d{1,4}):)?(?P<s>\d{1,6})(?P<fraction>\.\d{0,6})?")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 song``, ``2 songs``, ``3,000 songs``; `plural` where it is not `noun` with an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def clock(seconds: float, decimals: int = 0) -> str:
    """A time in a song, rounded: ``1:12``, ``1:00:05``; with `decimals`, ``1:12.50``."""
    whole, fraction = divmod(round(seconds * 10**decimals), 10**decimals)
    minutes, left = divmod(whole, 60)
    text = f"{minutes // 60}:{minutes % 60:02}:{left:02}" if minutes >= 60 else f"{minutes}:{left:02}"
    return text + (f".{fraction:0{decimals}}" if decimals else "")


def exact_clock(seconds: float) -> str:
    """To the millisecond, with the decimals that it needs: ``1:12``, ``1:12.5``."""
    return clock(seconds, 3).rstrip("0").removesuffix(".")


def length(seconds: float) -> str:
    """How long something is: ``4.20 s``, from ten seconds on as a clock has it."""
    return f"{seconds:.2f} s" if seconds < 10 else clock(seconds)


def lengths(first: float, second: float) -> tuple[str, str]:
    """Two lengths that a message compares, with the decimals that tell them apart: not ``0:12 of 0:12``."""
    if length(first) != length(second) or abs(first - second) < 1e-3:
        return length(first), length(second)
    decimals = next((n for n in (1, 2) if clock(first, n) != clock(second, n)), 3)
    return clock(first, decimals), clock(second, decimals)


def parse_clock(text: str) -> float | None:
    """Seconds of a time as people write it, ``1:12``, ``1:02:30.5`` or ``72.5``; None for anything else."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(match[unit] or 0) for unit in "hms")
    if (match["m"] is not None and seconds > 59) or (match["h"] is not None and minutes > 59):
        return None
    return hours * 3600 + minutes * 60 + seconds + float(match["fraction"] or 0)
