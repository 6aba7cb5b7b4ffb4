"""Complete files whose container is longer than their sound are read; files that were cut off are refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from tests.support.sound_files import RATE, tones
from understudy.audio.files import decode
from understudy.audio.stated_size import stated_size
from understudy.context import Context
from understudy.errors import UnderstudyError

SOUND, PICTURE = 6, 9  # seconds
# name -> (FFmpeg container, video codec, audio codec, sample format, rate, options)
VIDEOS: dict[str, tuple[str, str, str, str, int, dict[str, str]]] = {
    "long.mkv": ("matroska", "mpeg4", "libopus", "flt", 48000, {}),
    "long.webm": ("webm", "libvpx", "libopus", "flt", 48000, {}),
    "long.mp4": ("mp4", "mpeg4", "aac", "fltp", RATE, {}),
    "fragments.mp4": ("mp4", "mpeg4", "aac", "fltp", RATE, {"movflags": "frag_keyframe+empty_moov"}),
    "long.mov": ("mov", "mpeg4", "pcm_s16le", "s16", RATE, {}),
    "long.avi": ("avi", "mpeg4", "pcm_s16le", "s16", RATE, {}),
    "long.ts": ("mpegts", "mpeg4", "mp2", "s16", RATE, {}),
    "long.wmv": ("asf", "msmpeg4v2", "wmav2", "fltp", RATE, {}),
    "long.flv": ("flv", "flv", "aac", "fltp", RATE, {}),
}
UNKNOWN = {"long.ts"}


def video(
    path: Path, name: str = "", begin: float = 0.0, picture: float = PICTURE, options: dict | None = None
) -> Path:
    """A video of `picture` seconds with `SOUND` seconds of sound from `begin` on, in the format `name`."""
    form, video_codec, codec, sample_format, rate, own = VIDEOS[name or path.name]
    sound = tones(SOUND * rate, rate=rate)
    if sample_format == "s16":
        sound = np.rint(sound * 32767).astype(np.int16)
    if not sample_format.endswith("p"):
        sound = np.ascontiguousarray(sound.T).reshape(1, -1)
    with av.open(str(path), "w", format=form, options=options or own) as output:
        pictures: Any = output.add_stream(video_codec, rate=5, width=64, height=64, pix_fmt="yuv420p")
        track: Any = output.add_stream(codec, rate=rate, layout="stereo", format=sample_format)
        track.bit_rate = 128_000
        for at in range(round(picture * 5)):
            image = av.VideoFrame.from_ndarray(np.full((96, 64), at % 200, np.uint8), "yuv420p")
            image.pts, image.time_base = at, Fraction(1, 5)
            output.mux(pictures.encode(image))
        output.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(sound, sample_format, "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, round(begin * rate), Fraction(1, rate)
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return path


def seconds(path: Path) -> float:
    return decode(Context(path.parent), path, path.parent / "out.npy").duration


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path


@pytest.mark.parametrize("name", VIDEOS)
def test_pictures_that_outlast_the_sound_are_not_missing_sound(tmp_path, name):
    assert seconds(video(tmp_path / name)) == pytest.approx(SOUND, abs=0.1)


@pytest.mark.parametrize("name", ["long.mkv", "long.webm"])
def test_the_length_is_that_of_the_sound_to_the_sample(tmp_path, name):
    assert seconds(video(tmp_path / name)) == SOUND


@pytest.mark.parametrize("name", ["long.mkv", "long.mp4", "long.mov"])
def test_sound_that_begins_late_is_whole(tmp_path, name):
    assert seconds(video(tmp_path / name, begin=1.5, picture=SOUND)) == pytest.approx(SOUND, abs=0.1)


@pytest.mark.parametrize("name", sorted(VIDEOS.keys() - UNKNOWN))
def test_a_video_that_was_cut_off_is_refused(tmp_path, name):
    path = cut(video(tmp_path / name, picture=SOUND), 0.6)
    with pytest.raises(UnderstudyError) as caught:
        seconds(path)
    assert caught.value.code == "file-truncated"


def test_a_matroska_file_from_a_pipe_states_nothing(tmp_path):
    path = video(tmp_path / "a.mkv", "long.mkv", options={"live": "1"})
    assert stated_size(path) is None
    assert seconds(path) == SOUND


def test_the_last_bytes_of_a_video_may_be_missing_after_the_sound(tmp_path):
    assert seconds(cut(video(tmp_path / "long.mkv"), 0.998)) == SOUND


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("W64", "PCM_16"), ("RF64", "PCM_16"), ("CAF", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_24")],
)
def test_uncompressed_files_state_their_size(tmp_path, form, subtype):
    path = tmp_path / "song"
    soundfile.write(path, tones(SOUND * RATE).T, RATE, format=form, subtype=subtype)
    assert abs((stated_size(path) or 0) - path.stat().st_size) <= 1
    assert seconds(path) == SOUND
    with pytest.raises(UnderstudyError) as caught:
        seconds(cut(path, 0.6))
    assert caught.value.code == "file-truncated"
    assert caught.value.message.endswith(" s of 6.00 s.")


@pytest.mark.parametrize("stated", [0x7F000000, 0xFFFFFFFF])
def test_an_au_from_a_pipe(tmp_path, stated):
    path = tmp_path / "song.au"
    soundfile.write(path, tones(SOUND * RATE).T, RATE, format="AU", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[8:12] = stated.to_bytes(4, "big")
    path.write_bytes(content)
    assert seconds(path) == SOUND


def test_every_beginning_of_a_file_is_survived(tmp_path):
    whole = {name: video(tmp_path / name).read_bytes()[:200] for name in VIDEOS}
    for name, content in whole.items():
        for length in range(1, 200, 7):
            (tmp_path / name).write_bytes(content[:length])
            stated_size(tmp_path / name)
