"""The stage that makes the file which the user gets."""

from __future__ import annotations

from pathlib import Path

from audio.encode import encode, parse_format

from audio.context import Context
from audio.stored import AudioFile
from audio.tags import Tags, cover_tags, read_tags


def encode_output(
    context: Context, sound: AudioFile, format: str, voice: str | None = None, original: Path | None = None
) -> Path:
    """`sound` in `format`, with the tags and artwork of the file `original`.

    `voice`: the name of the voice that sings; with it the file is tagged as an AI-generated cover.
    """
    tags = read_tags(original) if original else Tags()
    if voice:
        tags = cover_tags(tags, voice)
    chosen = parse_format(format)
    return encode(context, sound, context.folder / f"sound.{chosen.extension}", chosen, tags)
