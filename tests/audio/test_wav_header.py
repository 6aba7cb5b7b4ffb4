"""WAV files as pipes, recorders and editors leave them: read as long and as loud as they are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.sound_files import RATE, tones
from understudy.audio.files import decode, probe
from understudy.audio.wav_header import read_wav_header
from understudy.context import Context
from understudy.errors import UnderstudyError

FRAMES = 3 * RATE
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


def decoded(path: Path) -> np.ndarray:
    return decode(Context(path.parent), path, path.parent / "out.npy").read().samples


def plain(path: Path, content: bytes, stated: int | None = None, bits: int = 16, size: int = 2, tag: int = 1) -> Path:
    """A stereo WAV of `content`, in samples of `size` bytes and `bits` bits; `stated`: what it says of its size."""
    form = struct.pack("<HHIIHH", tag, 2, RATE, RATE * 2 * size, 2 * size, bits)
    stated = len(content) if stated is None else stated
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", stated) + content
    path.write_bytes(b"RIFF" + struct.pack("<I", min(stated + 36, 0xFFFFFFFF)) + body)
    return path


def integers(samples: np.ndarray, bits: int) -> np.ndarray:
    return np.ascontiguousarray(np.rint(samples.T * 2.0 ** (bits - 1)), "<i4")


def short_words() -> bytes:
    return integers(tones(FRAMES), 16).astype("<i2").tobytes()


@pytest.mark.parametrize(
    "stated", [0, 0x7F000000, 0x7FFFF000, 0x7FFFFFFF - 36, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF]
)
def test_a_size_that_a_pipe_leaves_means_what_is_there(tmp_path, stated):
    path = plain(tmp_path / "pipe.wav", short_words(), stated)
    got = decoded(path)
    assert got.shape == (2, FRAMES)
    assert np.max(np.abs(got - tones(FRAMES))) <= 2**-15
    assert probe(path).duration == pytest.approx(3, abs=0.01)


def test_a_recorder_that_was_stopped_leaves_an_old_size(tmp_path):
    path = plain(tmp_path / "recorder.wav", short_words(), stated=RATE)
    assert decoded(path).shape == (2, FRAMES)


@pytest.mark.parametrize("after", [LIST, b"\0" + LIST, b"TAG" + bytes(125), b""])
def test_what_follows_the_sound_is_not_sound(tmp_path, after):
    content = short_words()
    path = plain(tmp_path / "song.wav", content + after, stated=len(content))
    assert decoded(path).shape == (2, FRAMES)


def test_a_wav_that_was_cut_off_is_still_refused(tmp_path):
    content = short_words()
    path = plain(tmp_path / "cut.wav", content[: len(content) // 2], stated=len(content))
    with pytest.raises(UnderstudyError) as caught:
        decoded(path)
    assert caught.value.code == "file-truncated"
    assert caught.value.message.endswith("after 1.50 s of 3.00 s.")


def test_an_rf64_from_a_pipe_states_no_size(tmp_path):
    soundfile.write(tmp_path / "song.wav", tones(FRAMES).T, RATE, format="RF64", subtype="PCM_16")
    content = bytearray((tmp_path / "song.wav").read_bytes())
    at = content.find(b"ds64")
    content[at + 8 : at + 32] = bytes(24)
    (tmp_path / "song.wav").write_bytes(content)
    got = decoded(tmp_path / "song.wav")
    assert np.max(np.abs(got - tones(FRAMES))) <= 2**-15


@pytest.mark.parametrize("bits", [12, 20, 24])
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("extensible", [False, True])
def test_few_bits_in_many_bytes_are_left_justified(tmp_path, bits, size, extensible):
    if bits > 8 * size:
        return
    words = integers(tones(FRAMES), bits) << (8 * size - bits)
    content = words.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
    path = plain(tmp_path / "wide.wav", content, bits=bits, size=size)
    if extensible:
        head = path.read_bytes()
        more = struct.pack("<HHIH", 22, bits, 3, 1) + bytes.fromhex("000000001000800000aa00389b71")
        form = struct.pack("<H", 0xFFFE) + head[22:34] + struct.pack("<H", 8 * size) + more
        path.write_bytes(head[:16] + struct.pack("<I", len(form)) + form + head[36:])
    got = decoded(path)
    assert got.shape == (2, FRAMES)
    assert np.max(np.abs(got - tones(FRAMES))) <= 2.0 ** (1 - bits)


def test_floats_marked_as_24_bits_are_floats(tmp_path):
    content = tones(FRAMES).T.astype("<f4").tobytes()
    assert np.array_equal(decoded(plain(tmp_path / "a.wav", content, bits=24, size=4, tag=3)), tones(FRAMES))
    # Cool Edit's "24.0 float" says integers, its full scale is 2**23
    scaled = (tones(FRAMES).T * 2.0**23).astype("<f4").tobytes()
    got = decoded(plain(tmp_path / "b.wav", scaled, bits=24, size=4))
    np.testing.assert_allclose(got, tones(FRAMES), atol=1e-6)


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
@pytest.mark.parametrize("rate", [11025, 22050, 44100])
def test_adpcm_is_whole_and_like_the_original(tmp_path, subtype, rate):
    """The block size depends on the rate; the last block is padded."""
    wanted = tones(3 * rate, channels=1, rate=rate)
    soundfile.write(tmp_path / "song.wav", wanted.T, rate, subtype=subtype)
    assert probe(tmp_path / "song.wav").duration == pytest.approx(3, abs=0.15)
    got = decoded(tmp_path / "song.wav")
    assert 3 * rate <= got.shape[1] <= 3 * rate + 2 * 2041  # libsndfile pads by up to two blocks
    noise = got[:, : 3 * rate] - wanted
    assert np.mean(noise**2) < 0.03 * np.mean(wanted**2)
    content = (tmp_path / "song.wav").read_bytes()
    (tmp_path / "song.wav").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnderstudyError) as caught:
        decoded(tmp_path / "song.wav")
    assert caught.value.code == "file-truncated"


def test_the_padding_of_the_last_block_is_left_out(tmp_path):
    soundfile.write(tmp_path / "song.wav", tones(FRAMES).T, RATE, subtype="MS_ADPCM")
    assert decoded(tmp_path / "song.wav").shape == (2, FRAMES)


def test_other_adpcm_is_refused_by_its_name(tmp_path):
    soundfile.write(tmp_path / "song.wav", tones(8000, channels=1).T, 8000, subtype="G721_32")
    with pytest.raises(UnderstudyError) as caught:
        decoded(tmp_path / "song.wav")
    assert caught.value.code == "unsupported-codec"
    assert "g726" in caught.value.message


def test_a_header_of_a_hostile_file_is_bounded(tmp_path):
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000)
    with path.open("rb") as file:
        assert read_wav_header(file) is None
    song = plain(tmp_path / "song.wav", bytes(4000)).read_bytes()
    path.write_bytes(song[:12] + b"junk\0\0\0\0" * 100_000 + song[12:])  # FFmpeg would look at each of them
    with pytest.raises(UnderstudyError) as caught:
        probe(path)
    assert caught.value.code == "not-audio"
