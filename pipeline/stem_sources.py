"""Which stems of a separation make up each requested stem.

A song consists of nine parts that no stem divides further. Each stem is described by the set of parts that it holds.
``lead`` and ``other`` hold less when more is requested beside them: requested together with ``guitar``, ``other`` has
no guitar in it; requested without it, it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from understudy.errors import UnderstudyError
from understudy.pipeline.graph import Handle

Parts = frozenset[str]

VOCALS: Parts = frozenset(("dry", "reverb", "noise", "backing"))
INSTRUMENTAL: Parts = frozenset(("drums", "bass", "guitar", "piano", "rest"))
SONG = VOCALS | INSTRUMENTAL
_LEAD = VOCALS - {"backing"}
_OTHER = INSTRUMENTAL - {"drums", "bass"}


@dataclass(frozen=True)
class StemSource:
    """`nodes`: one or several that sum to the stem. `parts`: what it holds."""

    nodes: tuple[Handle, ...]
    parts: Parts


def sources(requested: Iterable[str], given: Mapping[str, StemSource], about: str) -> dict[str, StemSource]:
    """For each of the stems `requested` the stems that sum to it, among those `given` by name. `about`: what gives
    them, for the error message.

    Raises `UnderstudyError` ``stem-unavailable`` for a stem that isn't among them.
    """
    names = tuple(requested)
    return {name: _source(name, names, given, about) for name in names}


def _source(name: str, requested: Collection[str], given: Mapping[str, StemSource], about: str) -> StemSource:
    parts = _parts(name, requested)
    if parts is None:
        if name in given:
            return given[name]
        raise _unavailable(name, given, about)
    found: list[Handle] = []
    missing = set(parts)
    for source in sorted(given.values(), key=lambda source: -len(source.parts)):
        if source.parts and source.parts <= missing:
            found += source.nodes
            missing -= source.parts
    if missing:
        raise _unavailable(name, given, about)
    return StemSource(tuple(found), parts)


def _parts(name: str, requested: Collection[str]) -> Parts | None:
    """The parts of a stem that depend on what else is requested; None for all others."""
    if name == "lead":
        return _LEAD if "dry" in requested else _LEAD - {"reverb", "noise"}.intersection(requested)
    if name == "other":
        return _OTHER - {"guitar", "piano"}.intersection(requested)
    return None


def sum_to_song(stems: Iterable[StemSource]) -> bool:
    """Whether the stems hold all parts of the song, and none twice."""
    held = [part for stem in stems for part in stem.parts]
    return len(held) == len(SONG) and set(held) == SONG


def overlapping(stems: Mapping[str, StemSource]) -> tuple[str, str] | None:
    """Two of the stems that hold the same part, if there are any."""
    names = list(stems)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            if stems[one].parts & stems[other].parts:
                return one, other
    return None


_KARAOKE = ("a model that splits lead and backing vocals", "lead", "mel-roformer-karaoke-aufr33-viperx")
_DEREVERB = ("a model that takes off reverb", "dereverb", "mel-roformer-dereverb-anvuew")
_FOUR = ("a model of four stems", "instruments", "htdemucs")
_SIX = ("a model of six stems", "instruments", "htdemucs-6s")
GIVERS: Mapping[str, tuple[str, str, str]] = {
    "lead": _KARAOKE,
    "backing": _KARAOKE,
    "dry": _DEREVERB,
    "reverb": _DEREVERB,
    "noise": ("a model that takes off noise", "denoise", "mel-roformer-denoise-aufr33"),
    "drums": _FOUR,
    "bass": _FOUR,
    "other": _FOUR,
    "guitar": _SIX,
    "piano": _SIX,
}
"""Of stems that not every separator gives: what kind of model does, the setting that names it, and one such model."""


def _unavailable(name: str, given: Mapping[str, StemSource], about: str) -> UnderstudyError:
    kind, setting, example = GIVERS[name]
    use = f"--set separation.{setting}={example}"
    if setting == "instruments":
        use = f"--model {example}, or {use} to keep the vocals of the model that you have"
    return UnderstudyError(
        "stem-unavailable",
        f"The stem {name!r} can't be made: {about} gives {', '.join(given)}.",
        f"It takes {kind}, such as {example}: 'understudy models fetch {example}', and then add {use}. "
        "'understudy models list' shows others.",
    )
