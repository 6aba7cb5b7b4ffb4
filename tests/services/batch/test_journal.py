from __future__ import annotations

from pathlib import Path

from understudy.services.batch.journal import Journal, Outcome


def test_the_latest_outcome_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.read() == {}
    journal.add(Outcome("one", "failed", "a.wav", "nova", reason="no"))
    journal.add(Outcome("two", "done", "b.wav", "nova", warnings=("soft",)))
    journal.add(Outcome("one", "done", "a.wav", "nova", loudness=-9.5))
    assert {name: outcome.state for name, outcome in journal.read().items()} == {"one": "done", "two": "done"}
    assert journal.read()["two"].warnings == ("soft",)


def test_a_line_that_a_kill_cut_off_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(Outcome("one", "done", "a.wav", "nova"))
    with journal.path.open("ab") as file:
        file.write(b'{"identity": "two", "sta')
    assert list(journal.read()) == ["one"]
    journal.add(Outcome("three", "done", "c.wav", "nova"))
    assert list(journal.read()) == ["one", "three"]
