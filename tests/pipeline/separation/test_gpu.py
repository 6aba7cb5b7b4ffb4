"""What only a graphics card can show: the networks' results there, in half precision too, and what happens when its
memory is full. `make test-gpu` runs it; elsewhere it is skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.pipeline.separation.families import test_mdx23c, test_pymss_core, test_roformer
from tests.support import small_demucs
from tests.support.checkpoints import snr, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.models.precision import Precision
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.graph import Graph, Node, Stage
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.models import SeparatorModel, find_separator, load_network
from understudy.pipeline.separation.settings import InferenceSettings
from understudy.pipeline.store import Store

pytestmark = pytest.mark.gpu
GPU = "cuda:0"


def roformer(folder: Path) -> Path:
    network, model = test_roformer.bs()
    return write(folder, network.state_dict(), test_roformer.config(model)).path


def mdx23c(folder: Path) -> Path:
    configuration = test_mdx23c.config()
    return write(folder, test_mdx23c.published(configuration).state_dict(), configuration).path


def demucs(folder: Path) -> Path:
    return small_demucs.write(folder / "955717e8.th", *small_demucs.network("HTDemucs"))


def scnet(folder: Path) -> Path:
    configuration = test_pymss_core.configured("scnet")
    return write(folder, test_pymss_core.network("scnet", configuration).state_dict(), configuration).path


def sound(frames: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(0, 0.1, (2, frames)).astype(np.float32)


@pytest.mark.parametrize(("precision", "least"), [("float32", 80), ("float16", 35), ("bfloat16", 25)])
@pytest.mark.parametrize("made", [roformer, mdx23c, demucs, scnet])
def test_a_network_gives_there_what_it_gives_on_a_cpu(
    made: Callable[[Path], Path], precision: Precision, least: float, tmp_path: Path
) -> None:
    model = find_separator(str(made(tmp_path)))
    right = load_network(model, "cpu", "float32")
    windows = torch.from_numpy(sound(3 * right.window).reshape(2, 3, -1)).transpose(0, 1).contiguous()
    # without products of 10 bits, which would pass for float32
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        wanted = right.separate(windows)
        found = load_network(model, GPU, precision).separate(windows.to(GPU)).cpu()
    assert snr(found, wanted) > least


def of_a_song(model: SeparatorModel, folder: Path) -> tuple[Any, Context]:
    """A song of ten windows by the network on the card, whose memory more than two windows fill."""
    network = load_network(model, GPU, "float32")

    def full(windows: torch.Tensor) -> torch.Tensor:
        if len(windows) > 2:
            torch.empty(1 << 50, dtype=torch.uint8, device=windows.device)
        return network.separate(windows)

    folder.mkdir()
    context = Context(folder, device=GPU)
    song = Audio(sound(10 * network.window), network.rate)
    stems = infer(context, replace(network, separate=full), song, InferenceSettings(batch=8))
    return stems, context


def test_a_full_card_gets_fewer_windows_at_once(tmp_path: Path) -> None:
    model = find_separator(str(roformer(tmp_path)))
    stems, context = of_a_song(model, tmp_path / "a")
    assert "too little memory on the GPU, so 4 instead of 8 windows go at once" in context.warnings[0]
    right = load_network(model, "cpu", "float32")
    (tmp_path / "b").mkdir()
    song = Audio(sound(10 * right.window), right.rate)
    wanted = infer(Context(tmp_path / "b"), right, song, InferenceSettings())
    for name, stem in stems.items():
        assert snr(torch.from_numpy(stem.read().samples), torch.from_numpy(wanted[name].read().samples)) > 50


def test_a_stage_that_the_card_cannot_hold_runs_on_the_cpu(tmp_path: Path) -> None:
    def large(context: Context) -> str:
        if context.device != "cpu":
            torch.empty(1 << 50, dtype=torch.uint8, device=context.device)
        return context.device

    node = Node("large", Stage("large", 1, large, uses_gpu=True))
    result = LocalExecutor(Store(tmp_path), device=GPU).run(
        Graph.of(node), [node], lambda event: None, threading.Event()
    )
    assert result[node] == "cpu"
    assert "the GPU ran out of memory" in result.stages[0].warnings[0]


def test_the_card_has_one_stage_at_a_time(tmp_path: Path) -> None:
    at_work, most = threading.Lock(), []

    def product(context: Context, number: int) -> float:
        alone = at_work.acquire(blocking=False)
        most.append(alone)
        try:
            factor = torch.full((512, 512), float(number), device=context.device)
            return float((factor @ factor)[0, 0].cpu())
        finally:
            if alone:
                at_work.release()

    stage = Stage("product", 1, product, uses_gpu=True)
    nodes = [Node("product", stage, settings={"number": number}, subject=str(number)) for number in range(4)]
    result = LocalExecutor(Store(tmp_path), device=GPU).run(
        Graph.of(*nodes), nodes, lambda event: None, threading.Event()
    )
    assert [result[node] for node in nodes] == [512.0 * number**2 for number in range(4)]
    assert all(most)
