"""The examples run as they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.support.python_user import RATE, SECONDS, Workspace, make_workspace

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("examples"))


def run(workspace: Workspace, name: str, *arguments: str) -> list[str]:
    """The lines that an example prints, which must say nothing on stderr."""
    environment = {
        **os.environ,
        "UNDERSTUDY_VOICES": str(workspace.folder / "voices"),
        "UNDERSTUDY_CACHE": str(workspace.folder / "cache"),
        "UNDERSTUDY_MODELS": str(workspace.folder / "models"),
        "UNDERSTUDY_DEVICE": "cpu",
    }
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=workspace.folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.slow
def test_one_cover(workspace: Workspace):
    lines = run(workspace, "one_cover", "song.wav", "recording.wav")
    assert lines[0] == "covers/song (nova).flac"
    assert "LUFS" in lines[1]
    assert soundfile.info(workspace.folder / lines[0]).duration == pytest.approx(SECONDS)


@pytest.mark.slow
def test_batch_of_arrays(workspace: Workspace):
    before = set(workspace.folder.rglob("*.flac"))
    lines = run(workspace, "batch_of_arrays", "covers.npz", "song.wav", "instrumental.wav")
    assert [line.split("\t")[0] for line in lines] == ["song", "song.wav", "instrumental.wav"]
    covers = np.load(workspace.folder / "covers.npz")
    assert [covers[name].shape for name in covers] == [workspace.mix.samples.shape] * 2
    assert {path for path in workspace.folder.rglob("*.flac") if "cache" not in path.parts} <= before


@pytest.mark.slow
def test_own_separator(workspace: Workspace):
    lines = run(workspace, "own_separator", "song.wav")
    assert lines == ["stems/song/vocals.flac", "stems/ensemble/vocals.flac"]
    song = workspace.mix.samples
    stems = {
        name: soundfile.read(workspace.folder / "stems" / "song" / f"{name}.flac", dtype="float32")[0].T
        for name in ("vocals", "instrumental")
    }
    assert np.abs(stems["vocals"] + stems["instrumental"] - song).max() < 1e-4
    spectrum = np.fft.rfft(song.mean(axis=0))
    frequencies = np.fft.rfftfreq(song.shape[1], 1 / RATE)
    spectrum[(frequencies < 150) | (frequencies > 8000)] = 0
    assert np.abs(stems["vocals"] - np.fft.irfft(spectrum, song.shape[1])).max() < 1e-4


@pytest.mark.slow
def test_stems_into_reaper(workspace: Workspace):
    assert run(workspace, "stems_into_reaper", "song.wav", "project.rpp") == ["project.rpp"]
    text = (workspace.folder / "project.rpp").read_text()
    files = [Path(line.split('"')[1]) for line in text.splitlines() if line.strip().startswith("FILE")]
    assert [path.name for path in files] == ["vocals.flac", "instrumental.flac", "song.wav"]
    assert all(path.is_file() for path in files)
    assert text.count("<") == text.count("\n  >") + text.count("\n    >") + text.count("\n      >") + text.count("\n>")
    assert f"LENGTH {SECONDS:.6f}" in text


@pytest.mark.slow
def test_serve_in_your_own_app(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("UNDERSTUDY_VOICES", str(workspace.folder / "voices"))
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(workspace.folder / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLES.parent))
    example = import_module("examples.serve_in_your_own_app")
    song = (workspace.folder / "song.wav").read_bytes()
    with TestClient(example.app) as client:
        refused = client.post("/covers", params={"voice": "vega"}, files={"song": ("song.wav", song)})
        assert (refused.status_code, refused.json()["code"]) == (422, "voice-unknown")
        id = client.post("/covers", params={"voice": "nova"}, files={"song": ("song.wav", song)}).json()["id"]
        assert client.get(f"/covers/{id}").json()["state"] in ("running", "finished")
        example.jobs[id].future.result()
        done = client.get(f"/covers/{id}").json()
        assert (done["state"], done["done"]) == ("finished", 1.0)
        assert client.get(f"/covers/{id}/audio").headers["content-type"] == "audio/mpeg"
        broken = client.post("/covers", params={"voice": "nova"}, files={"song": ("a.wav", b"no song")}).json()["id"]
        with pytest.raises(Exception, match=r"."):
            example.jobs[broken].future.result()
        assert client.get(f"/covers/{broken}").json()["code"] == "not-audio"
        assert client.get("/covers/none").status_code == 404
