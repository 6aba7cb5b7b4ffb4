"""``understudy verify``, on a cover that a command made."""

from __future__ import annotations

import json

import pytest

from tests.support.command import Workspace


@pytest.mark.slow
def test_a_cover_is_known_and_a_song_is_not(workspace: Workspace) -> None:
    made = workspace.json("cover", "song.wav", "--voice", "nova", "-o", "cover.mp3", "--keep-stems")
    found = workspace.json("verify", made["cover"])
    assert set(found) == {"file", "watermark", "c2pa", "tags", "conclusion"}
    assert set(found["c2pa"]) >= {"present", "valid", "trusted", "actions", "ingredients"}
    assert (found["c2pa"]["valid"], found["c2pa"]["trusted"]) == (True, True)
    assert found["c2pa"]["ingredients"] == ["voice nova", "song.wav"]
    assert found["tags"]["made_by_understudy"]
    _reproduced(workspace, made["cover"], made["stems"]["vocals"])
    song = workspace.json("verify", "song.wav")
    assert (song["watermark"]["found"], song["c2pa"]["present"], song["tags"]["made_by_understudy"]) == (False,) * 3


def _reproduced(workspace: Workspace, *files: str) -> None:
    """Cover and stems are rendered again without the cache, and other inputs are told."""
    for file in files:
        again = workspace.json("reproduce", file, "--song", "song.wav", "--voice", "nova")
        assert (again["identical"], again["reproduced"], again["trusted"], again["differs"]) == (True, True, True, [])
    wrong = workspace.run("reproduce", files[0], "--song", "vocals.wav", "--voice", "nova", "--json")
    fault = json.loads(wrong.stdout)["error"]
    assert (wrong.returncode, fault["code"]) == (1, "inputs-differ")
    assert "The song is another file" in fault["message"]
    assert "voice" not in fault["message"]
    lacking = workspace.run("reproduce", files[0], "--voice", "nova")
    assert "--song" in lacking.stderr
    unsigned = workspace.run("reproduce", "song.wav", "--song", "song.wav", "--voice", "nova", "--json")
    assert json.loads(unsigned.stdout)["error"]["code"] == "credentials-missing"


@pytest.mark.slow
def test_the_credentials_of_an_opus_file_stand_beside_it(workspace: Workspace) -> None:
    made = workspace.json("cover", "song.wav", "--voice", "nova", "--format", "opus")
    assert made["credentials"] == made["cover"].replace(".opus", ".c2pa")
    found = workspace.json("verify", made["cover"])["c2pa"]
    assert (found["valid"], found["trusted"]) == (True, True)
    assert found["beside"] == "song (nova).c2pa"
    assert found["ingredients"] == ["voice nova", "song.wav"]
    (key,) = workspace.json("signing", "list")["keys"]
    workspace.json("signing", "rotate")
    assert workspace.json("verify", made["cover"])["c2pa"]["trusted"]
    workspace.json("signing", "revoke", key["fingerprint"][:16])
    found = workspace.json("verify", made["cover"])["c2pa"]
    assert (found["valid"], found["trusted"], found["revoked"]) == (True, False, True)
    again = workspace.json("cover", "song.wav", "--voice", "nova", "--format", "opus")
    assert again["cover"] == made["cover"]  # signed anew in its place
    assert workspace.json("verify", made["cover"])["c2pa"]["trusted"]


def test_one_bad_file_of_several_is_named_and_the_others_are_checked(shared_workspace: Workspace) -> None:
    done = shared_workspace.run("verify", "text.mp3", "vocals.wav", "--json")
    assert done.returncode == 1
    made = json.loads(done.stdout)
    assert [one["file"] for one in made["files"]] == ["vocals.wav"]
    assert [(one["file"], one["code"]) for one in made["errors"]] == [("text.mp3", "not-audio")]
    assert "text.mp3" in shared_workspace.run("verify", "text.mp3", "vocals.wav").stderr
    alone = shared_workspace.run("verify", "text.mp3")
    assert alone.returncode == 1
    assert "text.mp3" in alone.stderr


@pytest.mark.slow
def test_marks_are_left_out_where_a_setting_says_so(workspace: Workspace) -> None:
    off = ("--set", "provenance.watermark=false", "--set", "provenance.sign=false")
    made = workspace.json("cover", "song.wav", "--voice", "nova", *off)
    assert not {"mark", "sign"} & {stage["kind"] for stage in made["stages"]}
    found = workspace.json("verify", made["cover"])
    assert (found["watermark"]["found"], found["c2pa"]["present"]) == (False, False)
    assert found["tags"]["made_by_understudy"]
