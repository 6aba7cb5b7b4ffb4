"""Several voices in one cover, as a user asks for them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support import signals
from tests.support.command import Workspace
from understudy.audio.tags import read_tags

DUET = "0:00-0:03=nova,0:03-=ada"
STEMS = ("full.wav", "--vocals", "vocals.wav", "--backing-vocals", "backing.wav")


@pytest.fixture(scope="module")
def duo(shared_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of its own with a second voice, and a backing vocal to the song."""
    folder = tmp_path_factory.mktemp("duo")
    for name in ("song.wav", "vocals.wav"):
        os.symlink(shared_workspace.folder / name, folder / name)
    shutil.copytree(shared_workspace.folder / "voices", folder / "voices")
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2) * 2, "aeioaeiu" * 2, strict=True)
    sung, _ = signals.singing([signals.Note(62 + step, 0.8, vowel, "s") for step, vowel in steps], formants=1.2, seed=5)
    soundfile.write(folder / "high.wav", sung.samples.T, sung.rate, subtype="PCM_16")
    workspace = Workspace(folder)
    workspace.json("voices", "add", "ada", "high.wav", "--consent", "self")
    vocals, rate = soundfile.read(folder / "vocals.wav", dtype="float32", always_2d=True)
    steps = zip((4, 4, 7, 7, 9, 9, 7), "ooouuua", strict=True)
    behind, _ = signals.singing(
        [signals.Note(52 + step, 0.85, vowel, "") for step, vowel in steps], formants=1.1, seed=9
    )
    backing = np.zeros((len(vocals), 2), np.float32)
    frames = min(len(vocals), behind.frames)
    backing[:frames] = behind.samples[0, :frames, None] * np.array([0.2, 0.4], np.float32)
    song, _ = soundfile.read(folder / "song.wav", dtype="float32", always_2d=True)
    soundfile.write(folder / "backing.wav", backing, rate, subtype="FLOAT")
    soundfile.write(folder / "full.wav", song + backing, rate, subtype="FLOAT")
    return workspace


def read(path: Path) -> np.ndarray:
    samples, _ = soundfile.read(path, dtype="float64", always_2d=True)
    return np.asarray(samples.T)


def ran(made: dict[str, Any]) -> set[str]:
    return {stage["name"] for stage in made["stages"] if not stage["cached"]}


@pytest.mark.slow
def test_a_duet_and_its_promises(duo: Workspace):
    made = duo.json("cover", "song.wav", "--vocals", "vocals.wav", "--voice", DUET, "--keep-stems")
    assert made["cover"] == "covers/song (nova+ada, own stems).flac"
    assert [(one["voice"], one["part"]) for one in made["voices"]] == [("nova", "lead"), ("ada", "lead")]
    assert made["voices"][0]["turns"] == [[0.0, pytest.approx(3.0, abs=0.26)]]
    assert made["voices"][1]["turns"] == [[made["voices"][0]["turns"][0][1], 6.0]]
    assert made["transpose"] == made["voices"][0]["transpose"]
    cover, song = read(duo.folder / made["cover"]), read(duo.folder / "song.wav")
    assert cover.shape == song.shape
    stems = [read(duo.folder / path) for path in made["stems"].values()]
    assert set(made["stems"]) == {"vocals", "instrumental"}
    assert np.abs(sum(stems) - cover).max() < 1e-4
    tags = read_tags(duo.folder / made["cover"])
    assert "nova+ada" in tags.title
    page = (duo.folder / made["report"]).read_text("utf-8")
    assert "sung by <strong>nova and ada</strong>" in page
    report = json.loads((duo.folder / made["report"]).with_suffix(".json").read_text("utf-8"))
    assert report["voice"] == "nova and ada"
    assert [one["voice"] for one in report["voices"]] == ["nova", "ada"]
    assert all(one["likeness"] for one in report["voices"])


def test_another_second_voice_leaves_the_first_as_it_is(duo: Workspace):
    until = ("cover", "song.wav", "--vocals", "vocals.wav", "--until", "cast list", "--voice")
    duo.json(*until, DUET)
    again = duo.json(*until[:-1], "--voice", DUET, "--transpose", "ada=-12")
    assert "transpose ada" in ran(again)
    assert not {"cut nova", "transpose nova", "pitch", "separate"} & ran(again)
    assert [one["transpose"] for one in again["made"]["singers"]][1] == -12
    drawn = duo.json("graph", "song.wav", "--vocals", "vocals.wav", "--voice", DUET, "--transpose", "ada=-12")
    plain = duo.json("graph", "song.wav", "--vocals", "vocals.wav", "--voice", DUET)
    changed = [a["name"] for a, b in zip(drawn["nodes"], plain["nodes"], strict=True) if a["key"] != b["key"]]
    assert {"convert ada", "convert"} <= set(changed)
    assert not {"convert nova", "prepare ada", "prepare nova"} & set(changed)


def test_one_voice_may_have_several_turns(duo: Workspace):
    until = ("cover", "song.wav", "--vocals", "vocals.wav", "--until", "cast list", "--voice")
    (singer,) = duo.json(*until, "0:00-0:02=nova,0:04-=nova")["made"]["singers"]
    assert [len(turn) for turn in singer["turns"]] == [2, 2]


