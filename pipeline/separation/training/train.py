"""`train`: from a folder of examples to weights; stops and goes on at any step with the same result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.embedded.network import CHANNELS, WIDTHS, Shape, build
from understudy.pipeline.separation.training.examples import Example
from understudy.pipeline.separation.training.loss import separation_loss

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class TrainingSettings:
    """`steps` with `batch` crops of `frames` frames each (43 a second); `rate`: the learning rate, reached after
    `warm_up` steps, kept up to four fifths of the steps, and falling to zero from there; `average`: how slowly the
    averaged weights follow; `save_every`: steps between checkpoints; `bfloat16`: multiply in half precision. `first`
    examples are drawn from at the beginning, and one more after every `each` steps: a training can begin before all of
    them are made."""

    steps: int = 6000
    batch: int = 2
    frames: int = 256
    rate: float = 2e-3
    warm_up: int = 100
    decay: float = 0.01
    average: float = 0.998
    save_every: int = 200
    first: int = 80
    each: int = 12
    seed: int = 1
    bfloat16: bool = False
    shape: Shape = field(default_factory=Shape)


@dataclass
class Run:
    """A training under way: the network, its running average, the optimiser, and how many steps were made."""

    network: nn.Module
    average: nn.Module
    optimiser: Any
    step: int


def begin(settings: TrainingSettings, device: str) -> Run:
    """A run at step 0, its weights drawn from the seed."""
    import torch

    torch.manual_seed(settings.seed)
    network, average = (build(settings.shape).to(device) for _ in range(2))
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, (0.9, 0.98), weight_decay=settings.decay)
    return Run(network, average.eval(), optimiser, 0)


def save(run: Run, path: Path) -> None:
    """The run as a file, which appears at once."""
    import torch

    part = path.with_suffix(".part")
    torch.save(
        {
            "network": run.network.state_dict(),
            "average": run.average.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "step": run.step,
        },
        part,
    )
    part.replace(path)


def resume(settings: TrainingSettings, path: Path, device: str) -> Run:
    """The run that `save` wrote to `path`; raises `UnderstudyError` when it is none, or one of another shape."""
    import torch

    run = begin(settings, device)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        run.network.load_state_dict(state["network"])
        run.average.load_state_dict(state["average"])
        run.optimiser.load_state_dict(state["optimiser"])
        run.step = int(state["step"])
    except Exception as error:  # whatever a broken file makes torch raise
        raise UnderstudyError(
            "training-checkpoint",
            f"{path} is not a checkpoint of this training ({type(error).__name__}).",
            "Train with the settings that it was begun with, or into another folder.",
        ) from error
    return run


def train(
    context: Context,
    run: Run,
    examples: Callable[[int], Sequence[Path]],
    settings: TrainingSettings,
    on_save: Callable[[Run, float], None],
) -> None:
    """Steps from where `run` stands up to `settings.steps`; after every `save_every` of them and at the end `on_save`
    gets the run and the mean loss since the last time. ``examples(n)`` makes sure of the first n, or of all where there
    are fewer. What a step sees depends on the seed and its number alone."""
    losses: list[float] = []
    while run.step < settings.steps:
        there = examples(settings.first + run.step // settings.each)
        losses.append(_step(run, there, settings, context.device))
        if run.step % settings.save_every == 0 or run.step == settings.steps:
            on_save(run, float(np.mean(losses)))
            losses.clear()
        context.progress(run.step / settings.steps)


def _step(run: Run, examples: Sequence[Path], settings: TrainingSettings, device: str) -> float:
    import torch

    rising = min(1.0, (run.step + 1) / settings.warm_up)
    falling = min(1.0, 5 * (1 - run.step / settings.steps))
    for group in run.optimiser.param_groups:
        group["lr"] = settings.rate * rising * falling
    features, share, rest = (part.to(device) for part in _batch(examples, settings, run.step))
    run.network.train()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=settings.bfloat16):
        logits = run.network(features)
    loss = separation_loss(logits.float(), features, share, rest, torch.from_numpy(WIDTHS).to(device))
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    follow = 1 - min(settings.average, run.step / (run.step + 10))
    with torch.no_grad():
        own = run.network.state_dict()
        for name, value in run.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(own[name], follow)
            else:
                value.copy_(own[name])
    return float(loss.detach())


def _batch(examples: Sequence[Path], settings: TrainingSettings, step: int) -> tuple[Tensor, Tensor, Tensor]:
    import torch

    random = np.random.default_rng([settings.seed, step])
    maps, rests = [], []
    for index in random.integers(len(examples), size=settings.batch):
        chosen = Example.load(examples[int(index)])
        start = int(random.integers(max(1, chosen.maps.shape[1] - settings.frames + 1)))
        crop = np.asarray(chosen.maps[:, start : start + settings.frames], np.float32)
        rest = chosen.rest[:, start : start + settings.frames]
        lacking = settings.frames - crop.shape[1]
        maps.append(np.pad(crop, ((0, 0), (0, lacking), (0, 0))))
        rests.append(np.pad(rest, ((0, 0), (0, lacking))))
    stacked = torch.from_numpy(np.stack(maps))
    return stacked[:, :CHANNELS], stacked[:, CHANNELS:], torch.from_numpy(np.stack(rests))
