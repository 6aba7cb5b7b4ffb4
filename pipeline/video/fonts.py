"""Fonts for any script: Pillow's own where it has the characters, else one of those installed on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

_UNWANTED = ("mono", "italic", "oblique", "bold", "black", "thin", "light", "condensed", "serif", "emoji", "symbol")
_ENDINGS = (".ttf", ".otf", ".ttc")
_MOST = 3000  # files that are looked at
_SIZE = 32  # pixels at which characters are compared


def installed_fonts() -> tuple[Path, ...]:
    """The font files of this machine, plain sans-serif ones first."""
    found = [
        path
        for folder in _folders()
        for path in folder.rglob("*")
        if path.suffix.lower() in _ENDINGS and path.is_file()
    ]

    def rank(path: Path) -> tuple[int, bool, int, str]:
        name = path.stem.lower()
        return sum(word in name for word in _UNWANTED), "sans" not in name, len(name), str(path)

    return tuple(sorted(found, key=rank)[:_MOST])


def _folders() -> Iterator[Path]:
    """Where the platform keeps fonts for all users, and those of this user."""
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield home / "AppData/Local/Microsoft/Windows/Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    else:
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts")
        yield home / ".fonts"


@dataclass(frozen=True)
class Typeface:
    """The font of a text: a file, or Pillow's own for None. `text`: without the characters that it lacks; `missing`:
    these."""

    path: Path | None
    text: str
    missing: str

    def at(self, size: float) -> FreeTypeFont:
        """The font at `size` pixels."""
        return _font(self.path, size)


def typeface(text: str, fonts: Sequence[Path]) -> Typeface:
    """The first font that has all characters of `text`, or the one that has most: Pillow's own, then `fonts`."""
    best, missing = None, _missing(_font(None, _SIZE), text)
    for path in fonts if missing else ():
        try:
            lacks = _missing(_font(path, _SIZE), text)
        except (OSError, ValueError):  # no font, or one of pictures that has another size
            continue
        if len(lacks) < len(missing):
            best, missing = path, lacks
        if not missing:
            break
    return Typeface(best, "".join(c for c in text if c not in missing), missing)


def _font(path: Path | None, size: float) -> FreeTypeFont:
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
    assert isinstance(font, FreeTypeFont)
    return font


def _missing(font: FreeTypeFont, text: str) -> str:
    """The characters for which `font` draws what it draws for one that doesn't exist."""
    nothing = _drawn(font, "\U0010ffff")
    return "".join(c for c in dict.fromkeys(text) if not c.isspace() and _drawn(font, c) == nothing)


def _drawn(font: FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
