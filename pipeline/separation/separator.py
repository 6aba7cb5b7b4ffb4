"""What a separator is, and the list of those that exist.

A separator is a plain function of this shape; later models join by adding themselves to `separator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audio.context import Context
from audio.errors import UnderstudyError
from audio.samples import AudioSource
from audio.stored import AudioFile
from pipeline.separation.settings import SeparationSettings

Separator = Callable[[Context, AudioSource], Mapping[str, AudioFile]]
"""(context, song) -> stems by name, each a file in `context.folder`, with the song's rate, channels and length,
sample-aligned with it."""


def separated_stems(settings: SeparationSettings) -> tuple[str, ...]:
    """The stems that the separator of those settings gives. Where ``lead`` and ``backing`` are among them, the voices
    can differ."""
    return ("vocals", "instrumental")


def separator(name: str) -> Separator:
    """The separator of that name; raises `UnderstudyError` naming those that exist."""
    from pipeline.separation.embedded.separate import separate_embedded

    separators: dict[str, Separator] = {"embedded": separate_embedded}
    if name not in separators:
        raise UnderstudyError(
            "separator-unknown",
            f"There is no separator named {name!r}.",
            f"Choose one of: {', '.join(sorted(separators))}.",
        )
    return separators[name]
