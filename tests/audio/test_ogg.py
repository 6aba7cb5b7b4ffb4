"""Chained Ogg files, and other files that change their rate or channels in the middle: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.sound_files import RATE, tones, write_av
from understudy.audio.files import decode
from understudy.audio.ogg import lacks_end_mark, links
from understudy.audio.stored import AudioFile
from understudy.context import Context

LENGTH = 4  # seconds of a part


def part(path: Path, codec: str, rate: int, channels: int) -> bytes:
    """`LENGTH` seconds of tones whose level doesn't depend on rate and channels."""
    sound = tones(LENGTH * rate, channels, rate)
    if codec == "VORBIS":
        soundfile.write(path, sound.T, rate, format="OGG", subtype="VORBIS")
    else:
        container, name, form = {
            "OPUS": ("ogg", "libopus", "flt"),
            "FLAC": ("ogg", "flac", "s32"),
            "MP3": ("mp3", "libmp3lame", "fltp"),
            "AAC": ("adts", "aac", "fltp"),
        }[codec]
        write_av(path, sound, container, name, form, rate)
    return path.read_bytes()


def joined(folder: Path, *parts: tuple[str, int, int]) -> AudioFile:
    (folder / "joined").write_bytes(b"".join(part(folder / "part", *one) for one in parts))
    return decode(Context(folder), folder / "joined", folder / "out.npy")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("VORBIS", 44100, 2), ("VORBIS", 48000, 1)),
        (("VORBIS", 48000, 1), ("VORBIS", 44100, 2)),
        (("VORBIS", 44100, 2), ("VORBIS", 44100, 2)),
        (("OPUS", 48000, 2), ("OPUS", 48000, 1)),
        (("FLAC", 44100, 2), ("FLAC", 96000, 1)),
        (("VORBIS", 44100, 1), ("OPUS", 48000, 1)),
    ],
)
def test_all_links_of_a_chain_are_there_at_the_rate_of_the_first(tmp_path, first, second):
    file = joined(tmp_path, first, second)
    assert (file.rate, file.channels) == (first[1], max(first[2], second[2]))
    assert file.frames == 2 * LENGTH * file.rate
    wanted = tones(LENGTH * file.rate, file.channels, file.rate)
    for begin, link in ((0, first), (LENGTH * file.rate, second)):
        got = file.read(begin, begin + LENGTH * file.rate).samples
        expected = wanted if link[2] == file.channels else np.repeat(wanted[:1], 2, axis=0)
        middle = slice(file.rate, -file.rate)
        assert np.sqrt(np.mean((got - expected)[:, middle] ** 2)) < 0.02


def test_a_part_of_the_second_link_is_exact(tmp_path):
    whole = joined(tmp_path, ("VORBIS", 44100, 2), ("VORBIS", 48000, 1)).read().samples
    taken = decode(Context(tmp_path), tmp_path / "joined", tmp_path / "part.npy", start=5.0, duration=1.0)
    np.testing.assert_array_equal(taken.read().samples, whole[:, 5 * RATE : 6 * RATE])


@pytest.mark.parametrize("codec", ["MP3", "AAC"])
@pytest.mark.parametrize(("first", "second"), [((44100, 2), (32000, 1)), ((32000, 1), (44100, 2))])
def test_joined_files_of_other_rates_are_whole(tmp_path, codec, first, second):
    file = joined(tmp_path, (codec, *first), (codec, *second))
    assert (file.rate, file.channels) == (first[0], 2)
    assert file.duration == pytest.approx(2 * LENGTH, abs=0.2)
    for begin in (1, LENGTH + 1):
        got = file.read(begin * file.rate, (begin + 2) * file.rate).samples
        assert np.sqrt(np.mean(got[0] ** 2)) == pytest.approx(np.sqrt((0.3**2 + 0.2**2) / 2), rel=0.05)


def test_tracks_side_by_side_are_one_link(tmp_path):
    import av

    part(tmp_path / "a", "VORBIS", 44100, 2)
    with av.open(str(tmp_path / "a")) as source, av.open(str(tmp_path / "two.ogg"), "w", format="ogg") as output:
        tracks = [output.add_stream_from_template(source.streams.audio[0]) for _ in range(2)]
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                for track in tracks:
                    packet.stream = track
                    output.mux(packet)
    assert len(links(tmp_path / "two.ogg")) == 1
    assert decode(Context(tmp_path), tmp_path / "two.ogg", tmp_path / "out.npy").frames == LENGTH * RATE


def test_other_files_have_no_links(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(100))
    assert links(tmp_path / "a.wav") == []
    assert not lacks_end_mark(tmp_path / "a.wav")


def test_a_chain_that_was_cut_off_is_used_with_a_warning(tmp_path):
    content = part(tmp_path / "a", "VORBIS", 44100, 2)
    (tmp_path / "cut.ogg").write_bytes(content + content[: len(content) // 2])
    context = Context(tmp_path)
    file = decode(context, tmp_path / "cut.ogg", tmp_path / "out.npy")
    assert LENGTH < file.duration < 2 * LENGTH
    assert any("cut off" in warning for warning in context.warnings)
