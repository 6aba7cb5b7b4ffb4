from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.stem_songs import song
from understudy.services.cli.main import main


@pytest.fixture(autouse=True)
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.pipeline.evaluation.bss_eval.TAPS", 32)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["understudy", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_from_folder_to_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        song(tmp_path / "songs" / "test" / f"Song {number}", number)
    assert run(monkeypatch, "songs", "--cache", "cache", "--limit", 2, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [one["song"] for one in data["songs"]] == ["test/Song 0", "test/Song 1"]
    assert {one["model"] for one in data["summaries"]} == {"embedded"}
    assert all(Path(path).is_file() for path in data["files"].values())
    assert Path(data["files"]["html"]).parent == Path("evaluations/songs")
    assert run(monkeypatch, "songs", "--cache", "cache", "--quiet") == 0
    assert "embedded" in capsys.readouterr().out


def test_nothing_evaluated_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (song(tmp_path / "songs" / "A") / "mixture.wav").write_bytes(b"nothing")
    assert run(monkeypatch, "songs", "--cache", "cache", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "nothing-evaluated"


def test_a_song_that_failed_is_told_and_the_exit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "songs" / "A")
    (song(tmp_path / "songs" / "B") / "vocals.wav").write_bytes(b"")
    assert run(monkeypatch, "songs", "--cache", "cache", "--quiet", "--out", "here") == 1
    told = capsys.readouterr().out
    assert "failed B (embedded)" in told
    assert (tmp_path / "here" / "evaluation.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere"], "folder-not-found"),
        (["songs", "--model", "nobody"], "separator-unknown"),
        (["."], "dataset-empty"),
    ],
)
def test_what_can_be_known_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "songs" in arguments:
        song(tmp_path / "songs" / "A")
    assert run(monkeypatch, *arguments, "--cache", "cache", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code
