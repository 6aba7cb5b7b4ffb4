"""Two processes that each train on half a batch equal one process that trains on all of it."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.support.training_batches import random_batch
from understudy.voices.rvc.architecture import segment_frames, tiny
from understudy.voices.rvc.training.batch import draw
from understudy.voices.rvc.training.step import new_state, step
from understudy.voices.training.ranks import Ranks, joined
from understudy.voices.training.settings import TrainingSettings

STEPS = 3


def test_a_process_alone_agrees_with_itself():
    with joined("cpu") as ranks:
        assert ranks == Ranks()
        assert ranks.any([True, False]) == [True, False]
        ranks.wait()


def rows(kind, first, last):
    return type(kind)(*(None if (v := getattr(kind, f.name)) is None else v[first:last] for f in fields(kind)))


def trained(first, last, average=None):
    """The losses of `STEPS` steps on rows `first` to `last` of the batch, and the first weights after them."""
    torch.set_num_threads(1)
    architecture = tiny()
    state = new_state(architecture, TrainingSettings(size="tiny", seed=3))
    found = []
    for number in range(STEPS):
        batch = random_batch(architecture, (60, 60, 60, 60), seed=number)
        draws = draw(batch, architecture, segment_frames(architecture), 1, number)
        losses = step(state, rows(batch, first, last), rows(draws, first, last), average=average)
        found.append([losses.mel, losses.kl, losses.features, losses.adversarial, losses.discriminator])
    return torch.tensor(found), state.generator.dec.conv_pre.weight.detach().clone()


def _process(rank: int, port: int, file: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined("cpu") as ranks:
        assert ranks.any([ranks.first, False]) == [True, False]
        torch.save(trained(2 * rank, 2 * rank + 2, ranks.average), file / f"{rank}.pt")
        ranks.wait()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path, free_port):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_process, args=(rank, free_port, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    (first, weights), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(weights, others), "both have the same weights"
    losses, alone = trained(0, 4)
    torch.testing.assert_close((first + second) / 2, losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights, alone, rtol=0, atol=1e-5)
    start = new_state(tiny(), TrainingSettings(size="tiny", seed=3)).generator.dec.conv_pre.weight
    assert (weights - start).abs().max() > 20 * (weights - alone).abs().max(), "it differs by rounding alone"


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
