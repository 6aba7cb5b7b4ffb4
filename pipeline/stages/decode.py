"""The stage that reads the song, and the one that takes stems which the user already has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from understudy.audio.alignment import alignment
from understudy.audio.files import decode
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.views import Shifted
from understudy.context import Context
from understudy.errors import UnderstudyError

SILENT = 1e-4  # -80 dBFS: a file with nothing above it counts as silent
BLOCK = 1 << 20  # frames


def decode_song(
    context: Context, path: Path, start: float, duration: float | None, track: int | None = None
) -> AudioFile:
    """The song (or its part of `duration` seconds from `start`) as float32 at its own rate; `track` as in
    `understudy.audio.files.decode`.

    Raises `UnderstudyError` for all that `understudy.audio.files.decode` refuses, and for a file that is silent
    throughout.
    """
    song = decode(context, path, context.folder / "song.npy", start=start, duration=duration, track=track)
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
    backing: AudioFile | None = None,
) -> Mapping[str, AudioFile]:
    """The user's own stems in place of separated ones, at the song's rate, channels and length: ``vocals`` and
    ``instrumental``, or, where there is a `backing`, ``lead``, ``backing`` and ``instrumental``. Stems that are late or
    early in the song by up to `REACH` are moved to their place, with a warning.

    All given: taken as they are (without a song, the longest one tells the length). All but one, with the song: it is
    what is left of the song, so that they sum to it. Raises `UnderstudyError` ``stem-length`` when a stem is not as
    long as the song, ``stem-missing`` when more than one has to be guessed, ``stem-not-in-song`` when one of another
    song or passage would be subtracted from this one.
    """
    given = [stem for stem in (song, vocals, instrumental, backing) if stem is not None]
    stems = {"vocals": vocals, "instrumental": instrumental}
    if backing is not None:
        stems = {"lead": vocals, "backing": backing, "instrumental": instrumental}
    frame_of = song or max(given, key=lambda stem: stem.duration)
    rate, frames = frame_of.rate, frame_of.frames
    channels = max(stem.channels for stem in given)

    def fitted(stem: AudioFile, name: str) -> AudioSource:
        if song is not None and abs(stem.duration - song.duration) > 0.5:
            raise UnderstudyError(
                "stem-length",
                f"The {name} given are {stem.duration:.1f} s long, the song is {song.duration:.1f} s.",
                "Give stems that were made from this very file, from its beginning to its end.",
            )
        if stem.rate != rate:
            blocks = resample_blocks(stem, rate, context)
            stem = write_blocks(context.folder / f"{name}.resampled.npy", rate, stem.channels, blocks)
        place = None if song is None else alignment(context.part(0.0, 0.2), song, stem)
        if place is None:
            return stem
        if not place.found:
            _warn_or_refuse(context, name, subtracted=len(given) < len(stems) + 1)
        if abs(place.delay) > 1:  # one sample is within the error of stems at another rate
            late = "late" if place.delay > 0 else "early"
            context.warn(
                f"The {_CALLED[name]} given came {abs(place.delay) / rate * 1000:.0f} ms too {late} for the song; "
                "they were moved to their place."
            )
        return Shifted(stem, place.delay) if abs(place.delay) > 1 else stem

    def remainder(whole: AudioSource, parts: Iterable[AudioSource], name: str) -> AudioFile:
        """What `parts` leave of `whole` (all of it, without any), in the shape that all stems have here."""
        blocks = (
            Audio(_spread(sound, channels) - sum(_spread(part, channels) for part in others), rate)
            for sound, *others in zip(_blocks(whole, frames), *(_blocks(part, frames) for part in parts), strict=True)
        )
        return write_blocks(context.folder / f"{name}.npy", rate, channels, blocks)

    taken = {name: remainder(fitted(stem, name), [], name) for name, stem in stems.items() if stem is not None}
    missing = stems.keys() - taken.keys()
    if len(missing) > 1 or (missing and song is None):
        raise UnderstudyError(
            "stem-missing",
            f"Beside the backing vocals, {' and '.join(sorted(missing))} can't be derived from what was given.",
            "Give --vocals with the lead alone, too; then the instrumental is what is left of the song.",
        )
    for name in missing:
        assert song is not None
        taken[name] = remainder(song, list(taken.values()), name)
    for leftover in context.folder.glob("*.resampled.npy"):
        leftover.unlink()
    return taken


_CALLED = {"lead": "lead vocals", "backing": "backing vocals", "vocals": "vocals", "instrumental": "instrumental"}


def _warn_or_refuse(context: Context, name: str, subtracted: bool) -> None:
    """A stem that isn't in the song: an error if it is to be `subtracted` from the song, else a warning."""
    found = f"The {_CALLED[name]} given are not in this song: they seem to be of another song, passage or recording"
    if subtracted:
        raise UnderstudyError(
            "stem-not-in-song",
            f"{found}.",
            "Give stems that were made from this very file, or leave them out: then the song is separated.",
        )
    context.warn(f"{found}. The cover is made of the stems alone.")


def _blocks(source: AudioSource, frames: int | None = None) -> Iterator[Audio]:
    """The first `frames` frames of a source (all, if None) in blocks; past its end there is silence."""
    length = source.frames if frames is None else frames
    for start in range(0, length, BLOCK):
        yield source.read(start, min(start + BLOCK, length))


def _spread(audio: Audio, channels: int) -> Samples:
    return np.broadcast_to(audio.samples, (channels, audio.frames)) if audio.channels == 1 else audio.samples
