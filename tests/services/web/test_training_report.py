"""The report of a training in a real Chromium: nothing that axe objects to, nothing loaded, one player at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext

from tests.support import sound_files
from tests.support.command import until
from understudy.context import scratch_context
from understudy.pipeline.report.training import HeardClip, TrainingRecord, UsedRecording, write_training_report
from understudy.voices.rvc.training.choice import Choice
from understudy.voices.rvc.training.evaluation import ClipScores, Evaluation

pytestmark = pytest.mark.slow


def record(folder: Path) -> TrainingRecord:
    sound = folder / "sound.flac"
    soundfile.write(sound, sound_files.tones(200_000).T, sound_files.RATE)
    scores = ClipScores("take 1.wav", "held-out", 0.5, 0.02, 0.05, 0.8, 0.1, 0.5, 0.0, 0.0)
    return TrainingRecord(
        voice="nova",
        network="RVC v2, 48 kHz",
        recordings=[
            UsedRecording("take 1.wav", 60.0, "held-out"),
            UsedRecording("song.mp3", 0.0, "left out", "Music."),
        ],
        losses=[{"step": step, "mel": 30 - step / 10} for step in range(10, 210, 10)],
        evaluations=[Evaluation(step, (scores,)) for step in (100, 200)],
        choice=Choice(200, 0.5, 0.01, "It is the most similar."),
        stopped="No gain is likely.",
        instant=Evaluation(0, (scores,)),
        clips=[HeardClip("take 1.wav", "held-out", sound, {"100": sound, "200": sound, "instant": sound})],
        settings={"size": "full"},
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_report_of_a_training(context: BrowserContext, tmp_path: Path, width: int, scheme: str) -> None:
    with scratch_context() as scratch:
        path = write_training_report(scratch, record(tmp_path), tmp_path / "report.html")
    page = context.new_page()
    faults: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda request: requests.append(request.url[:5]))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(path.as_uri())
    for closed in page.locator("details").all():
        closed.evaluate("element => element.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    first, second = page.get_by_label("Step 200").first, page.get_by_label("Instant voice").first
    first.evaluate("element => element.play()")
    until(lambda: first.evaluate("element => element.currentTime") > 0.2)
    second.evaluate("element => element.play()")
    until(lambda: second.evaluate("element => element.currentTime") > 0.2)
    assert first.evaluate("element => element.paused")
    assert faults == []
    assert set(requests) <= {"file:", "data:"}
