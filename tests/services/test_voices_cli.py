"""RVC voices on the command line: in from what fans have, listed, shown, out again."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.command import Workspace
from tests.support.library_voices import TRAINED, recorded_voice, small_model
from tests.support.rvc_files import small, write_random_index, write_random_pth
from understudy.voices import library


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.mark.slow
def test_there_and_back(empty: Workspace) -> None:
    write_random_pth(empty.folder / "Nova Star [250 Epochs].pth", small())
    write_random_index(empty.folder / "added_1.index", vectors=60)
    with zipfile.ZipFile(empty.folder / "nova.zip", "w") as packed:
        packed.write(empty.folder / "Nova Star [250 Epochs].pth", "model.pth")
        packed.write(empty.folder / "added_1.index", "model.index")
    made = empty.json("voices", "import", "nova.zip", "--consent", "granted", "--speaker", "1")
    assert (made["name"], made["engine"], made["findings"]) == ("nova", "rvc", [])
    assert made["model"]["index"]["vectors"] == 60
    shown = empty.run("voices", "show", "nova").stdout
    for told in ("v2", "16 kHz", "index of 60 vectors", "speaker 1 of 3", "20epoch", "model.pth"):
        assert told in shown
    assert "rvc" in empty.run("voices", "list").stdout
    exported = empty.json("voices", "export", "nova", "--output", "out.pth")
    assert exported["files"] == ["out.pth", "out.index"]
    again = empty.json("voices", "import", "out.pth", "--index", "out.index", "--consent", "granted")
    assert again["name"] == "out"
    assert again["content_hash"] == made["content_hash"]
    assert empty.run("voices", "export", "nova").returncode != 0, "nova.zip is there already"
    empty.json("voices", "export", "nova", "--output", "ours.zip")
    ours = empty.json("voices", "import", "ours.zip", "--name", "ours")
    assert (ours["content_hash"], ours["consent"]) == (made["content_hash"], "granted")


def test_a_voice_with_recordings_and_a_model(empty: Workspace) -> None:
    root = empty.folder / "voices"
    before = recorded_voice(root).manifest
    assert empty.run("voices", "list").stdout == "nova  instant, 17 s in 2 recordings, 150 to 440 Hz\n"
    library.publish_model(root, "nova", before.recordings_hash, small_model(), None, TRAINED, default=True)
    listed = " ".join(empty.run("voices", "list").stdout.split())
    rvc, instant = "rvc, v2, 16 kHz, no index, trained here", "instant, 17 s in 2 recordings, 150 to 440 Hz"
    assert listed == f"nova {rvc}; also {instant}"
    shown = empty.run("voices", "show", "nova").stdout
    for told in (
        "sings with rvc by default",
        "trained here on 2026-11-30: 2,400 steps, similarity 0.610, from rvc-base-48k",
        "take 2.wav: 8.5 s",
    ):
        assert told in shown
    assert "embedder" not in shown
    used = empty.json("voices", "use", "nova", "instant")
    assert (used["engine"], used["engines"]) == ("instant", ["instant", "rvc"])
    assert used["content_hash"] == before.content_hash
    assert used["model"]["trained"]["base"] == "rvc-base-48k"
    assert " ".join(empty.run("voices", "list").stdout.split()) == f"nova {instant}; also {rvc}"
    exported = empty.json("voices", "export", "nova", "--format", "rvc")
    assert exported["files"] == ["nova.pth"]
    missing = empty.run("voices", "use", "vega", "rvc")
    assert missing.returncode != 0
    assert "vega" in missing.stderr


@pytest.mark.slow
def test_refusals_are_two_lines(empty: Workspace) -> None:
    write_random_pth(empty.folder / "a.pth", small())
    (empty.folder / "b.pth").write_bytes(b"cos\nsystem\n(S'touch marker'\ntR.")
    for arguments, told in (
        (["a.pth"], "--consent"),
        (["b.pth", "--consent", "self"], "os.system"),
        (["a.pth", "--consent", "self", "--speaker", "7"], "speaker 7"),
        (["c.pth", "--consent", "self"], "c.pth"),
    ):
        done = empty.run("voices", "import", *arguments)
        assert done.returncode != 0
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert lines[0].startswith("Error: ")
        assert any(line.startswith("Do: ") for line in lines)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert not (empty.folder / "marker").exists()
