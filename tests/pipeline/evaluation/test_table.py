from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.pipeline.evaluation.plots import differences, strips
from understudy.pipeline.evaluation.run import Row
from understudy.pipeline.evaluation.score import Figures
from understudy.pipeline.evaluation.summary import comparisons, interval, speeds, summaries
from understudy.pipeline.evaluation.table import text_table, write_tables


def row(candidate: str, song: str, sdr: float | None, **changes: object) -> Row:
    stems = {"vocals": Figures(sdr, sdr, -6.0, sdr, sdr, sdr, sdr, 3), "instrumental": Figures(sdr, sdr, -3.0)}
    values: dict[str, object] = {"stems": stems, "seconds": 2.0, "rtf": 0.5, "peak_mib": 100.0, "duration": 4.0}
    return Row(f"{candidate}{song}", song, candidate, song, "", 2, "done", **{**values, **changes})  # type: ignore[arg-type]


ROWS = [row("one", f"Song {n}", value) for n, value in enumerate((1.0, 2.0, 3.0, 4.0, 10.0))] + [
    row("two", f"Song {n}", value) for n, value in enumerate((2.0, 4.0, 3.05, 3.0, 11.0))
]
FAILED = Row("x", "", "one", "=cmd<b>&", "", 2, "failed", code="not-audio", reason="It is <script>alert(1)</script>.")


def test_sdr_is_a_mean_over_songs_and_bss_eval_a_median() -> None:
    one = next(one for one in summaries(ROWS) if (one.candidate, one.stem) == ("one", "vocals"))
    assert one.values["sdr"] == pytest.approx(4.0)
    assert one.values["bss_sdr"] == pytest.approx(3.0)
    assert one.songs == 5
    assert one.low is not None
    assert one.high is not None
    assert one.low < 4.0 < one.high


def test_silent_stems_are_left_out() -> None:
    (vocals, _) = summaries([row("one", "A", 5.0), row("one", "B", None)])
    assert vocals.songs == 1
    assert vocals.values["sdr"] == 5.0
    assert vocals.low is None


def test_comparisons_are_by_song() -> None:
    found = next(one for one in comparisons(ROWS) if one.stem == "vocals")
    assert (found.candidate, found.against) == ("two", "one")
    assert found.mean == pytest.approx(np.mean([1, 2, 0.05, -1, 1]))
    assert (found.better, found.worse) == (3, 1)


def test_only_songs_that_both_have_are_compared() -> None:
    found = comparisons([*ROWS[:5], row("two", "Song 0", 3.0), row("two", "elsewhere", 30.0)])
    assert found[0].differences == {"Song 0": 2.0}
    assert found[0].low is None


def test_speeds_count_what_failed() -> None:
    one = speeds([*ROWS, FAILED])[0]
    assert (one.done, one.failed, one.rtf, one.seconds, one.peak_mib) == (5, 1, 0.5, 2.0, 100.0)


@given(st.lists(st.floats(-30, 30), min_size=5, max_size=30))
def test_the_interval_holds_the_mean(values: list[float]) -> None:
    low, high = interval(values)
    assert low is not None
    assert high is not None
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_files(tmp_path: Path) -> None:
    files = write_tables(tmp_path, "my <songs>", [*ROWS, FAILED], ["Song X was passed over."])
    with files["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 21
    assert (lines[0]["model"], lines[0]["stem"], lines[0]["sdr"]) == ("one", "vocals", "1.0000")
    assert lines[-1]["song"] == "'=cmd<b>&"
    data = json.loads(files["json"].read_text())
    assert data["songs"][0]["stems"]["vocals"]["sir"] == 1.0
    assert data["summaries"][0]["model"] == "one"
    page = files["html"].read_text()
    assert "<script" not in page
    assert "Song X was passed over." in page
    assert page.count('<svg class="chart"') == 3 + 2  # SDR of both, SIR of vocals; differences of both
    assert "http" not in page.replace("http-equiv", "")
    Balanced().feed(page)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.csv", "evaluation.html", "evaluation.json"]


def test_nothing_but_failures_is_a_page_too(tmp_path: Path) -> None:
    assert "Failed:" in write_tables(tmp_path, "songs", [FAILED], [])["html"].read_text()
    assert text_table([FAILED])


def test_the_text() -> None:
    text = text_table([*ROWS, FAILED])
    assert "4.00" in text
    assert "two against one, vocals: +0.61 dB SDR" in text
    assert max(map(len, text.splitlines())) <= 120


@given(st.dictionaries(st.text(max_size=40), st.floats(-300, 300), min_size=1, max_size=70))
def test_plots_of_anything_are_well_formed(values: dict[str, float]) -> None:
    from xml.etree import ElementTree

    printable = {"".join(letter for letter in name if letter.isprintable()): value for name, value in values.items()}
    for drawing in (strips({"one": printable, "two": {}}, "dB", "label"), differences(printable, "dB", "label")):
        for element in ElementTree.fromstring(drawing).iter():
            for name in ("x", "x1", "cx", "width"):
                assert -1 <= float(element.get(name, "0")) <= 1001


class Balanced(HTMLParser):
    """Fails where a tag is closed that isn't open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
