"""Training lowers the loss, goes on after a stop as if there had been none, and writes weights that load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pipeline.separation.training.material import SMALL, settings, write_songs
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.embedded import weights
from understudy.pipeline.separation.embedded.network import CHANNELS, Shape, build
from understudy.pipeline.separation.training.examples import Example, prepare
from understudy.pipeline.separation.training.quality import of_example
from understudy.pipeline.separation.training.run import Checkpoint, train_into
from understudy.pipeline.separation.training.songs import songs_in
from understudy.pipeline.separation.training.train import Run, begin, resume, save, train


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("examples")
    return prepare(Context(folder), songs_in(write_songs(folder / "songs")), folder, 3, 1, 2.0)


def trained(examples: list[Path], folder: Path, steps: int, stop: int | None = None) -> tuple[Run, list[float]]:
    chosen, losses = settings(steps), []
    run = begin(chosen, "cpu")
    last = folder / "checkpoint.pt"

    class Stopped(Exception):
        pass

    def keep(run: Run, loss: float) -> None:
        losses.append(loss)
        save(run, last)
        if run.step == stop:
            raise Stopped

    try:
        train(Context(folder), run, lambda count: examples[:count], chosen, keep)
    except Stopped:
        run = resume(chosen, last, "cpu")
        stop = None
        train(Context(folder), run, lambda count: examples[:count], chosen, keep)
    return run, losses


def test_the_loss_falls(examples: list[Path], tmp_path: Path) -> None:
    run, losses = trained(examples, tmp_path, 24)
    assert run.step == 24
    assert losses[-1] < losses[0]


def test_a_stopped_training_ends_in_the_same_weights(examples: list[Path], tmp_path: Path) -> None:
    whole, _ = trained(examples, tmp_path, 8)
    parted, _ = trained(examples, tmp_path, 8, stop=4)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, parted.average.state_dict()[name]), name


def test_a_broken_checkpoint_is_refused(examples: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UnderstudyError) as caught:
        resume(settings(4), path, "cpu")
    assert caught.value.code == "training-checkpoint"


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = build(SMALL).eval()
    path = tmp_path / "network.safetensors"
    weights.write(network, SMALL, path)
    first = path.read_bytes()
    weights.write(network, SMALL, path)
    assert path.read_bytes() == first
    features = torch.randn(1, CHANNELS, 20, 672)
    torch.testing.assert_close(weights.read(path)(features), network(features), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("damage", ["cut", "other", "text"])
def test_other_files_are_no_weights(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "network.safetensors"
    weights.write(build(SMALL), SMALL if damage != "other" else Shape((8, 16), 8, 4), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "text":
        path.write_bytes(b"\x08" + bytes(7) + b"{hello!}")
    with pytest.raises(UnderstudyError) as caught:
        weights.read(path)
    assert caught.value.code == ("model-invalid" if damage == "other" else "model-damaged")


def test_a_run_leaves_weights_and_goes_on(tmp_path: Path) -> None:
    songs, told = write_songs(tmp_path / "songs"), list[Checkpoint]()
    out = tmp_path / "run"
    out.mkdir()
    path = train_into(Context(out), songs, settings(4), 2, songs, told.append)
    assert [one.step for one in told] == [4]
    assert told[0].vocals is not None
    assert np.isfinite([told[0].loss, told[0].vocals, told[0].instrumental]).all()
    first = path.read_bytes()
    train_into(Context(out), songs, settings(4), 2, songs, told.append)
    assert len(told) == 1
    assert path.read_bytes() == first
    with pytest.raises(UnderstudyError) as caught:
        train_into(Context(out), songs, settings(5), 2, songs, told.append)
    assert caught.value.code == "training-other"


def test_quality_of_an_even_mask_is_that_of_half_the_song(examples: list[Path]) -> None:
    example = Example.load(examples[0])

    class Even(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(features[:, :2])

    vocals, instrumental = of_example(Even(), example, "cpu")
    assert -20 < vocals < 6.1
    assert 0 <= instrumental < 20
