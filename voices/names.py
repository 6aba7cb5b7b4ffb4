"""Names of voices: validation, and suggestions for unknown names."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from understudy.errors import UnderstudyError

LONGEST = 64  # characters; in UTF-8 at most 200 bytes, which every file system takes as a folder's name
_PUNCTUATION = set(" -_.,'&+()")
_RESERVED = {"con", "prn", "aux", "nul"} | {port + digit for port in ("com", "lpt") for digit in "123456789"}


def valid_name(name: str) -> str:
    """`name` in Unicode's composed form (NFC); raises `UnderstudyError` when it can't name a voice.

    A voice's name is its folder's name on any file system: letters and digits of any script, spaces and a little
    punctuation, no separators, nothing hidden, nothing that Windows reserves.
    """
    name = unicodedata.normalize("NFC", name)

    def refuse(why: str) -> UnderstudyError:
        return UnderstudyError(
            "voice-name-invalid",
            f"{name[:80]!r} cannot be the name of a voice: {why}.",
            f"Use letters, digits, spaces, '-', '_' or '.', at most {LONGEST} of them; for example: nova.",
        )

    if not name.strip():
        raise refuse("it is empty")
    if len(name) > LONGEST or len(name.encode("utf-8", "surrogatepass")) > 200:
        raise refuse("it is too long")
    for letter in name:
        if letter not in _PUNCTUATION and unicodedata.category(letter)[0] not in "LMN":
            raise refuse(f"it holds {letter!r}")
    if name != name.strip() or name.startswith((".", "-")) or name.endswith("."):
        raise refuse("it starts or ends with a space, a '.' or a '-'")
    if not any(unicodedata.category(letter)[0] in "LN" for letter in name):
        raise refuse("it has no letter and no digit")
    if name.split(".")[0].strip().casefold() in _RESERVED:
        raise refuse("Windows reserves it")
    return name


def printable(text: str) -> str:
    """`text` without what a terminal, JSON or UTF-8 can't take (control characters, undecodable bytes)."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def unknown(name: str, known: Iterable[str]) -> UnderstudyError:
    """The error for a voice that isn't there; suggests the nearest of `known`."""
    known = sorted(known)
    folded = {other.casefold(): other for other in known}
    near = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    # a beginning is what people type of a long name, and difflib thinks little of it
    near += [other for other in known if other.casefold().startswith(name.casefold()) and other not in near and name]
    if near:
        hint = f"Did you mean {' or '.join(repr(other) for other in near[:3])}?"
    elif known:
        listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        hint = f"The voices in the library are: {listed}."
    else:
        hint = "The library is empty: make a voice with `understudy voices add NAME RECORDING... --consent self`."
    return UnderstudyError("voice-unknown", f"There is no voice named {name[:80]!r}.", hint)
