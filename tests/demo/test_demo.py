"""The demo's files are what docs/demo.md says; the scripts that made them work where espeak-ng isn't installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray

import demo
from demo.artwork import SIZE, cover_picture
from demo.score import BAR, BARS, BEAT, DURATION, LINES, PROGRESSION, SCALE_LINES, SECTIONS
from demo.singer import HOP, syllables_of, time_map
from demo.speech import Phone
from understudy.audio.files import decode
from understudy.audio.tags import read_tags
from understudy.context import Context

FOLDER = Path(demo.__file__).parent
RATE = 44100


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float32]]:
    folder = tmp_path_factory.mktemp("demo")
    paths = {
        path.stem: path for path in [FOLDER / "song.mp3", *FOLDER.glob("stems/*.m4a"), *FOLDER.glob("voice/*.flac")]
    }
    result = {}
    for name, path in paths.items():
        sound = decode(Context(folder), path, folder / f"{name}.npy")
        assert sound.rate == RATE
        result[name] = sound.read().samples
    return result


def test_the_song_is_as_long_as_its_stems_and_about_their_sum(sounds: dict[str, NDArray[np.float32]]) -> None:
    song, stems = sounds["song"], sounds["vocals"] + sounds["instrumental"]
    assert song.shape == stems.shape == (2, round(DURATION * RATE))
    error = np.mean((song - stems) ** 2) / np.mean(song**2)
    assert 10 * np.log10(error) < -15  # what three lossy codings leave; before them it is exact


def test_the_song_is_mastered_like_one(sounds: dict[str, NDArray[np.float32]]) -> None:
    song = sounds["song"].astype(np.float64)
    assert -16.5 < pyloudnorm.Meter(RATE).integrated_loudness(song.T) < -14
    assert np.abs(song).max() < 0.9
    assert np.asarray(np.corrcoef(song))[0, 1] < 0.95


def test_the_break_and_the_intro_have_no_vocals(sounds: dict[str, NDArray[np.float32]]) -> None:
    vocals = sounds["vocals"]
    for start, stop in ((0.0, 4.5), (27.5, 29.0)):
        part = vocals[:, round(start * RATE) : round(stop * RATE)]
        assert np.sqrt(np.mean(part**2)) < 10 ** (-60 / 20)


def test_the_melody_file_is_the_score(sounds: dict[str, NDArray[np.float32]]) -> None:
    f0 = np.loadtxt(FOLDER / "stems" / "melody.txt")
    assert len(f0) == round(DURATION / HOP) + 1
    for line in LINES:
        for note in line.notes:
            middle = f0[round((note.start + 0.5 * note.beats) * BEAT / HOP)]
            if middle:  # not in a consonant
                assert abs(12 * np.log2(middle / 440) + 69 - note.pitch) < 0.5


def test_the_song_has_tags_and_a_picture() -> None:
    tags = read_tags(FOLDER / "song.mp3")
    assert (tags.title, tags.artist) == ("Understudy", "The Prompt Corner")
    assert tags.artwork == (FOLDER / "artwork.png").read_bytes()


def test_the_voice_is_long_enough_and_clean(sounds: dict[str, NDArray[np.float32]]) -> None:
    recordings = [sounds["speaking"], sounds["singing"]]
    assert sum(r.shape[1] for r in recordings) > 20 * RATE
    for recording in recordings:
        assert recording.shape[0] == 1
        assert 0.5 < np.abs(recording).max() < 0.8


def test_the_demo_stays_small() -> None:
    made = [
        FOLDER / "song.mp3",
        FOLDER / "artwork.png",
        *FOLDER.glob("*.m4a"),
        *FOLDER.glob("stems/*"),
        *FOLDER.glob("voice/*"),
    ]
    assert sum(path.stat().st_size for path in made) < 4_000_000


def test_the_score_fits_its_form() -> None:
    assert len(PROGRESSION) == BARS == SECTIONS[-1][2]
    for line in LINES:
        ends = [note.start + note.beats for note in line.notes]
        assert all(end <= note.start + 1e-9 for end, note in zip(ends, line.notes[1:], strict=False))
        assert ends[-1] * BEAT < BARS * BAR
    top = max(note.pitch for line in LINES for note in line.notes)
    assert max(note.pitch for line in SCALE_LINES for note in line.notes) + 12 >= top  # an octave down is in range


def test_syllables_lie_on_their_notes() -> None:
    names = ("s", "ɪ", "ŋ", "ɪ", "t")
    phones = [Phone(name, 0.1 * k, 0.1 * (k + 1), k // 3) for k, name in enumerate(names)]
    syllables = syllables_of(phones)
    assert [[p.name for p in onset] + [vowel.name] + [p.name for p in coda] for onset, vowel, coda in syllables] == [
        ["s", "ɪ", "ŋ"],
        ["ɪ", "t"],
    ]
    starts, stops = np.array([1.0, 2.0]), np.array([2.0, 2.5])
    song, speech, vowels = time_map(syllables, starts, stops)
    assert np.all(np.diff(song) > 0)
    assert np.all(np.diff(speech) >= 0)
    np.testing.assert_allclose(np.interp([1.0, 2.0], song, speech), [0.1, 0.3], atol=1e-6)  # vowels start on the note
    np.testing.assert_allclose(vowels, [(1.0, 1.9), (2.0, 2.5)], atol=1e-6)
    assert song[0] == pytest.approx(0.9)  # the s stands before the beat


def test_the_picture_is_a_png_of_its_size() -> None:
    picture = cover_picture(7)
    assert picture == (FOLDER / "artwork.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") == SIZE
