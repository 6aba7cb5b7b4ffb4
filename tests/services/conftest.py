"""A song, a voice and a way to run the command as a user does: as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support import signals

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "understudy"]


@dataclass(frozen=True)
class Workspace:
    """A user's folder with a song, its true stems and recordings of a voice; library and cache lie in it, too."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")},
            "PYTHONPATH": str(ROOT),
            "UNDERSTUDY_VOICES": str(self.folder / "voices"),
            "UNDERSTUDY_CACHE": str(self.folder / "cache"),
            "UNDERSTUDY_MODELS": str(self.folder / "models"),
        }

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def run(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str) -> dict[str, Any]:
        """What a command that must succeed prints with --json: one object and nothing else."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _filled(folder: Path) -> Workspace:
    song = signals.song(6.0)
    for name, sound in (("song", song.mix), ("vocals", song.vocals), ("instrumental", song.mix)):
        samples = sound.samples - song.vocals.samples if name == "instrumental" else sound.samples
        soundfile.write(folder / f"{name}.wav", samples.T, sound.rate, subtype="FLOAT")
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2) * 2, "aeioaeiu" * 2, strict=True)
    low = [signals.Note(45 + step, 0.8, vowel, "s") for step, vowel in steps]
    sung, _ = signals.singing(low, formants=0.9, seed=1)
    soundfile.write(folder / "recording.wav", sung.samples.T, sung.rate, subtype="PCM_16")
    _spoil(folder)
    workspace = Workspace(folder)
    workspace.json("voices", "add", "nova", "recording.wav", "--consent", "self")
    return workspace


def _spoil(folder: Path) -> None:
    """Every kind of bad song that a user may come with."""
    (folder / "text.mp3").write_text("not a song\n" * 100)
    (folder / "empty.wav").write_bytes(b"")
    whole = (folder / "song.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    rate = 44100
    soundfile.write(folder / "silent.wav", np.zeros((rate, 2)), rate)
    soundfile.write(folder / "wide.wav", np.zeros((100, 96)), rate)
    soundfile.write(folder / "nan.wav", np.full((rate, 1), np.nan, np.float32), rate, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.zeros(3 * 3600 * 8000, np.int16), 8000, subtype="PCM_U8")


@pytest.fixture(scope="session")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all tests of a process that leave it as it was, apart from cache and new files."""
    return _filled(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(shared_workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of its own: the shared_workspace one's songs (good and bad) and voices, an empty cache."""
    for entry in shared_workspace.folder.iterdir():
        if entry.suffix in (".wav", ".mp3") or entry.name == "voices":
            os.symlink(entry, tmp_path / entry.name)
    return Workspace(tmp_path)
