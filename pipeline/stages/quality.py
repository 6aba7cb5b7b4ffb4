"""The stage that estimates how well a song was taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.separation.quality import assess_separation


def quality(context: Context, song: AudioFile, vocals: AudioFile, instrumental: AudioFile) -> Mapping[str, Any]:
    """A `understudy.pipeline.separation.quality.Quality` as a value."""
    return assess_separation(context, song, vocals, instrumental).as_value()
