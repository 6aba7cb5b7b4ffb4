"""The table of a batch, as a spreadsheet and as a page from disk."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.services.web.conftest import CHROMIUM
from tests.support.pages import HOSTILE, Page
from understudy.pipeline.settings import CoverSettings
from understudy.services.batch.chart import Row, Singers
from understudy.services.batch.plan import Item, Plan, Skipped
from understudy.services.batch.run import Outcome
from understudy.services.batch.table import write_table


def _item(folder: Path, number: int, song: str, **row: object) -> Item:
    made = Row(f"line {number}", folder / f"{song}.mp3", Singers("nova"), **row)  # type: ignore[arg-type]
    return Item(
        number=number,
        row=made,
        song=folder / f"{song}.mp3",
        content=song,
        duration=200.0,
        title=song,
        artist="Nena" if song == "One" else "",
        voice_name="nova",
        settings=CoverSettings(),
        output=folder / f"{number}.flac",
        identity=str(number),
    )


def _done(number: int, verdict: str, grade: float, reason: str = "", similarity: float | None = None) -> Outcome:
    return Outcome(
        str(number),
        "song",
        "nova",
        "done",
        cover=f"{number}.flac",
        report=f"{number}.report.html",
        duration=200.0,
        seconds=95.0,
        verdict=verdict,
        grade=grade,
        reason=reason,
        similarity=similarity,
        bpm=120.0,
        song_key="F# minor",
    )


def _written(folder: Path) -> dict[str, Path]:
    items = (
        _item(folder, 1, "Two", swept={"index_rate": 0.25}, carried={"Label": "Sub Pop", "number": "=7"}),
        _item(folder, 2, "Two", swept={"index_rate": 0.5}, carried={"Label": HOSTILE}),
        _item(folder, 3, "One"),
        _item(folder, 5, "Three"),
    )
    outcomes = {
        "1": _done(1, "mind", 62.0, "The vocal is late.", 0.71),
        "2": _done(2, "good", 91.0, "All figures are where they should be.", 0.69),
        "3": _done(3, "wrong", 12.0, "The cover is silent."),
        "5": Outcome("5", "Three.mp3", "nova", "failed", code="song-silent", reason="It is silent."),
    }
    skipped = Skipped(4, Row("line 4", None, Singers("")), ("it names no song",))
    return write_table(folder, Plan(items, (skipped,), ()), outcomes)


def test_the_spreadsheet_has_reasons_paths_ranks_and_the_charts_own_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with _written(tmp_path)["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["number"], line["rank"]) for line in lines] == [
        ("2", "1"),
        ("1", "2"),
        ("3", ""),
        ("4", ""),
        ("5", ""),
    ]
    best, second, wrong, skipped, failed = lines
    assert best["reason"] == "All figures are where they should be."
    assert (best["cover"], best["song_path"]) == (str(tmp_path / "2.flac"), str(tmp_path / "Two.mp3"))
    assert (best["similarity"], best["bpm"], best["song_key"], best["swept"]) == (
        "0.69",
        "120.00",
        "F# minor",
        "index_rate 0.5",
    )
    assert (second["Label"], second["chart number"]) == ("Sub Pop", "'=7")
    assert (wrong["title"], wrong["artist"]) == ("One", "Nena")
    assert (skipped["state"], skipped["reason"]) == ("skipped", "it names no song")
    assert (failed["state"], failed["reason"]) == ("failed", "It is silent.")


def test_the_track_list_has_the_best_of_each_and_the_total_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _written(tmp_path)["m3u8"].read_text().splitlines() == [
        "#EXTM3U",
        f"#PLAYLIST:{tmp_path.name} (6:40)",
        "#EXTINF:200,Two (nova cover)",
        "2.flac",
        "#EXTINF:200,Nena - One (nova cover)",
        "3.flac",
    ]


def test_what_a_chart_holds_stays_text_on_the_page(tmp_path: Path) -> None:
    page = Page(_written(tmp_path)["html"].read_text())
    assert "alert" not in page.text("script")
    assert not [name for name, _ in page.elements if name == "img"]
    assert HOSTILE in page.text("td")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed; CI installs one")
@pytest.mark.slow
def test_the_page_sorts_and_filters_by_keyboard_from_disk(tmp_path: Path) -> None:
    address = _written(tmp_path)["html"].as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)

        def numbers() -> list[str]:
            return page.locator("tbody tr:visible td[data-column=number]").all_inner_texts()

        def press(column: str) -> None:
            page.locator(f"th[data-column={column}] button").focus()
            page.keyboard.press("Enter")

        assert numbers() == ["2", "1", "3", "4", "5"]
        press("verdict")
        assert numbers() == ["2", "1", "3", "5", "4"]
        press("similarity")
        assert numbers()[:2] == ["2", "1"]
        press("similarity")
        assert numbers()[:2] == ["1", "2"]  # those without a figure stay last
        assert page.locator("th[data-column=similarity]").get_attribute("aria-sort") == "descending"
        press("title")
        assert numbers() == ["3", "5", "2", "1", "4"]
        page.get_by_label("Search").fill("nena silent")
        assert numbers() == ["3"]
        page.get_by_label("Search").fill("")
        page.get_by_label("Show").select_option("skipped")
        assert numbers() == ["4"]
        assert page.locator("#shown").inner_text() == "1 of 5 shown"
        browser.close()
    assert errors == []
