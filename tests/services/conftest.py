"""A user's folder with a song, its true stems and recordings of a voice; an empty database of each kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import soundfile
from sqlalchemy import create_engine, text

from tests.support import postgres, signals
from tests.support.command import Workspace


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    with postgres.server() as socket:
        yield socket


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The setting `database`: empty for SQLite."""
    return "" if request.param == "sqlite" else new_database(request.getfixturevalue("postgres_server"))


def server_database(request: pytest.FixtureRequest) -> str:
    """The setting `database` for tests of a whole API: PostgreSQL where it is installed. Those of the command line and
    of the page run on SQLite, those of the queue on both."""
    return "" if postgres.programs() is None else new_database(request.getfixturevalue("postgres_server"))


def new_database(socket: str) -> str:
    """The URL of an empty database of the PostgreSQL server whose socket is in that folder."""
    name = f"t{uuid4().hex[:12]}"
    engine = create_engine(postgres.url(socket), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.url(socket, name)
