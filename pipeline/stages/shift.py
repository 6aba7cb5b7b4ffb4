"""The stage that moves the instrumental into the key asked for."""

from __future__ import annotations

from understudy.audio.key_shift import shift_key
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context


def shift(context: Context, instrumental: AudioFile, semitones: int) -> AudioFile:
    """The instrumental `semitones` higher at the same tempo, exactly as long."""
    blocks = shift_key(instrumental, semitones, context)
    return write_blocks(context.folder / "instrumental.npy", instrumental.rate, instrumental.channels, blocks)
