from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.evaluation.dataset import Part, find_songs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_layout_of_musdb18_hq(tmp_path: Path) -> None:
    stems = ("mixture", "drums", "bass", "other", "vocals")
    touch(tmp_path, *(f"{place}/{stem}.wav" for place in ("train/B", "test/A") for stem in stems))
    found = find_songs(tmp_path)
    assert [(song.name, song.subset) for song in found.songs] == [("test/A", "test"), ("train/B", "train")]
    assert found.songs[0].mixture == Part(tmp_path / "test/A/mixture.wav")
    assert found.songs[0].truth.keys() == {"drums", "bass", "other", "vocals"}
    assert found.passed_over == ()


def test_songs_without_a_subset_and_other_names_of_stems(tmp_path: Path) -> None:
    touch(tmp_path, "A/Mixture.flac", "A/VOCALS.flac", "A/accompaniment.mp3", "A/cover.jpg", "A/notes.wav")
    (song,) = find_songs(tmp_path).songs
    assert song.truth == {
        "vocals": Part(tmp_path / "A/VOCALS.flac"),
        "instrumental": Part(tmp_path / "A/accompaniment.mp3"),
    }


def test_a_single_song(tmp_path: Path) -> None:
    touch(tmp_path, "mixture.wav", "vocals.wav", "instrumental.wav")
    assert [song.name for song in find_songs(tmp_path).songs] == [tmp_path.name]


def test_files_with_a_track_per_stem(tmp_path: Path) -> None:
    touch(tmp_path, "test/One - Two.stem.mp4")
    (song,) = find_songs(tmp_path).songs
    path = tmp_path / "test/One - Two.stem.mp4"
    assert (song.name, song.subset, song.mixture) == ("test/One - Two", "test", Part(path, 0))
    assert song.truth == {name: Part(path, n) for n, name in enumerate(("drums", "bass", "other", "vocals"), start=1)}


def test_what_is_not_whole_is_passed_over_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "A/mixture.wav", "A/vocals.wav", "B/mixture.wav", "C/vocals.wav", "C/drums.wav", "A/vocals.flac")
    touch(tmp_path, ".hidden/mixture.wav", ".hidden/vocals.wav", "D/vocals.wav")
    found = find_songs(tmp_path)
    assert [song.name for song in found.songs] == ["A"]
    sentences = " ".join(found.passed_over)
    assert "B was passed over: it has a mixture but no stems" in sentences
    assert "C was passed over: it has stems but no mixture" in sentences
    assert "A: vocals.wav was passed over" in sentences
    assert "D" not in sentences.replace("D was", "")


@pytest.mark.parametrize(("make", "code"), [(False, "folder-not-found"), (True, "dataset-empty")])
def test_nothing_there(tmp_path: Path, make: bool, code: str) -> None:
    folder = tmp_path / "songs"
    if make:
        touch(folder, "A/mixture.wav")
    with pytest.raises(UnderstudyError) as error:
        find_songs(folder)
    assert error.value.code == code
