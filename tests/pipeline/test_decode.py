from pathlib import Path

import numpy as np
import pytest
import soundfile

from understudy.audio import Audio, AudioFile
from understudy.audio.stored import write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.blockwise import summed
from understudy.pipeline.stages.decode import decode_song, own_stems

RATE = 44100


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "work"
    folder.mkdir()
    return Context(folder)


def noise(seconds: float, channels: int = 2, seed: int = 0, rate: int = RATE) -> Audio:
    random = np.random.default_rng(seed)
    return Audio.of(random.normal(0, 0.1, (channels, round(seconds * rate))), rate)


def on_disk(folder: Path, name: str, sound: Audio) -> AudioFile:
    return write_blocks(folder / f"{name}.npy", sound.rate, sound.channels, [sound])


def test_a_part_of_a_song_is_that_part(context: Context, tmp_path: Path):
    song = noise(2)
    soundfile.write(tmp_path / "song.wav", song.samples.T, RATE, subtype="FLOAT")
    part = decode_song(context, tmp_path / "song.wav", start=0.5, duration=1.0)
    assert np.array_equal(part.read().samples, song.samples[:, RATE // 2 : RATE // 2 + RATE])


def test_a_silent_song_is_refused(context: Context, tmp_path: Path):
    soundfile.write(tmp_path / "quiet.wav", np.full((RATE, 2), 5e-5), RATE, subtype="FLOAT")
    with pytest.raises(UnderstudyError) as raised:
        decode_song(context, tmp_path / "quiet.wav", start=0, duration=None)
    assert raised.value.code == "song-silent"


@pytest.mark.parametrize("given", ["vocals", "instrumental"])
def test_one_own_stem_leaves_the_rest_of_the_song(context: Context, tmp_path: Path, given: str):
    song, stem = noise(3), noise(3, seed=1)
    stems = own_stems(context, song=on_disk(tmp_path, "song", song), **{given: on_disk(tmp_path, "stem", stem)})
    assert np.array_equal(stems[given].read().samples, stem.samples)
    total = stems["vocals"].read().samples + stems["instrumental"].read().samples
    assert np.abs(total - song.samples).max() < 1e-6


def test_own_stems_take_the_song_s_form(context: Context, tmp_path: Path):
    song = noise(2)
    mono = on_disk(tmp_path, "mono", noise(1.9, channels=1, rate=48000))
    stems = own_stems(context, song=on_disk(tmp_path, "song", song), vocals=mono)
    for stem in stems.values():
        assert (stem.rate, stem.channels, stem.frames) == (RATE, 2, song.frames)
    left, right = stems["vocals"].read().samples
    assert np.array_equal(left, right)
    assert np.all(left[round(1.91 * RATE) :] == 0)
    assert {path.name for path in context.folder.iterdir()} == {"vocals.npy", "instrumental.npy"}


def test_two_own_stems_make_the_song(context: Context, tmp_path: Path):
    vocals, instrumental = noise(1), noise(2, seed=1)
    stems = own_stems(context, vocals=on_disk(tmp_path, "v", vocals), instrumental=on_disk(tmp_path, "i", instrumental))
    song = summed(context, (stems["vocals"], stems["instrumental"]))
    expected = instrumental.samples.copy()
    expected[:, : vocals.frames] += vocals.samples
    assert np.array_equal(song.read().samples, expected)


def test_a_stem_of_another_song_is_refused(context: Context, tmp_path: Path):
    with pytest.raises(UnderstudyError) as raised:
        own_stems(context, song=on_disk(tmp_path, "song", noise(3)), vocals=on_disk(tmp_path, "v", noise(1)))
    assert raised.value.code == "stem-length"
    assert "1.0 s" in raised.value.message
    assert "3.0 s" in raised.value.message
