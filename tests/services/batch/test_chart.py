"""What a chart may look like, and what is said of one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.encode import encode, parse_format
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags, cover_tags
from understudy.context import scratch_context
from understudy.errors import UnderstudyError
from understudy.services.batch.chart import Row, Singers, parse_columns, parse_sweeps, read_chart, setting_names


def _write(folder: Path, text: str, name: str = "chart.csv") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def _rows(sources: list[str], voices: list[str], **more: Any) -> tuple[Row, ...]:
    """The rows of sources with which nothing is wrong."""
    chart = read_chart(sources, voices, **more)
    assert not chart.problems + chart.empty
    assert not any(row.problems for row in chart.rows)
    return chart.rows


def _problem(sources: list[str], voices: list[str], **more: Any) -> str:
    """All that is wrong."""
    chart = read_chart(sources, voices, **more)
    of_rows = [f"{row.source}: {problem}" for row in chart.rows for problem in row.problems]
    return "\n".join([*chart.problems, *chart.empty, *of_rows])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_songs_voices_and_settings(tmp_path: Path, delimiter: str) -> None:
    lines = (("song", "voice", "vocal_gain", "key"), ("a b.wav", "nova", "2.5", ""), ("sub/c.mp3", "ada", "", "-3"))
    chart = _write(tmp_path, "\ufeff" + "\n".join(delimiter.join(line) for line in lines))
    first, second = _rows([chart], [])
    assert (first.song, first.singers.voice, first.options) == (tmp_path / "a b.wav", "nova", {"remix.vocal_gain": 2.5})
    assert (second.song, second.singers.voice, second.options) == (tmp_path / "sub/c.mp3", "ada", {"key": -3})
    assert second.source == "chart.csv line 3"


def test_songs_times_voices(tmp_path: Path) -> None:
    chart = _write(tmp_path, "song\na.wav\nb.wav\n")
    made = [(row.song and row.song.name, row.singers.voice) for row in _rows([chart], ["nova", "ada"])]
    assert made == [("a.wav", "nova"), ("a.wav", "ada"), ("b.wav", "nova"), ("b.wav", "ada")]


def test_a_row_with_a_voice_keeps_it(tmp_path: Path) -> None:
    chart = _write(tmp_path, "song,voice\na.wav,ada\nb.wav,\n")
    assert [row.singers.voice for row in _rows([chart], ["nova"])] == ["ada", "nova"]


def test_json_lines_may_hold_lists_of_voices_and_any_setting(tmp_path: Path) -> None:
    rows = [{"song": "a.wav", "voice": ["nova", "ada"], "remix.vocal_gain": 1}, {"song": "b.wav", "voice": "ada"}]
    chart = _write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "chart.jsonl")
    read = _rows([chart], [])
    assert [(row.song and row.song.name, row.singers.voice) for row in read] == [
        ("a.wav", "nova"),
        ("a.wav", "ada"),
        ("b.wav", "ada"),
    ]
    assert read[1].options == {"remix.vocal_gain": 1}


def test_folders_globs_and_songs(tmp_path: Path) -> None:
    for name in ("b.mp3", "a.wav", "notes.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert [row.song and row.song.name for row in _rows([str(tmp_path)], ["nova"])] == ["a.wav", "b.mp3"]
    assert [row.song and row.song.name for row in _rows([str(tmp_path / "*.mp3")], ["nova"])] == ["b.mp3"]
    assert [row.song and row.song.name for row in _rows([str(tmp_path / "notes.txt")], ["nova"])] == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title,voice\na.wav,nova\n", "no column 'song'"),
        ("", "no column 'song'"),
        ("song,voice\na.wav,\n", "line 2: it names no voice"),
        ("song,voice\n,nova\n", "line 2: it names no song"),
        ("song,voice,vocal_gian\na.wav,nova,2\n", "'vocal_gian' is no setting (did you mean 'vocal_gain'?)"),
        ("song,voice,remix.gain\na.wav,nova,2\n", "'remix.gain' is no setting"),
        ("song,voice,ensemble.weights\na.wav,nova,2\n", "'ensemble.weights' is no setting"),
        ("song,voice\na.wav,nova\nb.wav,nova\na.wav,nova\n", "line 4: it is the same cover as chart.csv line 2"),
        ("song,voice\na.wav,nova,3\n", "line 2: it has more cells"),
        ("song,voice,voice\na.wav,nova,ada\n", "the column 'voice' twice"),
        ('song,voice\n"a.wav,nova\n', "isn't CSV"),
        ("song,voice,vocal_gain,remix.vocal_gain\na.wav,nova,1,2\n", "it gives remix.vocal_gain twice"),
        ("song,voice\n", "there is no song in"),
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
    assert "no song is named like" in _problem([str(tmp_path / "*.mp3")], ["nova"])
    assert "can't be read" in _problem([str(tmp_path / "missing.csv")], ["nova"])
    assert "isn't JSON" in _problem([_write(tmp_path, "{", "chart.jsonl")], ["nova"])
    assert "isn't an object" in _problem([_write(tmp_path, "[1]", "chart.jsonl")], ["nova"])


def test_short_names_stand_for_one_setting_each() -> None:
    names = setting_names()
    assert names["vocal_gain"] == "remix.vocal_gain"
    assert names["index_rate"] == "conversion.index_rate"
    assert names["title"] == names["song_title"] == "tags.song_title"


@given(st.text(max_size=200))
def test_any_text_is_rows_or_clear_problems(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    chart = tmp_path_factory.getbasetemp() / "any.csv"
    chart.write_text("song,voice\n" + text, "utf-8", newline="")
    read = read_chart([str(chart)], ["nova"])
    assert all(row.problems or row.singers.voice for row in read.rows)
    assert all(row.source.startswith("any.csv line ") for row in read.rows)


def test_misspelt_columns_are_told_together_and_others_are_carried(tmp_path: Path) -> None:
    text = "Song,Voice,vocal_gian,Index-Rate,Label,sepration.model,Nr.\na.wav,nova,1,0.5,Sub Pop,embedded,7\n"
    chart = read_chart([_write(tmp_path, text)], [])
    assert chart.problems == (
        "'vocal_gian' is no setting (did you mean 'vocal_gain'?)",
        "'sepration.model' is no setting (did you mean 'separation.model'?)",
    )
    assert chart.rows[0].options == {"conversion.index_rate": 0.5}
    assert chart.rows[0].carried["Label"] == "Sub Pop"


def test_columns_of_a_real_chart_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "99 Luftballons.mp3").write_bytes(b"")
    chart = _write(tmp_path, "Platz;Titel;Interpret;Speed\n1;99 Luftballons;Nena;193\n")
    columns = parse_columns("song=Titel, artist=Interpret,my speed=Speed")
    (row,) = _rows([chart], ["nova"], columns=columns)
    assert row.song == tmp_path / "99 Luftballons.mp3"
    assert row.options == {"tags.song_artist": "Nena"}
    assert row.carried == {"Platz": "1", "my speed": "193"}
    assert "did you mean 'seed'?" in _problem([chart], ["nova"], columns={"song": "Titel"})
    assert "has no column 'Lied'" in _problem([chart], ["nova"], columns={"song": "Lied"})
    with pytest.raises(UnderstudyError, match="--columns"):
        parse_columns("song")


def test_tags_are_columns_and_their_texts_stay_as_they_are(tmp_path: Path) -> None:
    text = (
        "song,voice,title,artist,title_template,artwork,loudness\na.wav,nova,1999,~,{title} / {voice},art.png,apple\n"
    )
    (row,) = _rows([_write(tmp_path, text)], [])
    assert row.options == {
        "tags.song_title": "1999",
        "tags.song_artist": "~",
        "tags.title_template": "{title} / {voice}",
        "tags.artwork": str(tmp_path / "art.png"),
        "remix.loudness": "apple",
    }


@pytest.mark.parametrize("written", ["sub\\a.wav", "sub/a", "sub/a.wav"])
def test_songs_are_found_however_they_are_written(tmp_path: Path, written: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.wav").write_bytes(b"")
    (row,) = _rows([_write(tmp_path, f"song\n{written}\n")], ["nova"])
    assert row.song == tmp_path / "sub" / "a.wav"


def test_a_cell_may_hold_several_voices_and_every_row_its_own_engine(tmp_path: Path) -> None:
    turns = '"0:00-1:12=nova,1:12-=ada"'
    text = f"song,voice,engine,transpose,preset\na.wav,nova | ada;nova,rvc,-12,studio\nb.wav,{turns},,nova=-12,\n"
    rows = _rows([_write(tmp_path, text)], [], engine="instant")
    assert [row.singers for row in rows] == [
        Singers("nova", "rvc"),
        Singers("ada", "rvc"),
        Singers("0:00-1:12=nova,1:12-=ada", "instant", "nova=-12"),
    ]
    assert [(row.preset, row.options) for row in rows] == [("studio", {"transpose": -12})] * 2 + [(None, {})]


def test_a_sweep_makes_every_combination_that_a_row_leaves_open(tmp_path: Path) -> None:
    chart = _write(tmp_path, "song,index_rate\na.wav,\nb.wav,0.3\n")
    sweeps = parse_sweeps(["index_rate=0.25,0.5", "remix.vocal_gain=0, 2"])
    rows = _rows([chart], ["nova"], sweeps=sweeps)
    assert [tuple(row.options.values()) for row in rows] == [
        (0.25, 0),
        (0.25, 2),
        (0.5, 0),
        (0.5, 2),
        (0.3, 0),
        (0.3, 2),
    ]
    assert rows[-1].swept == {"remix.vocal_gain": 2}
    for wrong in ("index_rat=1", "index_rate", "=1", "index_rate="):
        with pytest.raises(UnderstudyError):
            parse_sweeps([wrong])


def test_hidden_files_and_covers_in_a_folder_are_no_songs(tmp_path: Path) -> None:
    (tmp_path / "._a.mp3").write_bytes(b"")
    with scratch_context() as context:
        sound = Audio(np.full((1, 8000), 0.1, np.float32), 8000)
        encode(context, sound, tmp_path / "a (nova).flac", parse_format("flac"), cover_tags(Tags(title="a"), "nova"))
        encode(context, sound, tmp_path / "b.flac", parse_format("flac"), Tags(title="b"))
    for source in (tmp_path, tmp_path / "*.flac"):
        assert [row.song and row.song.name for row in _rows([str(source)], ["nova"])] == ["b.flac"]
