"""``understudy models`` as a user runs it: a process of its own, with a source on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.audio.models.source import CONTENT, SHA256, Source, catalogue_file, served
from tests.services.conftest import COMMAND, House


@dataclass(frozen=True)
class Shelf:
    house: House
    source: Source
    catalogue: Path

    @property
    def folder(self) -> Path:
        return self.house.folder / "models"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.house.environment, "UNDERSTUDY_CATALOGUE": str(self.catalogue)}
        command = [*COMMAND, "models", *arguments]
        return subprocess.run(command, cwd=self.house.folder, env=environment, capture_output=True, text=True)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with served(Source()) as source:
        yield Shelf(House(tmp_path), source, catalogue_file(tmp_path, source.url))


def test_the_way_of_a_model(shelf: Shelf):
    listed = shelf.run("list").stdout
    assert "· thing" in listed
    assert "not installed: understudy models fetch NAME" in listed
    assert shelf.json("list", "--installed")["models"] == []
    fetched = shelf.run("fetch", "thing")
    assert fetched.returncode == 0, fetched.stderr
    said = fetched.stderr  # what, how big, under which licence, from where and to where
    for fact in ("thing", "tests", "MIT", "1 MB", shelf.source.url, str(shelf.folder / "thing.pt")):
        assert fact in said, fact
    assert (shelf.folder / "thing.pt").read_bytes() == CONTENT
    (found,) = shelf.json("list", "--installed")["models"]
    assert (found["name"], found["state"]) == ("thing", "installed")
    assert found["installed"]["weights"]["sha256"] == SHA256
    assert SHA256 in shelf.run("show", "thing").stdout
    assert shelf.json("verify")["models"][0]["state"] == "ok"
    shelf.json("remove", "thing")
    assert shelf.json("list", "--installed")["models"] == []


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
    (shelf.house.folder / "somewhere.pth").write_bytes(CONTENT)
    added = shelf.json("add", "somewhere.pth")
    assert (added["model"], added["path"]) == ("thing", str(shelf.folder / "thing.pt"))
    assert shelf.source.requests == []


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


def test_a_broken_download_is_gone_on_with(shelf: Shelf):
    shelf.source.manners = ["cut 300000", "404"]
    done = shelf.run("fetch", "thing")
    assert done.returncode == 1
    assert shelf.source.url in done.stderr
    shelf.source.manners = ["well"]
    shelf.json("fetch", "thing")
    assert shelf.source.ranges[-1] == "bytes=300000-"
