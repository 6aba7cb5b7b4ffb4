"""The blocklist keeps embeddings alone, and refuses recordings that are near to one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.recording_takes import take, write
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import blocklist, library, recordings


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_BLOCKLIST", str(tmp_path / "list" / "blocklist.jsonl"))
    return tmp_path / "list" / "blocklist.jsonl"


def at(degrees: float) -> np.ndarray:
    """A unit vector at an angle to the first axis."""
    vector = np.zeros(256, np.float32)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


def test_who_is_near_to_a_print_is_refused(path: Path) -> None:
    blocklist.refuse_listed([at(0)])
    made = blocklist.add([at(-5), at(5)])
    limit = float(np.degrees(np.arccos(blocklist.THRESHOLD)))
    blocklist.refuse_listed([None, at(limit + 1)])
    with pytest.raises(UnderstudyError) as refused:
        blocklist.refuse_listed([at(90), at(limit - 1)])
    assert (refused.value.code, made.id in refused.value.hint) == ("voice-blocked", True)
    (line,) = path.read_text().splitlines()
    assert json.loads(line).keys() == {"id", "added", "embedding"}
    blocklist.remove(made.id)
    blocklist.refuse_listed([at(0)])
    with pytest.raises(UnderstudyError, match="no print"):
        blocklist.remove(made.id)


def test_a_list_that_cannot_be_read_is_not_an_empty_one(path: Path) -> None:
    blocklist.add([at(0)])
    path.write_text(path.read_text() + '{"id": "x"}\n')
    with pytest.raises(UnderstudyError) as refused:
        blocklist.refuse_listed([at(90)])
    assert refused.value.code == "blocklist-unreadable"


def test_recordings_of_a_listed_person_make_no_voice(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    context = Context(tmp_path / "work")
    blocklist.add(recordings.embeddings(context, [write(tmp_path / "a.wav", take(6))], context.folder))
    other = write(tmp_path / "b.wav", take(7, seed=1))
    with pytest.raises(UnderstudyError) as refused:
        library.add(tmp_path / "library", "nova", [other], "self", context)
    assert refused.value.code == "voice-blocked"
    assert library.list_voices(tmp_path / "library") == []
