"""The names of stems: from those in configurations and lists to ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

INSTRUMENTS = ("drums", "bass", "guitar", "piano", "other")
"""The stems that an instrumental consists of."""

Purpose = Literal["karaoke", "dereverb", "denoise"]
"""The task of a model whose stems' names don't show it: splitting lead and backing vocals, removing reverb or noise."""

_WORDS = {
    "vocals": ("vocal", "voice", "voices", "singing", "vox", "allvocals", "noinstrumental", "noinstrument"),
    "instrumental": ("inst", "instrum", "instrument", "instruments", "accompaniment", "music", "novocals", "novocal",
                     "minusvocals", "backingtrack"),
    "lead": ("leadvocal", "leadvocals", "leadonly", "mainvocals", "mainvocal", "karaoke", "nobacking",
             "nobackingvocals"),
    "backing": ("back", "backingvocal", "backingvocals", "backingonly", "backvocals", "backgroundvocals", "bv", "bgv",
                "harmony", "nolead", "noleadvocals", "nokaraoke"),
    "drums": ("drum",),
    "bass": (),
    "guitar": ("guitars",),
    "piano": ("pianos",),
    "other": ("others", "rest", "residual"),
    "reverb": ("echo", "reverbecho", "echoreverb", "wet", "room"),
    "noise": ("crowd", "noises"),
    "dry": ("noreverb", "noecho", "nonoise", "nocrowd", "nowet", "clean", "denoised", "dereverb", "dereverbed",
            "anechoic", "noreverbecho"),
}  # fmt: skip
_CANONICAL = {word: stem for stem, words in _WORDS.items() for word in (stem, *words)}
_RESIDUALS = {
    "vocals": "instrumental",
    "instrumental": "vocals",
    "lead": "backing",
    "backing": "lead",
    "reverb": "dry",
    "noise": "dry",
}
_SPLITS = {  # of a model of that purpose: what it keeps, what it takes away
    "karaoke": ("lead", "backing"),
    "dereverb": ("dry", "reverb"),
    "denoise": ("dry", "noise"),
}
_PURPOSES: tuple[tuple[Purpose, str], ...] = (
    ("karaoke", r"karaoke|[-_]kara\b|[-_]kara[-_]|bve|chorus_back"),
    ("dereverb", r"reverb|deverb|de[-_]?echo"),
    ("denoise", r"de[-_]?noise"),
)


def canonical(name: str) -> str:
    """Our name for a stem that a configuration calls `name`: ``No Reverb`` is ``dry``, ``Lead Vocals`` and
    ``karaoke`` are ``lead``. Other names (``kick``, ``male``) stay, in lower-case letters,
    digits and hyphens, so that it can be a file's name."""
    plain = re.sub(r"[^a-z0-9]+", "", name.lower())
    return _CANONICAL.get(plain) or re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "other"


def canonical_stems(names: Sequence[str], purpose: Purpose | None = None) -> tuple[str, ...]:
    """Our names for all stems of one model, in order, no two the same.

    ``other`` beside one stem alone is what that leaves of the song: beside ``vocals`` the ``instrumental``. With a
    `purpose`, the two stems of a model that calls them just vocals and instrumental get their right names.
    """
    found = [canonical(name) for name in names]
    if purpose and len(found) <= 2:
        kept, taken = _SPLITS[purpose]
        swapped = {kept, taken} & set(found)
        if not swapped:
            found = [kept if stem in ("vocals", "dry") else taken for stem in found]
        else:  # one name is right; the other is what is left
            found = [stem if stem in swapped else (taken if kept in swapped else kept) for stem in found]
    elif len(found) == 2 and found.count("other") == 1:
        found = [residual(found[1 - place]) if stem == "other" else stem for place, stem in enumerate(found)]
    return tuple(
        stem if stem not in found[:place] else f"{stem}-{found[:place].count(stem) + 1}"
        for place, stem in enumerate(found)
    )


def residual(stem: str) -> str:
    """What is left of the song without `stem`: ``instrumental`` without ``vocals``, ``other`` without ``drums``;
    ``other`` without ``dry``, too: that may be reverb or noise."""
    return _RESIDUALS.get(stem, "other")


def purpose_of(file_name: str) -> Purpose | None:
    """The task of a model by its published file name; None where the name doesn't show it."""
    return next((purpose for purpose, words in _PURPOSES if re.search(words, file_name.lower())), None)
