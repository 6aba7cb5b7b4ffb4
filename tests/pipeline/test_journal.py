from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.journal import Journal
from understudy.services.batch.run import Outcome


def test_the_latest_outcome_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "batch.jsonl", Outcome)
    assert journal.read() == {}
    journal.add(Outcome("one", "a.wav", "nova", "failed", reason="no"))
    journal.add(Outcome("two", "b.wav", "nova", "done", warnings=("soft",)))
    journal.add(Outcome("one", "a.wav", "nova", "done", loudness=-9.5))
    assert {name: outcome.state for name, outcome in journal.read().items()} == {"one": "done", "two": "done"}
    assert journal.read()["two"].warnings == ("soft",)


def test_a_line_that_a_kill_cut_off_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "batch.jsonl", Outcome)
    journal.add(Outcome("one", "a.wav", "nova", "done"))
    with journal.path.open("ab") as file:
        file.write(b'{"identity": "two", "sta')
    assert list(journal.read()) == ["one"]
    journal.add(Outcome("three", "c.wav", "nova", "done"))
    assert list(journal.read()) == ["one", "three"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said() -> None:
    with pytest.raises(UnderstudyError) as caught:
        Journal(Path("/dev/full"), Outcome).add(Outcome("1", "song", "nova", "done"))
    assert caught.value.code == "disk-full"
