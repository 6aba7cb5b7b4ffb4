"""``understudy models`` as a user runs it: a process of its own, with a source on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import small_models as small
from tests.support.command import Workspace, run_here
from tests.support.contentvec_files import SMALL, write_random_contentvec
from tests.support.model_source import CONTENT, SHA256, Source, catalogue_file, served


@dataclass(frozen=True)
class Shelf:
    workspace: Workspace
    source: Source
    catalogue: Path

    @property
    def folder(self) -> Path:
        return self.workspace.folder / "models"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.workspace.environment, "UNDERSTUDY_CATALOGUE": str(self.catalogue)}
        return run_here(self.workspace.folder, environment, "models", *arguments)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def installed(self) -> list[dict[str, Any]]:
        """Without models that Python packages carry, which are there wherever those are."""
        found = self.json("list", "--installed")["models"]
        return [model for model in found if "Python package" not in model["installed"]["weights"]["source"]]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with served(Source()) as source:
        yield Shelf(Workspace(tmp_path), source, catalogue_file(tmp_path, source.url))


@pytest.mark.slow
def test_the_way_of_a_model(shelf: Shelf):
    listed = shelf.run("list").stdout
    assert "· thing" in listed
    assert "not installed: understudy models fetch NAME" in listed
    assert shelf.installed() == []
    fetched = shelf.run("fetch", "thing")
    assert fetched.returncode == 0, fetched.stderr
    said = fetched.stderr  # what, how big, under which licence, from where and to where
    for fact in ("thing", "tests", "MIT", "1 MB", shelf.source.url, str(shelf.folder / "thing.pt")):
        assert fact in said, fact
    assert (shelf.folder / "thing.pt").read_bytes() == CONTENT
    (found,) = shelf.installed()
    assert (found["name"], found["state"]) == ("thing", "installed")
    assert found["installed"]["weights"]["sha256"] == SHA256
    assert SHA256 in shelf.run("show", "thing").stdout
    assert {model["state"] for model in shelf.json("verify")["models"]} == {"ok"}
    shelf.json("remove", "thing")
    assert shelf.installed() == []


@pytest.mark.slow
def test_verify_fails_on_a_changed_file(shelf: Shelf):
    shelf.json("fetch", "thing")
    (shelf.folder / "thing.pt").write_bytes(CONTENT[::-1])
    done = shelf.run("verify")
    assert done.returncode == 1
    assert "has changed" in done.stdout
    done = shelf.run("list", "--json")
    assert {model["name"]: model["state"] for model in json.loads(done.stdout)["models"]}["thing"] == "unusable"
    shelf.json("fetch", "thing")
    assert shelf.run("verify").returncode == 0


def test_add_takes_a_file_from_elsewhere(shelf: Shelf):
    (shelf.workspace.folder / "somewhere.pth").write_bytes(CONTENT)
    added = shelf.json("add", "somewhere.pth")
    assert (added["model"], added["path"]) == ("thing", str(shelf.folder / "thing.pt"))
    assert shelf.source.requests == []


@pytest.mark.slow
def test_add_takes_a_content_encoder_under_a_new_name(shelf: Shelf):
    write_random_contentvec(shelf.workspace.folder / "model.safetensors", "safetensors", sizes=SMALL)
    added = shelf.json("add", "model.safetensors", "--as", "spin-v2")
    assert (added["model"], added["path"]) == ("spin-v2", str(shelf.folder / "spin-v2.safetensors"))
    assert [model["name"] for model in shelf.installed()] == ["spin-v2"]
    assert "spin-v2" in shelf.run("show", "spin-v2").stdout
    shelf.json("remove", "spin-v2")
    assert shelf.installed() == []
    torch.save({"weight": torch.zeros(3)}, shelf.workspace.folder / "else.pt")
    refused = json.loads(shelf.run("add", "else.pt", "--as", "contentvc", "--json").stdout)["error"]
    assert refused["code"] == "model-unknown"
    assert "HuBERT" in refused["message"]
    assert "Did you mean contentvec" in refused["hint"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fetch", "nothing"], "model-unknown"),
        (["show", "nothing"], "model-unknown"),
        (["verify", "nothing"], "model-unknown"),
        (["remove", "thing"], "model-missing"),
        (["add", "none.pt"], "model-unreadable"),
        (["fetch", "thing", "nothing"], "model-unknown"),
    ],
)
def test_what_goes_wrong_is_two_lines(shelf: Shelf, arguments: list[str], code: str):
    done = shelf.run(*arguments)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.strip().splitlines()] == ["Error", "Do"]
    assert json.loads(shelf.run(*arguments, "--json").stdout)["error"]["code"] == code
    assert shelf.source.requests == []  # nothing is begun if not everything can be


@pytest.mark.slow
def test_a_broken_download_is_gone_on_with(shelf: Shelf):
    shelf.source.manners = ["cut 300000", "404"]
    done = shelf.run("fetch", "thing")
    assert done.returncode == 1
    assert shelf.source.url in done.stderr
    shelf.source.manners = ["well"]
    shelf.json("fetch", "thing")
    assert shelf.source.ranges[-1] == "bytes=300000-"


def test_the_list_is_searched_and_filtered(shelf: Shelf):
    names = {model["name"] for model in shelf.json("list", "gabox", "fv7b")["models"]}
    assert names == {"mel-roformer-vocals-gabox-fv7b"}
    karaoke = shelf.json("list", "--purpose", "karaoke", "--family", "vr")["models"]
    assert len(karaoke) == 4
    assert {model["group"] for model in karaoke} == {"karaoke"}
    lines = shelf.run("list", "--purpose", "karaoke").stdout.splitlines()
    assert lines[0].startswith("Lead and backing vocals")
    assert len(lines) < 25
    licences = {model["licence"] for model in shelf.json("list", "--commercial")["models"]}
    assert "MIT" in licences
    assert not any("NC" in licence or "not" in licence for licence in licences)
    for option in ("--purpose", "--family"):
        done = shelf.run("list", option, "nonsense")
        assert done.returncode == 1
        assert "roformer" in done.stderr or "karaoke" in done.stderr
    assert shelf.run("list", "zzzz").stdout.strip() == "No such model."


def test_what_is_known_of_a_model_is_shown_under_any_of_its_names(shelf: Shelf):
    shown = shelf.run("show", "htdemucs_ft.yaml").stdout
    for fact in (
        "337 MB",
        "f3cf25b222c4eed7cd49dd8b2c9597d50c18bd154090f7b919cfa5f93cf22c49",
        "four networks",
        "MUSDB18",
    ):
        assert fact in shown, fact
    assert "only the beginning is known: bccbd9aa" in shelf.run("show", "umxl").stdout


def test_the_users_own_files_are_listed_verified_and_removed(shelf: Shelf):
    shelf.folder.mkdir()
    (shelf.folder / "mine.ckpt").write_bytes(CONTENT)
    (shelf.folder / "mine.yaml").write_text("model: {num_bands: 60}\n")
    (own,) = shelf.json("list", "--installed")["yours"]
    assert (own["file"], own["family"], own["sha256"]) == ("mine.ckpt", "roformer", None)
    assert "mine.ckpt" in shelf.run("list", "--installed").stdout
    assert shelf.json("verify", "mine.ckpt")["models"][0]["state"] == "ok"
    assert "mine.ckpt" in [model["name"] for model in shelf.json("verify")["models"]]
    assert len(shelf.json("remove", "mine.ckpt")["removed"]) == 2
    assert shelf.json("list", "--installed")["yours"] == []


def test_all_that_a_preset_separates_with_is_fetched_at_once(shelf: Shelf):
    preset = shelf.workspace.folder / "mine.yaml"
    preset.write_text("separation: {model: embedded+thing}\n")
    assert [record["model"] for record in shelf.json("fetch", "--preset", str(preset))["models"]] == ["thing"]
    preset.write_text("separation: {model: embedded}\n")
    assert shelf.json("fetch", "--preset", str(preset))["models"] == []
    preset.write_text("separation: {model: umxl+umx}\n")
    done = shelf.run("fetch", "--preset", str(preset))
    assert done.returncode == 1
    assert "umxl, umx" in done.stderr  # both at once, not one after the other
    assert shelf.run("fetch").returncode == 1


@pytest.mark.slow
def test_a_separation_model_needs_no_entry_in_the_catalogue(shelf: Shelf):
    trained = shelf.workspace.folder / "trained"
    small.roformer(trained / "mine.ckpt")
    assert "mine.yaml" in shelf.run("add", "trained/mine.ckpt").stderr
    (trained / "config_best.yaml").write_text(small.MEL)
    added = shelf.json("add", "trained/mine.ckpt")
    assert added == {"model": "mine.ckpt", "family": "roformer", "stems": ["vocals"]}
    assert {path.name for path in shelf.folder.iterdir() if path.name[0] != "."} == {"mine.ckpt", "mine.yaml"}
    assert shelf.json("add", "trained/mine.ckpt") == added
    shown = shelf.run("show", "mine.ckpt").stdout
    assert "stems: vocals" in shown
    small.mdx23c(trained / "mine.ckpt")
    (trained / "mine.yaml").write_text(small.MDX23C)
    assert "Another file is at" in shelf.run("add", "trained/mine.ckpt").stderr
    small.state(trained / "voice.pth", "enc_p.emb_phone.weight")
    assert "its tensors are those of no family" in shelf.run("add", "trained/voice.pth").stderr
