"""Stem files for DJ software (Native Instruments' Stems, ``.stem.mp4`` or ``.stem.m4a``): a song and its four stems.

An MP4 with five stereo tracks of one length: the first, the mix, is what any player plays; the four stems are disabled
tracks that DJ software finds, sums and fades. The box ``moov/udta/stem`` says in JSON what they are called, in which
colours to draw them, and the settings of the player's compressor and limiter. FFmpeg can't write this box, so it is
inserted into the finished file (boxes: ISO/IEC 14496-12).
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from understudy.audio.encode import add_sound, dither, integers, new_container, sound_frame, write_tags
from understudy.audio.lengths import boxes
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.disk import writing
from understudy.errors import UnderstudyError

COUNT = 4  # how many stems such a file holds: neither more nor less
COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")
"""Of the four stems in order; also distinguishable for the colour-blind (Okabe, Ito, "Color Universal Design",
2008)."""

Codec = Literal["aac", "alac"]
_KILOBITS = 256  # per track
_BITS = 24  # of ALAC
_RATES = (44100, 48000)


@dataclass(frozen=True)
class NamedStem:
    """`sound`: as long as the mix and with its rate; None: silence, where there are fewer than four."""

    name: str
    sound: AudioSource | None


def write_ni_stems(
    context: Context, mix: AudioSource, stems: Sequence[NamedStem], path: Path, codec: Codec, tags: Tags
) -> Path:
    """Write the stem file `path` with `mix` and its four `stems`, mono or stereo; returns `path`.

    Every track decodes to as many frames as `mix` has, sample-aligned (at 48 kHz where `mix` has neither that nor
    44.1 kHz). ``aac``: 256 kbit/s for each track; ``alac``: 24 bits, lossless. The stems sum to the mix as they came:
    the player's compressor and limiter are off. Nothing is left at `path` when it fails.

    Raises `UnderstudyError`: ``over-full-scale`` for samples beyond ±1 in ALAC, ``nothing-to-write``, ``disk-full``,
    ``output-not-writable``; `Cancelled`.
    """
    if len(stems) != COUNT:
        raise ValueError(f"a stem file holds {COUNT} stems, not {len(stems)}")
    sounds = (mix, *(stem.sound for stem in stems))
    if any(sound and (sound.frames, sound.rate) != (mix.frames, mix.rate) for sound in sounds):
        raise ValueError("stems of another length or rate than their mix")
    if mix.frames == 0:
        raise UnderstudyError("nothing-to-write", f"There is no sound to write to {path}.", "Give a longer part.")
    tracks = path.with_name(f"{path.name}.tracks")
    with writing(path):
        with writing(tracks):
            _write_tracks(context, sounds, tracks, codec, tags)
            _put_in(tracks, path, _manifest(stems))
        tracks.unlink()
    return path


def _manifest(stems: Sequence[NamedStem]) -> bytes:
    """The content of the box, as players write it; times in seconds, levels in dB."""
    compressor = {
        "enabled": False,
        "input_gain": 0.0,
        "output_gain": 0.0,
        "threshold": 0.0,
        "dry_wet": 100,
        "attack": 0.003,
        "release": 0.3,
        "ratio": 2.0,
        "hp_cutoff": 20,
    }
    limiter = {"enabled": False, "threshold": 0.0, "ceiling": 0.0, "release": 0.05}
    content = {
        "version": 1,
        "mastering_dsp": {"compressor": compressor, "limiter": limiter},
        "stems": [{"name": stem.name, "color": colour} for stem, colour in zip(stems, COLOURS, strict=True)],
    }
    return json.dumps(content).encode()


def _write_tracks(context: Context, sounds: Sequence[AudioSource | None], path: Path, codec: Codec, tags: Tags) -> None:
    """The MP4 with the tracks and without the box."""
    from av.stream import Disposition

    mix = cast("AudioSource", sounds[0])
    rate = mix.rate if mix.rate in _RATES else _RATES[-1]
    form = "fltp" if codec == "aac" else "s32p"
    with new_container(path, "mp4", rate) as output:
        streams = []
        for number in range(len(sounds)):
            stream = add_sound(output, codec, rate, "stereo", form)
            stream.disposition = Disposition.default if number == 0 else Disposition(0)
            if codec == "aac":
                stream.bit_rate = _KILOBITS * 1000
            streams.append(stream)
        write_tags(output, tags)
        written = 0
        randoms = [dither() for _ in streams]
        for blocks in _in_step(context, sounds, rate):
            for stream, block, random in zip(streams, blocks, randoms, strict=True):
                samples = block.samples if codec == "aac" else _planar(block, random, path)
                output.mux(stream.encode(sound_frame(samples, form, "stereo", rate, written)))
            written += blocks[0].frames
        for stream in streams:
            output.mux(stream.encode(None))


def _in_step(context: Context, sounds: Sequence[AudioSource | None], rate: int) -> Iterator[list[Audio]]:
    """Blocks of all sounds at `rate`, side by side, two channels each; None is silent."""
    silent = replace(context, on_progress=lambda fraction: None)  # the first one reports the progress of all
    sources = [
        None if sound is None else resample_blocks(sound, rate, silent if number else context)
        for number, sound in enumerate(sounds)
    ]
    first, *others = sources
    assert first is not None
    for block in first:
        blocks = [block, *(Audio.silence(2, block.frames, rate) if other is None else next(other) for other in others)]
        yield [Audio(np.ascontiguousarray(np.broadcast_to(b.samples, (2, b.frames))), rate) for b in blocks]


def _planar(block: Audio, random: np.random.Generator, path: Path) -> NDArray[Any]:
    highest = float(np.abs(block.samples).max(initial=0.0))
    if highest > 1:
        raise UnderstudyError(
            "over-full-scale",
            f"{path} would clip: a stem reaches {20 * np.log10(highest):+.1f} dBFS, more than ALAC can hold.",
            "Choose AAC, which holds any level, or lower the gain.",
        )
    return integers(block, _BITS, random)


def _put_in(tracks: Path, path: Path, manifest: bytes) -> None:
    """Copy the MP4 `tracks`, whose index stands before its sound, to `path` with the box ``stem`` in it."""
    with tracks.open("rb") as source, path.open("wb") as target:
        at, size = 0, source.seek(0, 2)
        while at < size:
            source.seek(at)
            length, kind = struct.unpack(">I4s", source.read(8))
            if kind == b"moov":
                source.seek(at)
                target.write(_with_manifest(source.read(length), manifest))
                at += length
                break
            source.seek(at)
            target.write(source.read(length))
            at += length
        source.seek(at)
        shutil.copyfileobj(source, target, 1 << 20)


def _with_manifest(moov: bytes, manifest: bytes) -> bytes:
    """The box ``moov`` with the manifest, for a file whose sound begins behind it."""
    box = _box(b"stem", manifest)
    children = list(boxes(moov[8:]))
    grown = len(box)
    if b"udta" not in [kind for kind, _ in children]:  # there is none in a file without tags
        children.append((b"udta", b""))
        grown += 8
    made = []
    for kind, content in children:
        if kind == b"udta":
            content += box
        elif kind == b"trak":
            content = _moved(content, grown)
        made.append(_box(kind, content))
    return _box(b"moov", b"".join(made))


_CONTAINERS = (b"mdia", b"minf", b"stbl")
_ALTERNATE_GROUP = slice(34, 36)  # of a track's header: FFmpeg makes all tracks alternatives of each other


def _moved(content: bytes, by: int) -> bytes:
    """A track's content with the places of all chunks `by` bytes further on, in no group of alternatives."""
    made = []
    for kind, inner in boxes(content):
        if kind in _CONTAINERS:
            inner = _moved(inner, by)
        elif kind == b"tkhd":
            inner = inner[: _ALTERNATE_GROUP.start] + bytes(2) + inner[_ALTERNATE_GROUP.stop :]
        elif kind in (b"stco", b"co64"):
            places = np.frombuffer(inner, ">u4" if kind == b"stco" else ">u8", offset=8).astype(np.uint64) + by
            if kind == b"stco" and places.size and places.max() > 0xFFFFFFFF:
                raise UnderstudyError(
                    "song-too-long", "The stem file would have more than 4 GB.", "Choose AAC, or a part of the song."
                )
            inner = inner[:8] + places.astype(">u4" if kind == b"stco" else ">u8").tobytes()
        made.append(_box(kind, inner))
    return b"".join(made)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content
