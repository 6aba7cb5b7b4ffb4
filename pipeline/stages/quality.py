"""The stage that estimates how well a song was taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audio.context import Context
from audio.stored import AudioFile
from pipeline.separation.quality import assess_separation


def quality(context: Context, song: AudioFile, vocals: AudioFile, instrumental: AudioFile) -> Mapping[str, Any]:
    """A `pipeline.separation.quality.Quality` as a value."""
    return assess_separation(context, song, vocals, instrumental).as_value()
