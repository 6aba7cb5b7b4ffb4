"""Taking a song apart as a user does: stems, mixes, karaoke, notes, a file for DJ software."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.services.test_cli import read, visible
from tests.support import signals
from tests.support.command import HANGS, Workspace, until
from tests.support.midi_files import read as read_midi


@pytest.mark.slow
def test_vocals_and_instrumental_unless_something_else_is_asked_for(workspace: Workspace):
    made = workspace.json("separate", "song.wav", "--format", "wav32f")
    assert made["stems"] == {name: f"stems/song/{name}.wav" for name in ("vocals", "instrumental")}
    assert made["sum_to_song"]
    sounds = [read(workspace.folder / path)[0] for path in made["stems"].values()]
    song, rate = read(workspace.folder / "song.wav")
    assert np.abs(sum(sounds) - song).max() < 1e-5
    again = workspace.json("separate", "song.wav", "--stems", "2", "--format", "flac")
    assert {stage["name"] for stage in again["stages"] if not stage["cached"]} == {
        "headroom", "encode vocals", "encode instrumental",
    }  # fmt: skip
    assert rate == soundfile.info(workspace.folder / again["stems"]["vocals"]).samplerate


@pytest.mark.slow
def test_mix_and_karaoke_and_notes_beside_each_other(workspace: Workspace):
    made = workspace.json(
        "separate", "song.wav", "--mix", "vocals=-6", "--karaoke", "--midi", "vocals", "--format", "wav32f", "-o", "out"
    )
    assert made["stems"] == {}
    assert "sum_to_song" not in made
    assert (made["mix"], made["karaoke"], made["midi"]) == (
        "out/mix.wav", "out/karaoke.wav", {"vocals": "out/vocals.mid"},
    )  # fmt: skip
    stems = workspace.json("separate", "song.wav", "--format", "wav32f")["stems"]
    vocals, instrumental = (read(workspace.folder / stems[name])[0] for name in ("vocals", "instrumental"))
    mix, karaoke = (read(workspace.folder / made[name])[0] for name in ("mix", "karaoke"))
    assert np.abs(mix - instrumental - 10 ** (-6 / 20) * vocals).max() < 1e-5
    assert np.abs(karaoke - instrumental - 10 ** (-12 / 20) * vocals).max() < 1e-5
    assert made["loudness"]["mix"]["mix"]["integrated"] < made["loudness"]["mix"]["song"]["integrated"]
    sung = read_midi(workspace.folder / made["midi"]["vocals"])
    pitches = {pitch for _, _, pitch, _ in sung.notes}
    assert {note.pitch for note in signals.PHRASE if note.pitch is not None} <= pitches
    other = workspace.json("separate", "song.wav", "--guide", "off", "-o", "other", "--format", "wav32f")
    assert np.abs(read(workspace.folder / other["karaoke"])[0] - instrumental).max() < 1e-5
    # another level is another mix, and nothing before it
    assert {stage["name"] for stage in other["stages"] if not stage["cached"]} == {"karaoke", "encode karaoke"}


@pytest.mark.slow
def test_one_file_for_dj_software(workspace: Workspace):
    made = workspace.json("separate", "song.wav", "--format", "stem.mp4")
    assert made["stem_file"] == "stems/song/song.stem.mp4"
    assert made["stems"] == {}
    assert "silent" in made["warnings"][0]["warning"]
    with av.open(str(workspace.folder / made["stem_file"])) as container:
        assert len(container.streams.audio) == 5
    again = workspace.json("separate", "song.wav", "--format", "stem.mp4")
    assert all(stage["cached"] for stage in again["stages"])


@pytest.mark.slow
def test_words_for_people(workspace: Workspace):
    done = workspace.run("separate", "song.wav", "--stems", "vocals", "--midi", "vocals", "--karaoke")
    assert done.returncode == 0
    assert done.stdout.split("\n")[:3] == [
        "vocals: stems/song/vocals.flac", "karaoke: stems/song/karaoke.flac",
        "notes of vocals: stems/song/vocals.mid",
    ]  # fmt: skip
    assert "Softening the lead" in done.stderr


@pytest.mark.slow
def test_files_of_the_users_are_not_replaced_and_ours_are(workspace: Workspace):
    folder = workspace.folder / "stems" / "song"
    folder.mkdir(parents=True)
    (folder / "vocals.mid").write_bytes(b"MThd my own")
    refused = workspace.run("separate", "song.wav", "--midi", "vocals", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "output-exists"
    assert (folder / "vocals.mid").read_bytes() == b"MThd my own"
    for _ in range(2):
        workspace.json("separate", "song.wav", "--midi", "vocals", "--overwrite")
    workspace.json("separate", "song.wav", "--midi", "vocals")
    assert read_midi(folder / "vocals.mid").notes


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--stems", "4"], "stem-unavailable", "htdemucs"),
        (["--stems", "kazoo"], "stems-invalid", "kazoo"),
        (["--stems", "lead,backing"], "stem-unavailable", "lead"),
        (["--mix", "vocals=loud"], "mix-invalid", "loud"),
        (["--mix", "drums=+2"], "stem-unavailable", "drums"),
        (["--guide", "soft"], "mix-invalid", "soft"),
        (["--midi", "vocals,drums"], "midi-impossible", "drums"),
        (["--stems", "vocals", "--format", "stem.m4a"], "stem-file-incomplete", "--stems"),
        (["--format", "stem.wav"], "unknown-format", "stem.wav"),
        (["--model", "tape"], "separator-unknown", "tape"),
    ],
)
def test_what_cannot_be_made_is_not_begun(workspace: Workspace, arguments: list[str], code: str, named: str):
    before = visible(workspace.folder)
    done = workspace.run("separate", "song.wav", *arguments, "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert named in error["message"] + error["hint"]
    assert visible(workspace.folder) == before
    assert not list((workspace.folder / "cache").glob("artifacts/*/*"))
    assert not (workspace.folder / "stems").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(workspace: Workspace):
    before = visible(workspace.folder)
    with workspace.process("separate", "song.wav", "--mix", "vocals=-3", "--format", "stem.m4a") as process:
        until(lambda: workspace.artifacts() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert visible(workspace.folder) == before
    assert not list(Path(workspace.folder / "cache" / "making").iterdir())
