"""Stem files for DJ software: five aligned tracks whose stems sum to the mix, and the box that says what they are."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

import av
import numpy as np
import pytest

from tests.support import signals
from tests.support.command import ROOT
from understudy.audio.files import decode
from understudy.audio.ni_stems import NamedStem, write_ni_stems
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags, made_by_understudy, read_tags, stem_tags
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError

NAMES = ("Drums", "Bass", "Other", "Vocals")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def parts(rate: int = 44100, seconds: float = 2.3) -> tuple[Audio, list[Audio]]:
    """Four stereo stems, each with a click at a place of its own, and their sum."""
    stems = []
    for number in range(4):
        samples = 0.7 * signals.band(seconds, rate, seed=number, level=-28).samples
        samples[:, rate // 2 + 1000 * number] += 0.5
        stems.append(Audio(samples, rate))
    return Audio(np.sum([stem.samples for stem in stems], axis=0, dtype=np.float32), rate), stems


def written(
    context: Context, codec: Literal["aac", "alac"], mix: Audio, stems: list[Audio], tags: Tags | None = None
) -> Path:
    named = [NamedStem(name, stem) for name, stem in zip(NAMES, stems, strict=True)]
    return write_ni_stems(context, mix, named, context.folder / "song.stem.m4a", codec, tags or Tags())


def track(path: Path, number: int, frames: int) -> np.ndarray:
    """As a plain player decodes it, cut to `frames`."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=number)]
    samples: Any = np.concatenate(blocks, axis=1)
    assert samples.shape[1] >= frames
    return (samples / 2**31 if samples.dtype == np.int32 else samples)[:, :frames]


def boxes(data: bytes, *way: str) -> Iterator[bytes]:
    """The contents of all boxes at the end of the way through `data`."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        assert at + size <= len(data)
        if kind.decode("latin1") == way[0]:
            content = data[at + 8 : at + size]
            yield from boxes(content, *way[1:]) if way[1:] else [content]
        at += size
    assert at == len(data)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["aac", "alac"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_five_aligned_tracks_of_the_songs_length_whose_stems_sum_to_the_mix(context, codec, rate):
    mix, stems = parts(rate)
    path = written(context, codec, mix, stems)
    tracks = [track(path, number, mix.frames) for number in range(5)]
    for number, (found, true) in enumerate(zip(tracks, (mix, *stems), strict=True)):
        noise = np.mean((found - true.samples) ** 2) / np.mean(true.samples**2)
        assert 10 * np.log10(noise) < (-100 if codec == "alac" else -12)
        if number:
            assert int(np.argmax(np.abs(found[0]))) == rate // 2 + 1000 * (number - 1)
    off = np.mean((sum(tracks[1:]) - tracks[0]) ** 2) / np.mean(mix.samples**2)
    assert 10 * np.log10(off) < (-100 if codec == "alac" else -12)
    whole = decode(context, path, context.folder / "whole.npy")  # the mix is what is played
    assert (whole.frames, whole.rate, whole.channels) == (mix.frames, rate, 2)


@pytest.mark.slow
@pytest.mark.parametrize("tagged", [False, True])
def test_the_box_and_the_index_are_sound(context, tagged):
    mix, stems = parts(seconds=1.0)
    artwork = (ROOT / "demo" / "artwork.png").read_bytes()
    tags = stem_tags(Tags(title="Song", artist="Band", artwork=artwork, artwork_mime="image/png"), "stems")
    path = written(context, "aac", mix, stems, tags if tagged else None)
    data = path.read_bytes()
    (manifest,) = boxes(data, "moov", "udta", "stem")
    content = json.loads(manifest)
    assert content["version"] == 1
    assert [stem["name"] for stem in content["stems"]] == list(NAMES)
    assert all(len(stem["color"]) == 7 and stem["color"][0] == "#" for stem in content["stems"])
    assert len({stem["color"] for stem in content["stems"]}) == 4
    assert not any(content["mastering_dsp"][name]["enabled"] for name in ("compressor", "limiter"))
    heads = list(boxes(data, "moov", "trak", "tkhd"))[:5]
    assert [head[3] & 1 for head in heads] == [1, 0, 0, 0, 0]  # only the mix is enabled
    assert [struct.unpack_from(">I", head, 12)[0] for head in heads] == [1, 2, 3, 4, 5]
    assert {struct.unpack_from(">H", head, 34)[0] for head in heads} == {0}
    begin = data.index(b"mdat") + 4
    for table in boxes(data, "moov", "trak", "mdia", "minf", "stbl", "stco"):
        places = struct.unpack(f">{len(table) // 4 - 2}I", table[8:])
        assert all(begin <= place < len(data) for place in places)
    assert made_by_understudy(path) is tagged
    if tagged:
        found = read_tags(path)
        assert (found.artist, found.artwork) == ("Band", artwork)


def test_mono_becomes_stereo_and_a_missing_stem_silence(context):
    mix, stems = parts(seconds=1.0)
    mono = [stem.mono() for stem in stems[:1]]
    named = [NamedStem("Vocals", mono[0]), *(NamedStem("Empty", None) for _ in range(3))]
    path = write_ni_stems(context, mix.mono(), named, context.folder / "a.stem.m4a", "alac", Tags())
    vocals = track(path, 1, mix.frames)
    assert vocals.shape[0] == 2
    assert np.array_equal(vocals[0] != 0, vocals[1] != 0)
    assert np.abs(vocals.mean(axis=0) - mono[0].samples[0]).max() < 2**-21
    assert not track(path, 4, mix.frames).any()


def test_other_rates_become_48_khz(context):
    mix, stems = parts(rate=32000, seconds=1.01)
    path = written(context, "alac", mix, stems)
    frames = round(mix.frames * 1.5)
    assert track(path, 0, frames).shape == (2, frames)
    with av.open(str(path)) as container:
        assert {stream.rate for stream in container.streams.audio} == {48000}
        assert container.streams.audio[0].duration == frames


@pytest.mark.slow
def test_the_same_stems_give_the_same_bytes(context):
    mix, stems = parts(seconds=0.7)
    first = written(context, "aac", mix, stems, Tags(title="x")).read_bytes()
    assert written(context, "aac", mix, stems, Tags(title="x")).read_bytes() == first


@pytest.mark.slow
def test_nothing_is_left_of_what_failed_or_was_stopped(context):
    mix, stems = parts(seconds=1.0)
    loud = [Audio(stems[0].samples * 20, 44100), *stems[1:]]
    with pytest.raises(UnderstudyError) as failed:
        written(context, "alac", mix, loud)
    assert failed.value.code == "over-full-scale"
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        written(replace(context, cancelled=cancelled), "aac", mix, stems)
    empty = [Audio.silence(2, 0, 44100)] * 4
    with pytest.raises(UnderstudyError) as failed:
        written(context, "aac", empty[0], empty)
    assert failed.value.code == "nothing-to-write"
    assert list(context.folder.iterdir()) == []


@pytest.mark.slow
def test_progress_rises_to_the_end(context):
    said: list[float] = []
    mix, stems = parts(seconds=4.0)
    written(replace(context, on_progress=said.append), "alac", mix, stems)
    assert said == sorted(said)
    assert said[-1] == pytest.approx(1.0)
