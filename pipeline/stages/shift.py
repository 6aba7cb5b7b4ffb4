"""The stage that moves a sound into the requested key."""

from __future__ import annotations

from understudy.audio.key_shift import shift_key
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context


def shift(context: Context, sound: AudioFile, semitones: int) -> AudioFile:
    """The `sound` `semitones` higher at the same tempo, exactly as long."""
    blocks = shift_key(sound, semitones, context)
    return write_blocks(context.folder / "sound.npy", sound.rate, sound.channels, blocks)
