"""What pydantic finds wrong with a model's input, field by field and in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A value that may be of several types fails once for each, and pydantic adds the type to the place.
_TYPE = re.compile(r"(constrained-)?(str|int|float|bool)|none|(literal|list|tuple|dict|function-\w+|is-instance)\[.*\]")
_SHOULD = "it should be "


@dataclass(frozen=True)
class Fault:
    """`place`: names of fields, keys of mappings, and positions from 0. `reason`: a clause that follows a colon.
    `unknown`: whether there is no such field."""

    place: tuple[int | str, ...]
    value: Any
    reason: str
    unknown: bool

    @property
    def field(self) -> str:
        """The place with dots: ``remix.vocal_gain``."""
        return ".".join(map(str, self.place))


def faults(errors: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """`errors` as `pydantic.ValidationError.errors` gives them, one for each field."""
    found: dict[tuple[int | str, ...], list[Mapping[str, Any]]] = {}
    for error in errors:
        place = tuple(part for part in error["loc"] if not (isinstance(part, str) and _TYPE.fullmatch(part)))
        found.setdefault(place, []).append(error)
    deeper = {place[:length] for place in found for length in range(len(place))}
    return [
        Fault(place, same[0]["input"], _reason(same), same[0]["type"] == "extra_forbidden")
        for place, same in found.items()
        # a list with one wrong item is also not the other type that the field may have
        if place not in deeper or any(error["loc"] == place for error in same)
    ]


def _reason(errors: list[Mapping[str, Any]]) -> str:
    first, *others = dict.fromkeys(map(_in_words, errors))
    return ", or ".join([first, *(other.removeprefix(_SHOULD) for other in others)])


def _in_words(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "it is missing"
    if error["type"] == "extra_forbidden":
        return "there is no such field"
    text = str(error["msg"]).removeprefix("Value error, ").partition(", unable to ")[0]
    return (text[:1].lower() + text[1:]).replace("input should be ", _SHOULD)
