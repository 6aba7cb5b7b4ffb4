"""The stages that work on a passage of a sound alone."""

from __future__ import annotations

from understudy.audio.chorus import Chorus
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context

AROUND = 2.0
"""Seconds on both sides of a passage that the stages after these look at."""


def passage(context: Context, sound: AudioFile, chorus: Chorus) -> AudioFile:
    """The `chorus` of a `sound` that is as long as the song."""
    start, stop = _frames(sound, chorus, 0.0)
    return write_blocks(context.folder / "passage.npy", sound.rate, sound.channels, [sound.read(start, stop)])


def alone(context: Context, sound: AudioFile, chorus: Chorus) -> AudioFile:
    """`sound` with its `chorus` and what is `AROUND` it at their place, and silence elsewhere."""
    start, stop = _frames(sound, chorus, AROUND)
    before, after = (Audio.silence(sound.channels, count, sound.rate) for count in (start, sound.frames - stop))
    blocks = [before, sound.read(start, stop), after]
    return write_blocks(context.folder / "alone.npy", sound.rate, sound.channels, blocks)


def _frames(sound: AudioFile, chorus: Chorus, around: float) -> tuple[int, int]:
    edges = ((chorus.start - around) * sound.rate, (chorus.stop + around) * sound.rate)
    start, stop = (min(max(0, round(edge)), sound.frames) for edge in edges)
    return start, stop
