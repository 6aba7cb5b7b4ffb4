"""Training a separator as a user does, and separating a song with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.pipeline.separation.training.material import write_songs
from tests.services.conftest import House
from tests.services.test_cli import read


@pytest.mark.slow
def test_a_trained_network_separates_a_song(house: House):
    write_songs(house.folder / "songs", 2)
    order = ("train-separator", "songs", "--output", "run", "--examples", "2", "--steps", "2", "--check", "songs")
    made = house.json(*order)
    assert made["network"] == "run/network.safetensors"
    assert made["steps"] == 2
    assert np.isfinite([made["loss"], made["vocals"], made["instrumental"]]).all()
    assert house.json(*order)["loss"] is None  # nothing is left to do
    other = house.run(*order[:-2], "--seed", "2", "--json")
    assert other.returncode == 1
    assert json.loads(other.stdout)["error"]["code"] == "training-other"
    separated = house.json("separate", "song.wav", "--model", made["network"], "--format", "wav32f")
    sounds = [read(house.folder / path)[0] for path in separated["stems"].values()]
    assert np.abs(sum(sounds) - read(house.folder / "song.wav")[0]).max() < 1e-5


def test_a_folder_without_songs_is_told(house: House):
    (house.folder / "nothing").mkdir()
    done = house.run("train-separator", "nothing", "--output", "run")
    assert done.returncode == 1
    assert "no songs" in done.stderr
    assert "Do:" in done.stderr
