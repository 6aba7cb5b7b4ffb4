from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.signals import Note, band, singing
from tests.support.signals import song as song_with_stems
from understudy.audio import Audio, AudioFile
from understudy.audio.resample import resample
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
    stem = noise(3, seed=1)
    song = Audio(noise(3).samples + stem.samples, RATE)
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


def late(sound: Audio, seconds: float) -> Audio:
    frames = round(seconds * sound.rate)
    return sound.read(-frames, sound.frames - frames)


@pytest.mark.parametrize("seconds", [0.0251, 0.1, 0.5, -0.2, 1.5])
@pytest.mark.parametrize("change", ["none", "soft", "reversed", "mono at another rate"])
def test_late_and_early_vocals_are_moved_to_their_place(context, tmp_path, seconds, change):
    made = song_with_stems(8)
    given = late(made.vocals, seconds)
    if change == "soft":
        made = song_with_stems(8, seed=2)
        given = late(made.vocals, seconds)
        mix = Audio(made.mix.samples - 0.8 * made.vocals.samples, RATE)
    else:
        mix = made.mix
    if change == "reversed":
        given = Audio(np.stack([given.samples[0], -given.samples[1]]), RATE)
        mix = Audio(mix.samples - made.vocals.samples + np.array([[1], [-1]], np.float32) * made.vocals.samples, RATE)
    if change == "mono at another rate":
        given = resample(Audio(given.samples[:1], RATE), 48000)
    stems = own_stems(context, song=on_disk(tmp_path, "song", mix), vocals=on_disk(tmp_path, "v", given))
    got, wanted = stems["vocals"].read().samples, made.vocals.samples.copy()
    if change == "reversed":
        wanted[1] *= -1
    inside = slice(2 * RATE, -2 * RATE)
    assert np.sqrt(np.mean((got - wanted)[:, inside] ** 2)) < 0.1 * np.sqrt(np.mean(wanted[:, inside] ** 2))
    assert got.shape == mix.samples.shape
    assert np.abs(got + stems["instrumental"].read().samples - mix.samples).max() < 1e-6
    (warning,) = context.warnings
    assert f"{abs(seconds) * 1000:.0f} ms too {'late' if seconds > 0 else 'early'}" in warning


def test_vocals_in_their_place_are_taken_as_they_are(context, tmp_path):
    made = song_with_stems(8)
    song, vocals = on_disk(tmp_path, "song", made.mix), on_disk(tmp_path, "v", made.vocals)
    stems = own_stems(context, song=song, vocals=vocals)
    np.testing.assert_array_equal(stems["vocals"].read().samples, made.vocals.samples)
    assert context.warnings == []


def test_a_late_instrumental_is_moved_too(context, tmp_path):
    made = song_with_stems(8)
    song, given = on_disk(tmp_path, "song", made.mix), on_disk(tmp_path, "i", late(made.instrumental, 0.3))
    left = own_stems(context, song=song, instrumental=given)["vocals"].read(0, 7 * RATE).samples
    assert np.abs(left - made.vocals.samples[:, : 7 * RATE]).max() < 1e-6
    assert "The instrumental given came 300 ms too late" in context.warnings[0]


@pytest.mark.parametrize("of", ["another song", "another passage"])
def test_vocals_that_are_not_in_the_song_are_refused(context, tmp_path, of):
    verse, _ = singing([Note(pitch, 0.7, "a") for pitch in (57, 60, 62, 64, 62, 60, 59)], seed=1)
    chorus, _ = singing([Note(pitch, 0.7, "o") for pitch in (64, 67, 69, 67, 65, 64, 62)], seed=2)
    made = Audio(np.concatenate([verse.samples, chorus.samples], axis=1).repeat(2, axis=0), RATE)
    instrumental = band(made.duration)
    mix = Audio(made.samples + instrumental.samples[:, : made.frames], RATE)
    other = song_with_stems(made.duration, seed=7).vocals
    if of == "another passage":
        other = Audio(np.concatenate([chorus.samples, verse.samples], axis=1).repeat(2, axis=0), RATE)
    song, vocals = on_disk(tmp_path, "song", mix), on_disk(tmp_path, "v", other)
    with pytest.raises(UnderstudyError) as raised:
        own_stems(context, song=song, vocals=vocals)
    assert raised.value.code == "stem-not-in-song"
    assert "The vocals given" in raised.value.message
    # with both stems, nothing is subtracted from the song
    stems = own_stems(context, song=song, vocals=vocals, instrumental=on_disk(tmp_path, "i", instrumental))
    np.testing.assert_array_equal(stems["vocals"].read(0, other.frames).samples, other.samples)
    assert [warning.startswith("The vocals given are not in this song") for warning in context.warnings] == [True]


def test_silent_vocals_say_nothing(context, tmp_path):
    made = song_with_stems(8)
    song, vocals = on_disk(tmp_path, "song", made.mix), on_disk(tmp_path, "v", Audio.silence(2, made.mix.frames, RATE))
    np.testing.assert_array_equal(
        own_stems(context, song=song, vocals=vocals)["instrumental"].read().samples, song.read().samples
    )
    assert context.warnings == []
