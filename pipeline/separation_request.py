"""What a separation is to give: which stems, in which files, at which levels; and how users write that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from understudy.audio.ni_stems import Codec
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.stems import canonical

SETS: Mapping[str, tuple[str, ...]] = {
    "2": ("vocals", "instrumental"),
    "4": ("vocals", "drums", "bass", "other"),
    "6": ("vocals", "drums", "bass", "guitar", "piano", "other"),
}
"""The sets of stems that have a number for a name. Each sums to the song."""

STEMS = ("vocals", "instrumental", "lead", "backing", "dry", "reverb", "noise", *SETS["6"][1:])
"""All stems that the program knows."""

GUIDE = -12.0
"""dB of the lead in karaoke by default: enough to guide whoever sings along."""

_HIGHEST, _LOWEST = 24.0, -60.0
_SILENT = ("off", "mute", "-inf")
_NI = re.compile(r"\.?stems?(\.m4a|\.mp4)?(?::(aac|alac))?")


@dataclass(frozen=True)
class Container:
    """A file for DJ software, with its extension."""

    codec: Codec = "aac"
    extension: str = ".stem.m4a"


@dataclass(frozen=True)
class SeparationRequest:
    """`stems`: each is written as a file, or all in one for DJ software where there is a `container`; None: those that
    suit the rest of the request, vocals and instrumental by default. `levels`: dB by stem (None: left out) of a mix,
    which is written where there are any. `karaoke`: whether a karaoke version is written, with the lead at `guide` dB
    (None: left out). `midi`: stems whose notes are written."""

    stems: tuple[str, ...] | None = None
    container: Container | None = None
    levels: Mapping[str, float | None] = field(default_factory=dict)
    karaoke: bool = False
    guide: float | None = GUIDE
    midi: tuple[str, ...] = ()


def parse_stems(names: int | str | Sequence[str]) -> tuple[str, ...]:
    """``2``, ``4``, ``6``, or names, in a text with commas between: the stems, in order, each once.

    Raises `UnderstudyError` ``stems-invalid``.
    """
    text = str(names) if isinstance(names, int | str) else ",".join(names)
    if text.strip() in SETS:
        return SETS[text.strip()]
    stems = [canonical(name) if name.strip() else "" for name in text.split(",")]
    unknown = [stem for stem in stems if stem not in STEMS]
    if unknown:
        raise UnderstudyError(
            "stems-invalid",
            f"{text!r} names no stems" + (f": there is no stem {unknown[0]!r}." if unknown[0] else "."),
            f"Write {', '.join(SETS)} or some of {', '.join(STEMS)} with commas between.",
        )
    return tuple(dict.fromkeys(stems))


def parse_levels(text: str) -> dict[str, float | None]:
    """``vocals=-6,drums=+2,bass=off``: dB by stem, None for ``off``.

    Raises `UnderstudyError` ``mix-invalid`` for what can't be read.
    """
    levels: dict[str, float | None] = {}
    for part in text.split(","):
        name, equals, level = part.partition("=")
        stem = canonical(name) if name.strip() else ""
        if not equals or stem not in STEMS or stem in levels:
            raise invalid_mix(f"{part.strip()!r} is no level of a stem")
        levels[stem] = _level(level)
    return levels


def parse_guide(text: str) -> float | None:
    """The level of the lead in karaoke: dB, or ``off``. Raises `UnderstudyError` ``mix-invalid``."""
    return _level(text)


def container_named(format: str) -> Container | None:
    """The file for DJ software that `format` names, ``stem.m4a``, ``stem.mp4``, ``stem.m4a:alac``; None for others."""
    found = _NI.fullmatch(format.strip().lower())
    if found is None:
        return None
    return Container("alac" if found[2] == "alac" else "aac", f".stem{found[1] or '.m4a'}")


def _level(text: str) -> float | None:
    plain = text.strip().lower().removesuffix("db").strip()
    if plain in _SILENT:
        return None
    try:
        level = float(plain)
    except ValueError as error:
        raise invalid_mix(f"{text.strip()!r} is no level") from error
    if not isfinite(level) or not _LOWEST <= level <= _HIGHEST:
        raise invalid_mix(f"{text.strip()!r} is not between {_LOWEST:.0f} and +{_HIGHEST:.0f} dB")
    return level


def invalid_mix(reason: str) -> UnderstudyError:
    """Why levels make no mix."""
    return UnderstudyError(
        "mix-invalid",
        f"This mix can't be made: {reason}.",
        f"Write levels in dB, e.g. 'vocals=-6,drums=+2,bass=off'; stems: {', '.join(STEMS)}.",
    )
