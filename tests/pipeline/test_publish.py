import os
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.publish import (
    beside,
    check_replaceable,
    check_writable,
    free_name,
    publish,
    shortened,
)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "artifact"
    path.write_bytes(b"cover")
    return path


def test_publishing_makes_folders_and_leaves_only_the_file(tmp_path: Path, artifact: Path):
    path = publish(artifact, tmp_path / "a" / "b" / "cover.flac")
    assert path.read_bytes() == b"cover"
    assert [entry.name for entry in path.parent.iterdir()] == ["cover.flac"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_taken_name_gets_a_number_unless_it_is_the_same_cover(tmp_path: Path, artifact: Path):
    path = tmp_path / "song (nova).flac"
    assert free_name(path, artifact) == path
    path.write_bytes(b"cover")
    assert free_name(path, artifact) == path
    path.write_bytes(b"another")
    assert free_name(path, artifact).name == "song (nova) 2.flac"
    (tmp_path / "song (nova) 2.flac").write_bytes(b"third")
    assert free_name(path, artifact).name == "song (nova) 3.flac"


def test_another_format_has_the_same_name_only_with_the_same_report(tmp_path: Path, artifact: Path):
    path, made = tmp_path / "song (nova).mp3", tmp_path / "made.json"
    beside = tmp_path / "song (nova).report.json"
    made.write_text('{"format": "understudy-report"}')
    beside.write_text('{"format": "understudy-report"}')
    companions = {beside: made}
    assert free_name(path, artifact, lambda cover: companions) == path
    beside.write_text('{"format": "understudy-report", "of": "a cover with another setting"}')
    numbered = free_name(path, artifact, lambda cover: companions if cover == path else {})
    assert numbered.name == "song (nova) 2.mp3"
    path.write_bytes(b"cover")
    assert free_name(path, artifact, lambda cover: companions) == path


def test_a_file_of_the_users_is_not_replaced(tmp_path: Path):
    path = tmp_path / "diary.flac"
    path.write_bytes(b"dear diary")
    with pytest.raises(UnderstudyError) as raised:
        check_replaceable(path, overwrite=False)
    assert raised.value.code == "output-exists"
    check_replaceable(path, overwrite=True)
    check_replaceable(tmp_path / "new.flac", overwrite=False)


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path, artifact: Path):
    file = tmp_path / "file"
    file.write_text("")
    for attempt in (lambda: check_writable(file / "covers"), lambda: publish(artifact, file / "cover.flac")):
        with pytest.raises(UnderstudyError) as raised:
            attempt()
        assert raised.value.code == "output-not-writable"


def test_a_failed_copy_leaves_what_was_there(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "cover.flac"
    path.write_bytes(b"before")

    def full(source: str, target: str) -> None:
        Path(target).write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(UnderstudyError) as raised:
        publish(artifact, path)
    assert raised.value.code == "disk-full"
    assert path.read_bytes() == b"before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["artifact", "cover.flac"]


@pytest.mark.parametrize("letter", ["a", "é", "歌", "🎵", "e\u0301", "👩\u200d🎤"])
def test_a_long_name_is_cut_between_characters(letter):
    name = letter * (253 // len(letter.encode()))
    short = shortened(name, 200)
    assert len(short.encode()) <= 200
    assert len(short.encode()) > 200 - 7 - 2 * len(letter.encode())
    begin, mark = short.rsplit(" ", 1)
    assert begin == letter * (len(begin) // len(letter))
    assert len(mark) == 6
    assert shortened(name, 253) == name


def test_two_long_names_stay_two():
    names = {shortened("a" * 240 + end, 230) for end in ("1", "2", "", "11")}
    assert len(names) == 4


def test_a_given_name_that_is_too_long_is_refused(tmp_path):
    check_replaceable(tmp_path / ("a" * 251 + ".mp3"), False)
    with pytest.raises(UnderstudyError) as caught:
        check_replaceable(tmp_path / ("歌" * 84 + ".mp3"), False)
    assert caught.value.code == "output-not-writable"
    assert "256 bytes" in caught.value.message
    place = beside(tmp_path / ("a" * 251 + ".mp3"), ".report.html")
    assert len(place.name) == 255
