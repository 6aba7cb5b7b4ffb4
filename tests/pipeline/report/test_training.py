from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from tests.support import sound_files
from tests.support.pages import HOSTILE, Page
from understudy.context import Context
from understudy.pipeline.report.training import (
    HeardClip,
    TrainingRecord,
    UsedRecording,
    render,
    write_training_report,
)
from understudy.voices.rvc.training.choice import Choice
from understudy.voices.rvc.training.evaluation import ClipScores, Evaluation


def evaluation(step: int, similarity: float, *, clicks: float = 0.0) -> Evaluation:
    held = ClipScores("held-0", "held-out", similarity, 0.02, 0.05, 0.8, 0.1, 0.5, 0.0, 0.0)
    phrase = ClipScores("phrase-0", "phrase", similarity - 0.2, 0.04, 0.06, 0.6, 0.2, None, 0.0, clicks)
    return Evaluation(step, (held, phrase))


@pytest.fixture
def record(tmp_path: Path) -> TrainingRecord:
    files = {name: tmp_path / f"{name}.flac" for name in "abcd"}
    for file in files.values():
        soundfile.write(file, sound_files.tones().T, sound_files.RATE)
    versions = {"100": files["b"], "200": files["c"], "instant": files["d"]}
    return TrainingRecord(
        voice="nova",
        network="RVC v2, 48 kHz",
        recordings=(
            UsedRecording("take 1.wav", 60.0, "training"),
            UsedRecording("take 2.wav", 30.0, "held-out"),
            UsedRecording("party.mp3", 0.0, "left out", "It is music."),
        ),
        losses=[{"step": step, "mel": 30 - step / 10, "kl": 1.0} for step in range(10, 210, 10)],
        evaluations=[evaluation(100, 0.5, clicks=3.0), evaluation(200, 0.8)],
        choice=Choice(200, 0.75, 0.01, "It is the most similar."),
        stopped="No gain is likely.",
        advice=["12 more seconds of high notes."],
        instant=evaluation(0, 0.7),
        seconds=600.0,
        clips=[HeardClip("take 2.wav", "held-out", files["a"], versions)],
        settings={"size": "tiny", "batch_size": None, "f0": True},
        facts={"torch": "2.13.0"},
    )


def page_of(record: TrainingRecord) -> Page:
    return Page(render(replace(record, clips=[]), []))


def test_it_says_what_was_chosen_why_and_what_would_help(record: TrainingRecord) -> None:
    page = page_of(record)
    assert page.text("h1") == "nova"
    assert "Step 200 is the best of 2 checkpoints" in page.text("h2")
    for sentence in (
        "It is the most similar.",
        "±0.010",
        "No gain is likely.",
        "The trained model now sings by default",
    ):
        assert sentence in page.text("p")
    assert "12 more seconds of high notes." in page.text("li")
    assert "party.mp3" in page.text("th")
    assert "It is music." in page.text("td")
    assert "automatic" in page.text("dd")


def test_scores_are_in_a_table_beside_their_charts(record: TrainingRecord) -> None:
    text = render(replace(record, clips=[]), [])
    page = Page(text)
    assert "At the chosen step 200: 0.800 of the held-out recordings, 0.600 of the sung phrases" in text
    assert "0.700" in page.text("td"), "the instant voice"
    assert "3.0 per s" in page.text("td")
    assert "4.0 %" in page.text("td")
    assert page.texts["td"].count("10") == 1, "the last mel loss"


def test_every_version_of_a_clip_can_be_heard(record: TrainingRecord, tmp_path: Path) -> None:
    path = write_training_report(Context(tmp_path), record, tmp_path / "report.html")
    page = Page(path.read_text("utf-8"))
    names = [attributes["aria-label"] for tag, attributes in page.elements if tag == "audio"]
    assert names == [f"Held out: take 2.wav: {name}" for name in ("Recording", "Step 200", "Instant voice", "Step 100")]
    again = write_training_report(Context(tmp_path), record, tmp_path / "again.html")
    assert again.read_bytes() == path.read_bytes()


def test_nothing_comes_from_outside_and_hostile_words_stay_words(record: TrainingRecord) -> None:
    evil = replace(
        record,
        voice=HOSTILE,
        network=HOSTILE,
        recordings=[UsedRecording(HOSTILE, 1.0, "left out", HOSTILE)],
        choice=Choice(200, 0.7, 0.1, HOSTILE),
        stopped=HOSTILE,
        advice=[HOSTILE],
        warnings=[HOSTILE],
        settings={HOSTILE: HOSTILE},
        facts={HOSTILE: HOSTILE},
    )
    text = render(replace(evil, clips=[]), [])
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert page.text("h1") == HOSTILE
    assert tags.count("script") == tags.count("style") == 1
    assert not {"link", "iframe", "img", "a", "form"} & set(tags)
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "style" not in {name for _, attributes in page.elements for name in attributes}
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|url\(|@import", text)


def test_everything_has_a_name_for_those_who_do_not_see_it(record: TrainingRecord) -> None:
    for tag, attributes in page_of(record).elements:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or len(attributes["aria-label"] or "") > 20


def test_a_run_without_evaluations_has_a_report(record: TrainingRecord) -> None:
    nothing = replace(record, losses=[], evaluations=[], choice=None, instant=None, seconds=None, sings="instant")
    page = page_of(nothing)
    assert "No checkpoint was evaluated" in page.text("h2")
    assert "Scores" not in page.text("h2")


def test_a_long_run_has_a_page_of_bounded_size(record: TrainingRecord) -> None:
    losses = [{"step": step, "mel": 1 / step, "grad_g": 5.0} for step in range(1, 50_000)]
    text = render(replace(record, losses=losses, clips=[]), [])
    assert len(text) < 120_000
