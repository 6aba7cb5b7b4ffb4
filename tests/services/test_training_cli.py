"""``voices train``: what it says, what it refuses, and a tiny training from recordings to a cover."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command import Workspace
from understudy.services.cli.console import mode
from understudy.services.cli.training import Progress, line
from understudy.voices.training.events import TrainingEvent

TINY = ("--size", "tiny", "--embedder", "cepstral", "--batch-size", "2", "--steps", "2", "--evaluate-every", "2")
STEPS = TrainingEvent(
    "steps",
    1250,
    200_000,
    {"mel": 17.31, "kl": 1.2, "grad_g": 80.0},
    {"similarity": 0.841, "f0_error": 0.031},
    1000,
    11400,
)


def test_the_line_says_the_most_important_first() -> None:
    assert line(STEPS) == (
        "step 1,250 of at most 200,000 · 3 h left · best: step 1,000 · similarity 0.841, pitch errors 3.1% · "
        "losses mel 17.3, kl 1.2"
    )
    assert line(TrainingEvent("steps", 1, 10)) == "step 1 of at most 10"
    assert line(TrainingEvent("preparing", 3, 9, sentence="f0 a.wav")).startswith("preparing the recordings: 3 of 9")


def test_events_are_shown_and_the_saved_step_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    mode.as_json = mode.quiet = False
    shown: list[str] = []
    kept: list[str] = []
    progress = Progress(lambda sentence, keep: (kept if keep else shown).append(sentence))
    for event in (
        STEPS,
        replace(STEPS, kind="saved", step=1300),
        replace(STEPS, kind="evaluation"),
        TrainingEvent("warning", 1, 2, sentence="Too [b]ig."),
    ):
        progress(event)
    progress(TrainingEvent("finished", 2, 2, sentence="It is done."))
    assert shown == [line(STEPS)]
    assert kept == [line(STEPS), "giving the model to the voice, writing the report"]
    assert progress.saved == 1300
    assert "Note: Too [b]ig." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nobody"], "voice-unknown", "nobody"),
        (["nova", "--base", "G.pth"], "option-invalid", "pair of files"),
        (["nova", "--base-discriminator", "D.pth"], "option-invalid", "pair of files"),
        (["nova", "more.wav"], "consent-missing", "consent"),
        (["nova", "--embedder", "japanese"], "embedder-unknown", "japanese"),
        (["nova", "--seed", "-1"], "option-invalid", "--seed -1"),
        (["nova", "--size", "huge"], "usage", "huge"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(
    shared_workspace: Workspace, arguments: list[str], code: str, told: str
) -> None:
    done = shared_workspace.run("voices", "train", *arguments, "--json")
    assert done.returncode != 0
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert told in error["message"]


@pytest.mark.slow
def test_a_tiny_training_ends_in_a_cover(workspace: Workspace) -> None:
    (workspace.folder / "voices").unlink()  # the library of all tests
    workspace.json("voices", "add", "nova", "recording.wav", "--consent", "self")
    plan = workspace.json("voices", "train", "nova", *TINY, "--dry-run")
    assert (plan["voice"], plan["step"], plan["steps"], plan["missing"]) == ("nova", 0, 2, [])
    made = workspace.json("voices", "train", "nova", *TINY)
    assert (made["voice"], made["step"], made["steps"]) == ("nova", 2, 2)
    assert made["default"] is False, "two steps can't beat the instant voice"
    assert "nova" in Path(made["report"]).read_text("utf-8")
    again = workspace.run("voices", "train", "nova", *TINY)
    assert again.returncode == 0
    assert "step 2 of 2" in again.stdout
    assert "2 steps" in again.stdout
    shown = workspace.json("voices", "show", "nova")
    assert shown["engine"] == "instant"
    assert shown["model"]["trained"]["steps"] == 2
    cover = workspace.json("cover", "song.wav", "--voice", "nova", "--engine", "rvc", "--duration", "2")
    assert Path(workspace.folder / cover["cover"]).is_file()
    blended = workspace.json("voices", "blend", "nova", "nova", "--ratio", "0.25", "--name", "mix")
    assert (blended["engine"], blended["consent"], blended["model"]["index"]) == ("rvc", "self", None)
    pair = workspace.json("voices", "export", "nova", "--format", "training", "--output", "pair")["files"]
    assert pair == ["pair/G_2.pth", "pair/D_2.pth"]
    base = ("--base", pair[0], "--base-discriminator", pair[1])
    assert workspace.json("voices", "train", "nova", *TINY, *base, "--dry-run")["base"] == "G_2.pth"
    assert workspace.json("cache", "show")["trainings"] > 1000
    workspace.json("cache", "clear", "--trainings")
    assert workspace.json("cache", "show")["trainings"] < 1000
    missing = workspace.run("voices", "export", "nova", "--format", "training", "--output", "again", "--json")
    assert json.loads(missing.stdout)["error"]["code"] == "training-missing"
