"""What a separator is, and the list of those that exist.

A separator is a plain function of this shape; later models join by adding themselves to `separator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from audio.context import Context
from audio.errors import UnderstudyError
from audio.samples import AudioSource
from audio.stored import AudioFile


class SeparationSettings(BaseModel):
    """`model`: the separator's name; ``embedded`` needs no weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("embedded", description="which separator; 'embedded' needs no weights")


Separator = Callable[[Context, AudioSource, SeparationSettings], Mapping[str, AudioFile]]
"""(context, song, settings) -> stems by name, each a file in `context.folder`, with the song's rate, channels and
length, sample-aligned with it; ``vocals`` and ``instrumental`` are always among them and sum to the song."""


def separated_stems(settings: SeparationSettings) -> tuple[str, ...]:
    """The stems that the separator of those settings gives. Where ``lead`` and ``backing`` are among them, the voices
    can differ."""
    return ("vocals", "instrumental")


def separator(name: str) -> Separator:
    """The separator of that name; raises `UnderstudyError` naming those that exist."""
    from pipeline.separation.embedded import separate_embedded

    separators: dict[str, Separator] = {"embedded": separate_embedded}
    if name not in separators:
        raise UnderstudyError(
            "separator-unknown",
            f"There is no separator named {name!r}.",
            f"Choose one of: {', '.join(sorted(separators))}.",
        )
    return separators[name]
