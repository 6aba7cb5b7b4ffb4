"""The stage that takes a song apart."""

from __future__ import annotations

from collections.abc import Mapping

from audio.context import Context
from audio.stored import AudioFile
from pipeline.separation.separator import separator
from pipeline.separation.settings import SeparationSettings


def separate(context: Context, song: AudioFile, settings: SeparationSettings) -> Mapping[str, AudioFile]:
    """The song's stems by name, by the separator that the settings name."""
    return separator(settings.model)(context, song)