@pytest.mark.slow
def test_where_nobody_has_a_turn_the_original_sings(duo: Workspace):
    turn = ("--voice", "0:02.0-0:04.0=nova", "--set", "provenance.watermark=false")
    made = duo.json("cover", "song.wav", "--vocals", "vocals.wav", *turn, "--until", "keep")
    kept, original = read(duo.folder / made["made"]["keep"]), read(duo.folder / "vocals.wav")
    for first, last in ((0.0, 1.9), (4.1, 6.0)):
        part = slice(round(first * 44100), round(last * 44100))
        assert np.abs(kept[:, part] - original[:, part]).max() < 1e-6
    inside = slice(round(2.1 * 44100), round(3.9 * 44100))
    assert np.abs(kept[:, inside] - original[:, inside]).max() > 0.01


@pytest.mark.slow
def test_the_backing_vocals_have_a_voice_of_their_own(duo: Workspace):
    made = duo.json("cover", *STEMS, "--voice", "lead=nova", "--voice", "backing=ada", "--keep-stems")
    assert made["cover"] == "covers/full (nova+ada, own stems).flac"
    assert [(one["voice"], one["part"]) for one in made["voices"]] == [("nova", "lead"), ("ada", "backing")]
    parts = {name: read(duo.folder / path) for name, path in made["stems"].items()}
    assert set(parts) == {"vocals", "instrumental", "backing"}
    assert np.abs(sum(parts.values()) - read(duo.folder / made["cover"])).max() < 1e-4
    backing = read(duo.folder / "backing.wav")
    level = [float(np.mean(one**2)) for one in (parts["backing"], backing)]
    assert abs(10 * np.log10(level[0] / level[1])) < 3
    assert float(np.mean(parts["backing"][1] ** 2)) > 2 * float(np.mean(parts["backing"][0] ** 2))  # to the right


@pytest.mark.slow
def test_the_backing_vocals_can_stay_or_go(duo: Workspace):
    stems = (*STEMS, "--voice", "nova", "--keep-stems", "--set", "provenance.watermark=false")
    stay = duo.json("cover", *stems, "-o", "stay.flac")
    assert "voices" not in stay
    left = read(duo.folder / stay["stems"]["backing"])
    backing = read(duo.folder / "backing.wav")
    gain = float(np.sum(left * backing) / np.sum(backing**2))
    rest = float(np.sum((left - gain * backing) ** 2) / np.sum(backing**2))
    assert rest < 1e-4  # untouched but for the mix's gain and the limiter's, some 0.1 dB on the peaks
    gone = duo.json("cover", *stems, "--backing", "mute", "-o", "gone.flac")
    assert set(gone["stems"]) == {"vocals", "instrumental"}
    assert "convert" not in ran(gone)
    both = duo.json("cover", *stems, "--backing", "convert", "-o", "both.flac")
    assert [(one["voice"], one["part"]) for one in both["voices"]] == [("nova", "lead"), ("nova", "backing")]


@pytest.mark.slow
def test_a_duet_of_an_a_cappella(duo: Workspace):
    made = duo.json("convert", "vocals.wav", "--voice", DUET)
    assert made["output"] == "covers/vocals (nova+ada).flac"
    assert len(made["voices"]) == 2
    assert read(duo.folder / made["output"]).shape == read(duo.folder / "vocals.wav").shape


@pytest.mark.slow
def test_an_excerpt_keeps_the_songs_own_times(duo: Workspace):
    made = duo.json("cover", "song.wav", "--voice", DUET, "--start", "3.5", "--duration", "2", "-o", "later.flac")
    assert [one["voice"] for one in made["voices"]] == ["ada"]


def test_the_graph_shows_every_voice(duo: Workspace):
    drawn = duo.json("graph", "song.wav", "--voice", "0:01-0:03=nova,0:03-0:05=ada", "--key", "2")
    names = {node["name"] for node in drawn["nodes"]}
    assert {"cut nova", "cut ada", "convert nova", "convert ada", "keep", "shift vocals", "cast list"} <= names
    assert "<svg" in duo.run("graph", "song.wav", "--voice", DUET, "--as", "svg").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["song.wav", "--voice", "0:00-0:04=nova,0:03-=ada"], "cast-invalid"),
        (["song.wav", "--voice", "nova", "--voice", "ada"], "cast-invalid"),
        (["song.wav", "--voice", "0:00-0:03=nova,0:03-=nobody"], "voice-unknown"),
        (["song.wav", "--voice", "nova", "--transpose", "ada=3"], "cast-invalid"),
        (["song.wav", "--voice", "nova", "--voice", "backing=ada"], "backing-missing"),
        (["song.wav", "--voice", "nova", "--backing", "mute"], "backing-missing"),
        (["song.wav", "--voice", "0:20-=nova"], "turn-outside"),
        (["song.wav", "--voice", "0:00-0:02=nova", "--start", "3"], "cast-silent"),
        (["full.wav", "--backing-vocals", "backing.wav", "--voice", "nova"], "stem-missing"),
        (["--vocals", "vocals.wav", "--backing-vocals", "backing.wav", "--voice", "nova"], "song-missing"),
        (
            [*STEMS, "--voice", "nova", "--voice", "backing=ada", "--backing", "mute"],
            "cast-invalid",
        ),
        (
            [*STEMS, "--voice", DUET, "--backing", "convert"],
            "cast-invalid",
        ),
    ],
)
def test_what_cannot_be_sung_is_said(duo: Workspace, arguments: list[str], code: str):
    done = duo.run("cover", *arguments, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == code
