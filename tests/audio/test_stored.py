"""`AudioFile`: what is written is what is read, by position, and a killed writer's file is seen as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.samples import Audio, concatenate
from understudy.audio.stored import AudioFile, AudioWriter, write_blocks
from understudy.errors import UnderstudyError


def noise(frames: int, channels: int = 2, seed: int = 0) -> Audio:
    return Audio.of(np.random.default_rng(seed).standard_normal((channels, frames)), 44100)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("sizes", [(), (0,), (1,), (100, 0, 7, 3000)])
def test_blocks_come_back(tmp_path: Path, channels, sizes):
    blocks = [noise(size, channels, size) for size in sizes]
    file = write_blocks(tmp_path / "a.npy", 44100, channels, blocks)
    assert (file.rate, file.channels, file.frames) == (44100, channels, sum(sizes))
    if sizes:
        np.testing.assert_array_equal(file.read().samples, concatenate(blocks).samples)
    assert AudioFile.open(tmp_path / "a.npy", 44100) == file
    assert file.duration == sum(sizes) / 44100


@given(st.integers(-30, 60), st.integers(-30, 60))
def test_reads_as_the_same_sound_in_memory_does(tmp_path: Path, start, stop):
    audio = noise(37)
    path = tmp_path / "a.npy"
    file = AudioFile.open(path, 44100) if path.exists() else write_blocks(path, 44100, 2, [audio])
    np.testing.assert_array_equal(file.read(start, stop).samples, audio.read(start, stop).samples)


def test_any_tool_can_open_it(tmp_path: Path):
    audio = noise(1000)
    write_blocks(tmp_path / "a.npy", 44100, 2, [audio])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy").T, audio.samples)


def test_the_same_sound_is_the_same_bytes(tmp_path: Path):
    audio = noise(1000)
    write_blocks(tmp_path / "a.npy", 44100, 2, [audio])
    write_blocks(tmp_path / "b.npy", 44100, 2, [audio.read(0, 300), audio.read(300)])
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_view_with_strides_is_written_in_order(tmp_path: Path):
    audio = noise(1000)
    view = Audio(audio.samples[:, ::2], 44100)
    np.testing.assert_array_equal(write_blocks(tmp_path / "a.npy", 44100, 2, [view]).read().samples, view.samples)


def test_wrong_blocks_are_refused(tmp_path: Path):
    with AudioWriter(tmp_path / "a.npy", 44100, 2) as writer:
        with pytest.raises(ValueError, match="writer wants"):
            writer.write(noise(10, 1))
        with pytest.raises(ValueError, match="writer wants"):
            writer.write(Audio(noise(10).samples, 48000))


def test_a_writer_that_failed_leaves_a_file_that_reads_as_empty(tmp_path: Path):
    with pytest.raises(RuntimeError, match="killed"), AudioWriter(tmp_path / "a.npy", 44100, 2) as writer:
        writer.write(noise(1000))
        raise RuntimeError("killed")
    assert AudioFile.open(tmp_path / "a.npy", 44100).frames == 0


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage" * 100, b"\x93NUMPY\x01\x00\xff\xff{'a"])
def test_not_an_artifact(tmp_path: Path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UnderstudyError) as caught:
        AudioFile.open(tmp_path / "a.npy", 44100)
    assert caught.value.code == "artifact-unreadable"


def test_arrays_of_another_kind_are_refused(tmp_path: Path):
    for array in (np.zeros((5, 2)), np.zeros(5, np.float32), np.asfortranarray(np.zeros((5, 2), np.float32))):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(UnderstudyError):
            AudioFile.open(tmp_path / "a.npy", 44100)
    with pytest.raises(UnderstudyError):
        AudioFile.open(tmp_path / "missing.npy", 44100)


def test_a_file_shorter_than_its_header_says_is_refused(tmp_path: Path):
    path = tmp_path / "a.npy"
    write_blocks(path, 44100, 2, [noise(1000)])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnderstudyError) as caught:
        AudioFile.open(path, 44100)
    assert caught.value.code == "artifact-unreadable"


def test_frame_counts_of_any_size_fit_into_the_header(tmp_path: Path):
    """The header is written first with 0 frames and again with the real count: it must not grow."""
    with AudioWriter(tmp_path / "a.npy", 44100, 1) as writer:
        writer.write(noise(10, 1))
        writer.frames = 10**15
    with (tmp_path / "a.npy").open("rb") as file:
        np.lib.format.read_magic(file)
        assert np.lib.format.read_array_header_1_0(file)[0] == (10**15, 1)
        assert file.tell() == AudioFile.open(write_blocks(tmp_path / "b.npy", 44100, 1, []).path, 44100).offset
