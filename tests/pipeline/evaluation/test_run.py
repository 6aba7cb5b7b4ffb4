from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.stem_songs import RATE, song, stem, write
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.evaluation.dataset import Dataset, find_songs
from understudy.pipeline.evaluation.run import JOURNAL, Candidate, Outcome, Row, evaluate
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.journal import Journal
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.store import Store

EMBEDDED = Candidate("embedded", SeparationSettings())


@pytest.fixture(autouse=True)
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.pipeline.evaluation.bss_eval.TAPS", 32)


class Bench:
    def __init__(self, root: Path) -> None:
        self.root, self.ran = root, list[str]()
        (root / "out").mkdir()

    def songs(self, count: int) -> Bench:
        for number in range(count):
            song(self.root / "songs" / f"Song {number}", number)
        return self

    @property
    def dataset(self) -> Dataset:
        return find_songs(self.root / "songs")

    def listen(self, name: str, song: object, event: StageEvent | Row) -> None:
        if isinstance(event, StageEvent) and event.state == "started":
            self.ran.append(event.node)

    def run(self, *candidates: Candidate, at_once: int = 1, cancelled: Event | None = None) -> Outcome:
        self.ran.clear()
        executor = LocalExecutor(Store(self.root / "cache"), workers=1)
        return evaluate(
            self.dataset, candidates or (EMBEDDED,), 2, self.root / "out", executor, self.listen,
            cancelled or Event(), at_once,
        )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_row_for_each_song(bench: Bench) -> None:
    outcome = bench.songs(2).run()
    assert [(row.song, row.state) for row in outcome.rows] == [("Song 0", "done"), ("Song 1", "done")]
    first = outcome.rows[0]
    assert first.stems.keys() == {"vocals", "instrumental"}
    assert first.duration == 3.0
    assert first.rate == RATE
    assert first.seconds is not None
    assert first.seconds > 0
    assert first.rtf == pytest.approx(first.seconds / 3)
    assert first.device == "cpu"


def test_a_second_run_does_nothing_again(bench: Bench) -> None:
    before = bench.songs(2).run()
    after = bench.run()
    assert bench.ran == []
    assert after.kept == 2
    assert after.rows == before.rows


def test_a_killed_run_goes_on(bench: Bench) -> None:
    bench.songs(3).run()
    journal = bench.root / "out" / JOURNAL
    lines = journal.read_text().splitlines()
    journal.write_text(lines[0] + "\n" + lines[1][:40])  # killed while writing the second
    outcome = bench.run()
    assert outcome.kept == 1
    assert [row.state for row in outcome.rows] == ["done"] * 3
    assert "separate" not in bench.ran  # the stems were there
    assert len(Journal(bench.root / "out" / JOURNAL, Row).read()) == 3


def test_a_journal_lost_costs_no_separation(bench: Bench) -> None:
    before = bench.songs(1).run()
    (bench.root / "out" / JOURNAL).unlink()
    after = bench.run()
    assert bench.ran == []  # scores are artifacts, too
    assert after.rows[0].stems == before.rows[0].stems
    assert after.rows[0].seconds == before.rows[0].seconds
    assert after.rows[0].peak_mib is None


def test_a_song_with_another_truth_is_scored_anew_and_not_separated(bench: Bench) -> None:
    bench.songs(1).run()
    write(bench.root / "songs" / "Song 0", vocals=stem(99))
    bench.run()
    assert bench.ran == ["score"]


def test_a_broken_song_is_a_row_and_the_rest_goes_on(bench: Bench) -> None:
    bench.songs(3)
    (bench.root / "songs" / "Song 0" / "mixture.wav").write_bytes(b"RIFF and then nothing")
    write(bench.root / "songs" / "Song 1", vocals=stem(1, 9.0))
    outcome = bench.run()
    assert [(row.state, row.code) for row in outcome.rows] == [
        ("failed", "not-audio"),
        ("failed", "truth-length"),
        ("done", ""),
    ]
    assert "mixture.wav" in outcome.rows[0].reason


def test_what_failed_is_tried_again(bench: Bench) -> None:
    bench.songs(1)
    good = (bench.root / "songs" / "Song 0" / "mixture.wav").read_bytes()
    (bench.root / "songs" / "Song 0" / "mixture.wav").write_bytes(b"")
    assert bench.run().rows[0].code == "file-empty"
    (bench.root / "songs" / "Song 0" / "mixture.wav").write_bytes(good)
    assert bench.run().rows[0].state == "done"


def test_one_more_candidate_costs_that_one_only(bench: Bench) -> None:
    bench.songs(1).run()
    other = Candidate("again", SeparationSettings())
    outcome = bench.run(EMBEDDED, other)
    assert [row.candidate for row in outcome.rows] == ["embedded", "again"]
    assert outcome.kept == 1


def test_what_other_candidates_did_with_these_songs_stays_in_sight(bench: Bench) -> None:
    bench.songs(2).run(Candidate("before", SeparationSettings()))
    write(bench.root / "songs" / "Song 1", vocals=stem(99))
    outcome = bench.run()
    assert [(row.candidate, row.song) for row in outcome.others] == [("before", "Song 0")]


def test_several_songs_at_once_give_the_same(bench: Bench) -> None:
    one_by_one = bench.songs(3).run()
    (bench.root / "out" / JOURNAL).unlink()
    at_once = bench.run(at_once=3)
    assert [row.song for row in at_once.rows] == [row.song for row in one_by_one.rows]
    assert [row.stems for row in at_once.rows] == [row.stems for row in one_by_one.rows]


def test_an_unknown_separator_is_told_before_anything_runs(bench: Bench) -> None:
    bench.songs(1)
    with pytest.raises(UnderstudyError) as error:
        bench.run(EMBEDDED, Candidate("nobody", SeparationSettings(model="nobody")))
    assert error.value.code == "separator-unknown"
    assert bench.ran == []


def test_can_be_cancelled(bench: Bench) -> None:
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        bench.songs(1).run(cancelled=cancelled)


def test_lines_of_other_versions_are_no_rows(bench: Bench) -> None:
    journal = Journal(bench.root / "out" / JOURNAL, Row)
    row = bench.songs(1).run().rows[0]
    with journal.path.open("a") as file:
        file.write(json.dumps({"identity": "x", "stems": {"vocals": {"what": 1}}, "notices": []}) + "\nnull\n{}\n")
    assert list(journal.read()) == [row.identity]


def test_a_silent_song_is_a_row(bench: Bench) -> None:
    silent = np.zeros((2, 3 * RATE))
    write(bench.root / "songs" / "A", mixture=silent, vocals=silent, instrumental=silent)
    assert bench.run().rows[0].code == "song-silent"
