"""Writes the generated sound to files, with the program's own encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.score import ALBUM, ARTIST, TITLE
from demo.singer import RATE
from understudy.audio.encode import OutputFormat, encode
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags
from understudy.context import Context

Floats = NDArray[np.floating]


def write(path: Path, sound: Floats, form: OutputFormat, tags: Tags) -> None:
    """`sound`: ``[channels, frames]`` or ``[frames]`` at `RATE`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(Context(path.parent), Audio.of(sound, RATE), path, form, tags)


def write_song(folder: Path, vocals: Floats, instrumental: Floats, f0: Floats, artwork: bytes) -> None:
    """The song, its two stems, the f0 of the lead, and the artwork."""
    comment = "Words, music, voice and sounds made by a script; MIT licence"
    tags = Tags(TITLE, ARTIST, ALBUM, date="2026", comment=comment, artwork=artwork, artwork_mime="image/png")
    write(folder / "song.mp3", vocals + instrumental, OutputFormat(name="mp3", kilobits=160), tags)
    stem = OutputFormat(name="m4a", kilobits=112)
    for name, sound in (("vocals", vocals), ("instrumental", instrumental)):
        write(folder / "stems" / f"{name}.m4a", sound, stem, Tags(f"{TITLE} ({name})", ARTIST, ALBUM, comment=comment))
    lines = "".join(f"{value:.1f}\n" if value else "0\n" for value in f0)
    (folder / "stems" / "melody.txt").write_text(lines)
    (folder / "artwork.png").write_bytes(artwork)
