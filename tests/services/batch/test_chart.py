"""What a chart may look like, and what is said of one that is wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnderstudyError
from understudy.services.batch.chart import Row, read_chart, setting_names


def _write(folder: Path, text: str, name: str = "chart.csv") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def _problem(sources: list[str], voices: list[str]) -> str:
    with pytest.raises(UnderstudyError) as caught:
        read_chart(sources, voices)
    assert caught.value.code == "chart-invalid"
    return caught.value.message


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_songs_voices_and_settings(tmp_path: Path, delimiter: str) -> None:
    lines = (("song", "voice", "vocal_gain", "key"), ("a b.wav", "nova", "2.5", ""), ("sub/c.mp3", "ada", "", "-3"))
    chart = _write(tmp_path, "\ufeff" + "\n".join(delimiter.join(line) for line in lines))
    first, second = read_chart([chart], [])
    assert (first.song, first.voice, first.options) == (tmp_path / "a b.wav", "nova", {"remix.vocal_gain": 2.5})
    assert (second.song, second.voice, second.options) == (tmp_path / "sub/c.mp3", "ada", {"key": -3})
    assert second.source == "chart.csv line 3"


def test_songs_times_voices(tmp_path: Path) -> None:
    chart = _write(tmp_path, "song\na.wav\nb.wav\n")
    made = [(row.song.name, row.voice) for row in read_chart([chart], ["nova", "ada"])]
    assert made == [("a.wav", "nova"), ("a.wav", "ada"), ("b.wav", "nova"), ("b.wav", "ada")]


def test_a_row_with_a_voice_keeps_it(tmp_path: Path) -> None:
    chart = _write(tmp_path, "song,voice\na.wav,ada\nb.wav,\n")
    assert [row.voice for row in read_chart([chart], ["nova"])] == ["ada", "nova"]


def test_json_lines_may_hold_lists_of_voices_and_any_setting(tmp_path: Path) -> None:
    rows = [{"song": "a.wav", "voice": ["nova", "ada"], "remix.vocal_gain": 1}, {"song": "b.wav", "voice": "ada"}]
    chart = _write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "chart.jsonl")
    read = read_chart([chart], [])
    assert [(row.song.name, row.voice) for row in read] == [("a.wav", "nova"), ("a.wav", "ada"), ("b.wav", "ada")]
    assert read[1].options == {"remix.vocal_gain": 1}


def test_folders_globs_and_songs(tmp_path: Path) -> None:
    for name in ("b.mp3", "a.wav", "notes.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert [row.song.name for row in read_chart([str(tmp_path)], ["nova"])] == ["a.wav", "b.mp3"]
    assert [row.song.name for row in read_chart([str(tmp_path / "*.mp3")], ["nova"])] == ["b.mp3"]
    assert [row.song.name for row in read_chart([str(tmp_path / "notes.txt")], ["nova"])] == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title,voice\na.wav,nova\n", "no column 'song'"),
        ("", "no column 'song'"),
        ("song,voice\na.wav,\n", "line 2 names no voice"),
        ("song,voice\n,nova\n", "line 2 names no song"),
        ("song,voice\na.wav,nova\nb.wav,nova\na.wav,nova\n", "line 4 is the same cover as chart.csv line 2"),
        ("song,voice\na.wav,nova,3\n", "line 2 has more cells"),
        ("song,voice,voice\na.wav,nova,ada\n", "the column 'voice' twice"),
        ('song,voice\n"a.wav,nova\n', "isn't CSV"),
        ("song,voice,vocal_gain,remix.vocal_gain\na.wav,nova,1,2\n", "gives remix.vocal_gain twice"),
        ("song,voice\n", "there is no song in it"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in _problem([_write(tmp_path, text)], [])


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    message = _problem([_write(tmp_path, "song,voice\n,nova\na.wav,\n")], [])
    assert "line 2" in message
    assert "line 3" in message


def test_what_isn_t_text_or_isn_t_there(tmp_path: Path) -> None:
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00song")
    assert "UTF-8" in _problem([str(binary)], ["nova"])
    assert "nothing is named like" in _problem([str(tmp_path / "*.mp3")], ["nova"])
    assert "can't be read" in _problem([str(tmp_path / "missing.csv")], ["nova"])
    assert "isn't JSON" in _problem([_write(tmp_path, "{", "chart.jsonl")], ["nova"])
    assert "isn't an object" in _problem([_write(tmp_path, "[1]", "chart.jsonl")], ["nova"])


def test_short_names_stand_for_one_setting_each() -> None:
    names = setting_names()
    assert names["vocal_gain"] == "remix.vocal_gain"
    assert names["index_rate"] == "conversion.index_rate"
    assert len(set(names.values())) == len(names)


@given(st.text(max_size=200))
def test_any_text_is_rows_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    chart = tmp_path_factory.getbasetemp() / "any.csv"
    chart.write_text("song,voice\n" + text, "utf-8", newline="")
    rows: list[Row] = []
    with contextlib.suppress(UnderstudyError):  # any other error fails the test
        rows = read_chart([str(chart)], ["nova"])
    assert all(row.voice and row.source.startswith("any.csv line ") for row in rows)
