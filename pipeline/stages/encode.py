"""The stages that make the files which the user gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from understudy.audio.encode import OutputFormat, encode, peak
from understudy.audio.ni_stems import Codec, NamedStem, write_ni_stems
from understudy.audio.samples import AudioSource
from understudy.audio.stored import AudioFile
from understudy.audio.tags import Tags, TagSettings, cover_tags, read_artwork, read_tags, stem_tags
from understudy.audio.views import Sum
from understudy.context import Context

TOP = -0.001  # dBFS: as high as a stem may reach in a format that clips, 16-bit dither included


def headroom(context: Context, stems: Sequence[AudioFile], format: OutputFormat) -> float:
    """The one linear gain (at most 1) with which no stem clips in `format`, so that they keep summing to their mix.

    A stem may well be louder than the song that it is a part of. 1.0 for formats that hold any level.
    """
    if not format.clips:
        return 1.0
    highest = max(peak(stem, context.part(n / len(stems), (n + 1) / len(stems))) for n, stem in enumerate(stems))
    gain = min(1.0, 10 ** (TOP / 20) / max(highest, 1e-9))
    quieter = -decibels(gain)
    if quieter >= 0.005:
        context.warn(
            f"The stems are {quieter:.2f} dB quieter than they were, all by the same, because one of them "
            "would clip; wav32f keeps them as they are."
        )
    return gain


def encode_output(
    context: Context,
    sound: AudioFile,
    format: OutputFormat,
    gain: float = 1.0,
    stem: str | None = None,
    voice: str | None = None,
    original: Path | None = None,
    title: str = "",
    tagging: TagSettings | None = None,
    artwork: Path | None = None,
) -> Path:
    """`sound`, times the linear `gain`, in `format`, with the tags and artwork of the file `original`.

    `stem`: the part of the song that it is. `voice`: the name of the voice that sings; with it the file is tagged as
    an AI-generated cover, in the way of `tagging`. Both tags mark the file as made by Understudy. `title`: of the song,
    where `original` has none. `artwork`: a picture to take in place of the song's.
    """
    tags = song_tags(original, title, artwork)
    if stem:
        tags = stem_tags(tags, stem)
    if voice:
        tags = cover_tags(tags, voice, tagging)
    tags = _with_gain(tags, gain)
    return encode(context, _turned(sound, gain), context.folder / f"sound{format.extension}", format, tags)


def song_tags(original: Path | None, title: str, artwork: Path | None) -> Tags:
    """The tags of the song's file, with `title` where it has none and with another `artwork` if one is given."""
    tags = read_tags(original) if original else Tags()
    named = title.encode("utf-8", "replace").decode()  # the name of a file needs not be text
    tags = replace(tags, title=tags.title or named)
    if artwork is not None:
        picture, mime = read_artwork(artwork)
        tags = replace(tags, artwork=picture, artwork_mime=mime)
    return tags


def encode_stem_file(
    context: Context,
    song: AudioFile,
    codec: Codec,
    extension: str,
    names: Sequence[str],
    stems: Sequence[AudioFile],
    original: Path,
    gain: float = 1.0,
) -> Path:
    """The song and four stems as one file for DJ software, times the linear `gain`, tagged as the file `original`.

    `names`: what the four stems are called there, empty for one that is silent. `stems`: the others, in order.
    """
    sounds = iter(stems)
    named = [NamedStem(name, _turned(next(sounds), gain)) if name else NamedStem("Empty", None) for name in names]
    tags = _with_gain(stem_tags(read_tags(original), "stems"), gain)
    return write_ni_stems(context, _turned(song, gain), named, context.folder / f"song{extension}", codec, tags)


def _with_gain(tags: Tags, gain: float) -> Tags:
    """The comment says by how much stems were turned down, so that their sum can be brought back to the song."""
    return tags if gain == 1 else replace(tags, comment=f"{tags.comment}; gain {decibels(gain):.3f} dB")


def decibels(gain: float) -> float:
    """A linear gain in dB."""
    return float(20 * np.log10(gain))


def _turned(sound: AudioSource, gain: float) -> AudioSource:
    return sound if gain == 1 else Sum([sound], [gain])  # a sum would make -0.0 to 0.0
