"""Names of covers: a template filled in, in a form that every file system takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from understudy.audio.encode import parse_format
from understudy.audio.tags import covered, filled, read_tags
from understudy.pipeline.presets import presets
from understudy.pipeline.publish import LONGEST_NAME, shortened
from understudy.pipeline.settings import DEFAULT_PRESET, CoverSettings, load_settings

_SPARE = 40  # bytes of a name for what is added to it: a number, ".flac.report.html", the name of a stage
_LONGEST_CHANGES = 80  # characters
_LONGEST_VOICE = 100  # bytes

_WORDS = {
    "song.start": "from {:g} s",
    "song.duration": "{:g} s long",
    "separation.model": "{}",
    "key": "key {:+d}",
    "remix.vocal_gain": "vocal {:+g} dB",
    "remix.instrumental_gain": "instrumental {:+g} dB",
    "remix.backing_gain": "backing {:+g} dB",
    "remix.target_lufs": "{:g} LUFS",
    "pitch.tracker": "{}",
}
"""How a changed setting is told; others by their own name: ``index rate 0.3``."""

# Windows, exFAT and SMB refuse these characters, and these names before any extension
_REPLACED = str.maketrans({"/": "-", "\\": "-", "|": "-", ":": "-", "*": "-", "?": "", '"': "'", "<": "(", ">": ")"})
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


def cover_name(
    settings: CoverSettings,
    song: Path,
    voice: str,
    words: Iterable[str] = (),
    named: Collection[str] = (),
    called: str = "",
) -> str:
    """The name of a cover without its extension, from the template ``output.name``: by default ``SONG (VOICE)``, with
    what differs from the presets, ``SONG (VOICE, vocal +4 dB)``. The tags of `song` are read if it asks for them.

    `words`: changes that are no settings. `named`: settings that are told even if they are the default. `called`: the
    song's name in place of its file's. The name leaves room for a number, an extension and what stands beside a cover.
    Raises `UnderstudyError` as `read_tags` does.
    """
    template = settings.output.name
    changes = _listed([*words, *_changes(settings, named)])
    values = {
        "song": called or song.stem,
        "voice": shortened(voice, _LONGEST_VOICE),
        "changes": f", {changes}" if changes else "",
    }
    fields = set(re.findall(r"\{([^{}]*)\}", template))
    if fields - values.keys():
        tags = read_tags(song)
        tags = covered(replace(tags, title=tags.title or values["song"]), settings.tags)
        values |= {name: getattr(tags, name) for name in fields - values.keys()}
    tail = f" ({values['voice']}{values['changes']})"
    if template.endswith(" ({voice}{changes})"):  # what tells versions apart is not what is cut off
        head = safe(filled(template.removesuffix(" ({voice}{changes})"), values))
        tail = safe("x" + tail)[1:]
        return shortened(head, LONGEST_NAME - _SPARE - len(tail.encode())) + tail
    return shortened(safe(filled(template, values)), LONGEST_NAME - _SPARE)


def safe(name: str) -> str:
    """`name` as Linux, macOS and Windows take a file's name: without separators, reserved characters and names, and
    without dots and spaces at its ends. Bytes that aren't text are read as Latin-1."""
    text = "".join(chr(ord(letter) - 0xDC00) if "\udc80" <= letter <= "\udcff" else letter for letter in name)
    text = re.sub(r"\s+", " ", text.translate(_REPLACED))
    text = "".join(letter for letter in text if letter.isprintable() or letter in "\u200c\u200d")  # the two joiners
    text = text.strip(" .") or "cover"
    return f"_{text}" if _RESERVED.fullmatch(text) else text


def _changes(settings: CoverSettings, named: Collection[str]) -> Iterator[str]:
    """What differs from the nearest of the presets, whose name comes first unless it is the default one."""
    values = _flat(settings.model_dump(mode="json", exclude={"output", "tags"}))
    known = {name: _preset(name) for name in presets()}
    nearest = min(
        known, key=lambda name: (sum(values[key] != known[name][key] for key in values), name != DEFAULT_PRESET)
    )
    if nearest != DEFAULT_PRESET:
        yield nearest
    for name, value in values.items():
        if value != known[nearest][name] or name in named:
            yield _told(name, value)
    form = settings.output.encoding
    if form != parse_format(form.extension):
        yield f"{form.name} {form.kilobits}" if form.kilobits else form.name


@cache
def _preset(name: str) -> dict[str, Any]:
    return _flat(load_settings(name, {}, {}).model_dump(mode="json"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return found


def _told(name: str, value: Any) -> str:
    words = name.rpartition(".")[2].replace("_", " ")
    if value is None or value is False:
        return f"no {words}"
    if name in _WORDS:
        return _WORDS[name].format(value)
    return words if value is True else f"{words} {value}"


def _listed(changes: list[str]) -> str:
    """As many of the changes as fit, and how many more there are."""
    shown = list(dict.fromkeys(changes))
    while len(", ".join(shown)) > _LONGEST_CHANGES and len(shown) > 1:
        shown.pop()
    more = len(dict.fromkeys(changes)) - len(shown)
    return ", ".join(shown)[:_LONGEST_CHANGES] + (f", {more} more" if more else "")
