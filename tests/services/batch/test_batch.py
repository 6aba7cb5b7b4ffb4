"""Batches as a user runs them: as a process, on songs, with a kill in the middle."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import httpx
import pytest
import soundfile

from tests.support import signals
from tests.support.command import HANGS, Workspace, until
from tests.support.server import serve
from understudy.pipeline.journal import Journal
from understudy.pipeline.provenance.manifest import unsigned_hash
from understudy.services.batch.run import Outcome


def _songs(workspace: Workspace, count: int) -> None:
    for number in range(1, count + 1):
        sound = signals.song(2.0 + number).mix
        soundfile.write(workspace.folder / f"hit {number}.wav", sound.samples.T, sound.rate)


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "batch.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_chart_is_made_and_kept(workspace: Workspace) -> None:
    _songs(workspace, 2)
    header = "song,voice,vocal_gain,video,loudness"
    rows = (header, "hit 1.wav,nova", "hit 1.wav,nova,3", "hit 2.wav,nova,,portrait,apple")
    (workspace.folder / "chart.csv").write_text("\n".join(rows))
    planned = workspace.json("batch", "chart.csv", "--dry-run")
    assert planned["to_make"] == 3
    assert not list((workspace.folder / "covers" / "chart").iterdir())
    made = workspace.json("batch", "chart.csv")
    assert made["made"] == 3
    folder = workspace.folder / "covers" / "chart"
    assert {path.name for path in folder.glob("*.flac")} == {
        "hit 1 (nova).flac",
        "hit 1 (nova, vocal +3 dB).flac",
        "hit 2 (nova, loudness apple).flac",
    }
    lines = _table(folder)
    assert [line["state"] for line in lines] == ["done"] * 3
    first = next(line for line in lines if line["number"] == "1")
    assert first["song_path"] == str(workspace.folder / "hit 1.wav")
    assert first["cover"] == str(folder / "hit 1 (nova).flac")
    assert first["title"] == "hit 1"
    assert [path.name for path in folder.glob("*.mp4")] == ["hit 2 (nova, loudness apple) portrait.mp4"]
    assert abs(float(next(line for line in lines if line["number"] == "3")["loudness"]) + 16) < 0.3
    report = json.loads((folder / "hit 1 (nova).flac.report.json").read_text())
    assert first["reason"] == report["verdict"]["reason"]
    assert {line["rank"] for line in lines} == {"1", "2", ""}  # two covers of one song and voice
    assert abs(float(first["loudness"]) - float(first["song_loudness"])) < 0.5
    page = (folder / "batch.html").read_text()
    assert 'src="hit%201%20%28nova%29.flac"' in page
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.flac")}
    assert workspace.json("batch", "chart.csv")["made"] == 3
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.flac")} == before


@pytest.mark.slow
def test_one_failure_costs_only_itself(workspace: Workspace) -> None:
    _songs(workspace, 1)
    done = workspace.run("batch", "hit 1.wav", "cut.wav", "--voice", "nova", "--set", "song.start=1.5")
    folder = workspace.folder / "covers"
    states = {row["song"]: row for row in _table(folder)}
    assert done.returncode == 1
    assert states["hit 1.wav"]["state"] == "done"
    assert states["cut.wav"]["state"] == "failed"
    assert states["cut.wav"]["code"]
    assert 'class="failed"' in (folder / "batch.html").read_text()
    again = workspace.run(
        "batch", "hit 1.wav", "cut.wav", "--voice", "nova", "--set", "song.start=1.5", "--only-failed"
    )
    assert "To make: 1," in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("song.wav", "text.mp3", "--voice", "nova"), "text.mp3"),
        (("song.wav", "--voice", "nobody"), "no voice named 'nobody'"),
        (("song.wav", "--voice", "nova", "--set", "remix.vocal_gain=loud"), "remix.vocal_gain"),
        (("missing.wav", "--voice", "nova"), "missing.wav"),
        (("song.wav",), "names no voice"),
    ],
)
def test_what_can_t_be_made_is_said_before_anything_is_made(
    shared_workspace: Workspace, arguments: tuple[str, ...], words: str
) -> None:
    done = shared_workspace.run("batch", *arguments, "--output", "nothing")
    assert done.returncode == 1
    assert words in done.stderr
    assert not list((shared_workspace.folder / "nothing").glob("*.flac"))


@pytest.mark.slow
def test_a_messy_chart_with_skip_invalid(workspace: Workspace) -> None:
    _songs(workspace, 1)
    (workspace.folder / "broken.mp3").write_bytes(b"not a song" * 1000)
    rows = ("Datei,Stimme,Label", "hit 1.wav,nova,Sub Pop", "broken.mp3,nova,", "gone.wav,nobody,", "hit 1.wav,,")
    (workspace.folder / "chart.csv").write_text("\n".join(rows))
    arguments = ("batch", "chart.csv", "--columns", "song=Datei,voice=Stimme")
    refused = workspace.run(*arguments)
    assert refused.returncode == 1
    for words in ("broken.mp3", "gone.wav", "'nobody'", "line 5: it names no voice", "--skip-invalid"):
        assert words in refused.stderr
    assert workspace.run(*arguments, "--skip-invalid").returncode == 1
    lines = _table(workspace.folder / "covers" / "chart")
    assert [line["state"] for line in lines] == ["done", "skipped", "skipped", "skipped"]
    assert lines[0]["Label"] == "Sub Pop"
    assert "broken.mp3" in lines[1]["reason"]
    assert "'nobody'" in lines[2]["reason"]


@pytest.mark.slow
def test_a_sweep_ranks_its_renderings(workspace: Workspace) -> None:
    _songs(workspace, 1)
    made = workspace.json("batch", "hit 1.wav", "--voice", "nova", "--sweep", "vocal_gain=0,12")
    assert [(cover["rank"], Path(cover["cover"]).name) for cover in made["covers"]] == [
        (1, "hit 1 (nova, vocal +0 dB).flac"),
        (2, "hit 1 (nova, vocal +12 dB).flac"),
    ]
    separations = [path for path in (workspace.folder / "cache").glob("artifacts/*/*/artifact.json")]
    stages = [json.loads(path.read_text())["stage"] for path in separations]
    assert stages.count("separate embedded") == 1
    assert stages.count("remix") == 2
    again = workspace.run("batch", "hit 1.wav", "--voice", "nova", "--sweep", "vocal_gain=0,12,3", "--dry-run")
    assert "To make: 1," in again.stderr
    assert "by what earlier covers took here" in again.stderr


@pytest.mark.slow
def test_a_watched_folder_until_ctrl_c(workspace: Workspace) -> None:
    _songs(workspace, 1)
    inbox = workspace.folder / "inbox"
    inbox.mkdir()
    song = (workspace.folder / "hit 1.wav").read_bytes()
    with workspace.process("batch", "inbox", "--voice", "nova", "--output", "out", "--watch") as process:
        (inbox / "hit.wav").write_bytes(song[: len(song) // 2])  # still being copied
        with (inbox / "hit.wav").open("ab") as file:
            file.write(song[len(song) // 2 :])
        until(lambda: (workspace.folder / "out" / "hit (nova).flac").is_file(), lambda: str(process.poll()))
        (inbox / "broken.wav").write_bytes(b"not a song" * 1000)
        (inbox / "later.wav").write_bytes(song)
        until(lambda: (workspace.folder / "out" / "later (nova).flac").is_file(), lambda: str(process.poll()))
        until(lambda: "later" in (workspace.folder / "out" / "batch.csv").read_text())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS)
    assert "2 of 3 covers are in out" in out, out + err
    assert "Traceback" not in err
    states = {Path(line["song_path"]).name: line["state"] for line in _table(workspace.folder / "out")}
    assert states == {"hit.wav": "done", "later.wav": "done", "broken.wav": "skipped"}


@pytest.mark.slow
def test_models_that_are_missing_are_said_before_anything_is_made(workspace: Workspace) -> None:
    done = workspace.run("batch", "song.wav", "--voice", "nova", "--preset", "studio", "--output", "nothing")
    assert done.returncode != 0
    assert "understudy models fetch --preset studio" in done.stderr
    assert not list((workspace.folder / "cache").glob("artifacts/*/*"))


@pytest.mark.slow
def test_a_killed_batch_goes_on_and_ends_with_the_same_bytes(workspace: Workspace) -> None:
    _songs(workspace, 3)
    arguments = ("batch", "hit *.wav", "--voice", "nova", "--output", "out")
    journal = workspace.folder / "out" / "batch.jsonl"
    with workspace.process(*arguments) as process:
        until(lambda: journal.is_file() and journal.stat().st_size)
        process.kill()
    # another cover may have been written whose line isn't in the journal yet: that one is written again
    done = [workspace.folder / made.cover for made in Journal(journal, Outcome).read().values()]
    kept = {path.name: path.stat().st_mtime_ns for path in done}
    assert kept
    assert workspace.json(*arguments)["made"] == 3
    files = sorted((workspace.folder / "out").glob("*.flac"))
    assert all(path.stat().st_mtime_ns == kept.get(path.name, path.stat().st_mtime_ns) for path in files)
    undisturbed = workspace.json(*arguments[:-1], "calm", "--cache", "another cache")
    assert undisturbed["made"] == 3
    for path in files:
        calm = workspace.folder / "calm" / path.name
        assert unsigned_hash(path) == unsigned_hash(calm) is not None  # signatures have random salts


@pytest.mark.slow
def test_the_same_batch_is_made_by_a_server(workspace: Workspace) -> None:
    _songs(workspace, 2)
    running = serve(workspace.folder, "--root-path", "/covers")
    address = f"{running.address}/covers"
    with running, httpx.Client(base_url=address, timeout=HANGS) as client:
        with (workspace.folder / "recording.wav").open("rb") as recording:
            form = {"name": "nova", "consent": "self"}
            made = client.post("/v1/voices", data=form, files={"recordings": recording}).json()
        until(lambda: client.get(f"/v1/voices/{made['id']}").json()["state"] == "ready")
        arguments = ("batch", "hit *.wav", "--voice", "nova", "--output", "out", "--server", address)
        assert workspace.json(*arguments, "--video", "portrait")["made"] == 2
        assert len(list((workspace.folder / "out").glob("hit ? (nova) portrait.mp4"))) == 2
        for row in _table(workspace.folder / "out"):
            assert soundfile.info(workspace.folder / row["cover"]).format == "FLAC"
            assert abs(float(row["loudness"]) - float(row["song_loudness"])) < 0.5
        unknown = workspace.run("batch", "hit *.wav", "--voice", "ada", "--output", "out", "--server", address)
        assert "You have no voice 'ada'" in unknown.stderr
    gone = workspace.run("batch", "hit *.wav", "--voice", "nova", "--output", "new", "--server", address)
    assert gone.returncode == 1
    assert "doesn't answer" in gone.stderr
