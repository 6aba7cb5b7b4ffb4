"""The stage that reads the song, and the one that takes stems which the user already has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from audio.context import Context
from audio.errors import UnderstudyError
from audio.files import decode
from audio.resample import resample_blocks
from audio.samples import Audio, AudioSource, Samples
from audio.stored import AudioFile, write_blocks

SILENT = 1e-4  # -80 dBFS: nothing above it is a sound that anybody would call a song
BLOCK = 1 << 20  # frames


def decode_song(context: Context, path: Path, start: float, duration: float | None) -> AudioFile:
    """The song (or its part of `duration` seconds from `start`) as float32 at its own rate.

    Raises `UnderstudyError` for all that `audio.files.decode` refuses, and for a file that is silent throughout.
    """
    song = decode(context, path, context.folder / "song.npy", start=start, duration=duration)
    if all(float(np.abs(block.samples).max(initial=0)) < SILENT for block in _blocks(song)):
        raise UnderstudyError(
            "song-silent",
            f"{path} is silent: there is nothing to sing.",
            "Check that it is the right file, or that --start and --duration name a part with sound.",
        )
    return song


def own_stems(
    context: Context,
    song: AudioFile | None = None,
    vocals: AudioFile | None = None,
    instrumental: AudioFile | None = None,
) -> Mapping[str, AudioFile]:
    """The user's own stems in place of separated ones, at the song's rate, channels and length.

    Both given: taken as they are (without a song, the longer one tells the length). One given, with the song: the
    other is what is left of the song, so that they sum to it. Raises `UnderstudyError` when a stem is not as long as
    the song.
    """
    given = [stem for stem in (song, vocals, instrumental) if stem is not None]
    frame_of = song or max(given, key=lambda stem: stem.duration)
    rate, frames = frame_of.rate, frame_of.frames
    channels = max(stem.channels for stem in given)

    def fitted(stem: AudioFile, name: str) -> AudioFile:
        if song is not None and abs(stem.duration - song.duration) > 0.5:
            raise UnderstudyError(
                "stem-length",
                f"The {name} given are {stem.duration:.1f} s long, the song is {song.duration:.1f} s.",
                "Give stems that were made from this very file, from its beginning to its end.",
            )
        if stem.rate != rate:
            blocks = resample_blocks(stem, rate, context)
            stem = write_blocks(context.folder / f"{name}.resampled.npy", rate, stem.channels, blocks)
        return stem

    def difference(whole: AudioFile, part: AudioFile, name: str) -> AudioFile:
        blocks = (
            Audio(_spread(a, channels) - _spread(b, channels), rate)
            for a, b in zip(_blocks(whole, frames), _blocks(part, frames), strict=True)
        )
        return write_blocks(context.folder / f"{name}.npy", rate, channels, blocks)

    def copied(stem: AudioFile, name: str) -> AudioFile:
        blocks = (Audio(_spread(block, channels), rate) for block in _blocks(stem, frames))
        return write_blocks(context.folder / f"{name}.npy", rate, channels, blocks)

    stems = {"vocals": vocals, "instrumental": instrumental}
    taken = {name: copied(fitted(stem, name), name) for name, stem in stems.items() if stem is not None}
    if song is not None:
        for name in stems.keys() - taken.keys():
            (other,) = taken.values()
            taken[name] = difference(song, other, name)
    for leftover in context.folder.glob("*.resampled.npy"):
        leftover.unlink()
    return taken


def mixed(context: Context, vocals: AudioFile, instrumental: AudioFile) -> AudioFile:
    """The song that two own stems make together, when no song was given."""
    blocks = (
        Audio(a.samples + b.samples, vocals.rate) for a, b in zip(_blocks(vocals), _blocks(instrumental), strict=True)
    )
    return write_blocks(context.folder / "song.npy", vocals.rate, vocals.channels, blocks)


def _blocks(source: AudioSource, frames: int | None = None) -> Iterator[Audio]:
    """The first `frames` frames of a source (all, if None) in blocks; past its end there is silence."""
    length = source.frames if frames is None else frames
    for start in range(0, length, BLOCK):
        yield source.read(start, min(start + BLOCK, length))


def _spread(audio: Audio, channels: int) -> Samples:
    return np.broadcast_to(audio.samples, (channels, audio.frames)) if audio.channels == 1 else audio.samples
