"""RVC voices on the command line: in from what fans have, listed, shown, out again."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.command import Workspace
from tests.support.rvc_files import small, write_random_index, write_random_pth


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
