"""`FineTuning`: the zero-shot engine's singing model as `voices.training.loop` trains it.

A step draws, for each clip of its batch, a time between noise and sound, the noise, and how much of the clip is the
prompt. The transformer is given what lies between noise and sound after the prompt, and is to find the direction from
one to the other (flow matching, Y. Lipman et al. 2023); the loss is the mean absolute difference. A tenth of the clips
it gets without anything else, for classifier-free guidance. Optimiser, rates and draws are those of seed-vc's
training. The transformer and the length regulator learn; the encoders and the vocoder stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.errors import Cancelled
from understudy.models import Weights
from understudy.voices.training.events import Notify
from understudy.voices.training.loop import Outcome, Scoring, train
from understudy.voices.training.ranks import Ranks
from understudy.voices.training.run_folder import RunFolder, held
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.training.threads import as_many_threads
from understudy.voices.zero_shot.diffusion import Converter, Estimator, Given
from understudy.voices.zero_shot.singing import read_converter
from understudy.voices.zero_shot.training.data import PLAYED, Example, FineTuningData, read_example

UNTUNED = "untuned.json"  # in the run's folder: the scores of the model as it was
DECAY = 0.999996  # of the learning rate, per step
MOST_GRADIENT = 10.0  # norm of the gradient of either part, above which it is scaled down
WITHOUT_PROMPT = 0.1  # share of the clips
WITHOUT_ANYTHING = 0.1  # share of the clips
HELD_OUT_CLIPS = 12  # that are evaluated, at most
TIMES = (1 / 6, 1 / 2, 5 / 6)  # at which each is
PATIENCE = 4  # evaluations without a gain, after which training ends

Scores = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Draw:
    """The random part of a loss. `time`: 0 is noise, 1 sound. `noise`: ``[frames, bands]``. `prompt`: frames.
    `played`: which of `PLAYED` is sung after the prompt. `told`: whether the transformer is told anything."""

    time: float
    noise: Tensor
    prompt: int
    played: int = 0
    told: bool = True


def draw(seed: Sequence[int], frames: int, bands: int) -> Draw:
    """The draw of these numbers, the same on every device."""
    random = np.random.default_rng(seed)
    time, share, prompted, told = random.random(4)
    played = int(random.integers(len(PLAYED)))
    noise = torch.from_numpy(random.standard_normal((frames, bands), np.float32))
    prompt = int(share * (frames - 1)) if prompted >= WITHOUT_PROMPT else 0
    return Draw(float(time), noise, prompt, played, bool(told >= WITHOUT_ANYTHING))


def flow_loss(converter: Converter, example: Example, drawn: Draw) -> Tensor:
    """The mean absolute error of the direction that the transformer gives after the prompt."""
    estimator, regulator = converter.cfm["estimator"], converter.length_regulator
    assert isinstance(estimator, Estimator)
    sound, frames, prompt = example.mel.T, example.mel.shape[1], drawn.prompt
    condition, styles = regulator(example.content[drawn.played], example.f0, example.style, frames)
    if drawn.played and prompt:
        own, _ = regulator(example.content[0], example.f0, example.style, frames)
        condition = torch.cat([own[:prompt], condition[prompt:]])
    noise, time = drawn.noise.to(sound.device), torch.tensor(drawn.time, device=sound.device)
    between = torch.cat([torch.zeros_like(sound[:prompt]), ((1 - time) * noise + time * sound)[prompt:]])
    given = Given(example.mel[:, :prompt], condition, styles) if drawn.told else None
    direction = estimator(between, estimator.known(given, frames)[None], time)[0]
    loss: Tensor = (direction - (sound - noise))[prompt:].abs().mean()
    return loss


class FineTuning:
    """`base`: the model to begin with, whose companion is its configuration. See `loop.Work`."""

    def __init__(self, settings: TrainingSettings, data: FineTuningData, base: Weights, device: str = "cpu") -> None:
        self.settings, self.data, self.base, self.device = settings, data, base, device
        self._state: tuple[Converter, torch.optim.AdamW] | None = None

    @property
    def state_of_training(self) -> tuple[Converter, torch.optim.AdamW]:
        if self._state is None:
            converter = read_converter(self.base).to(self.device).requires_grad_(True)
            values = converter.parameters()
            self._state = converter, torch.optim.AdamW(values, 0.0, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)
        return self._state

    def batches(self, epoch: int, size: int) -> Sequence[tuple[int, ...]]:
        """All clips in an order of the epoch's own; the last batch is filled up from the beginning."""
        count = len(self.data.training)
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(count)
        filled = np.resize(order, -(-count // size) * size).reshape(-1, size)
        return [tuple(int(index) for index in batch) for batch in filled]

    def step(self, batch: tuple[int, ...], number: int, epoch: int, rate: float) -> Mapping[str, float]:
        converter, optimiser = self.state_of_training
        optimiser.param_groups[0]["lr"] = self.settings.learning_rate * DECAY**number * rate
        optimiser.zero_grad()
        total = 0.0
        for place, index in enumerate(batch):  # one after the other: clips differ in length, and memory is that of one
            example = read_example(self.data.training[index], self.device)
            bands, frames = example.mel.shape
            loss = flow_loss(converter, example, draw((self.settings.seed, number, place), frames, bands))
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach()) / len(batch)
        parts = (converter.cfm, converter.length_regulator)
        norms = [float(torch.nn.utils.clip_grad_norm_(part.parameters(), MOST_GRADIENT)) for part in parts]
        optimiser.step()
        return {"flow": total, "grad_transformer": norms[0], "grad_regulator": norms[1]}

    def state(self) -> Any:
        converter, optimiser = self.state_of_training
        return {"weights": converter.state_dict(), "optimiser": optimiser.state_dict()}

    def restore(self, state: Any | None) -> None:
        if state is None:
            self._state = None
            return
        converter, optimiser = self.state_of_training
        converter.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])

    def write(self, path: Path, step: int) -> None:
        """Write the weights in float16 as safetensors, under the names of the published model."""
        from safetensors.torch import save_file

        weights = self.state_of_training[0].state_dict()
        save_file({name: tensor.half().cpu().contiguous() for name, tensor in weights.items()}, path)

    def evaluate(self, step: int, samples: Path, cancelled: Event) -> Mapping[str, Any]:
        """The mean loss of held-out clips, whose first third is the prompt, at fixed times and from fixed noise."""
        places = np.linspace(0, len(self.data.held_out) - 1, min(HELD_OUT_CLIPS, len(self.data.held_out)))
        losses = []
        for place in places.round().astype(int):
            example = read_example(self.data.held_out[place], self.device)
            bands, frames = example.mel.shape
            noise = draw((0, int(place)), frames, bands).noise
            for time in TIMES:
                if cancelled.is_set():
                    raise Cancelled
                with torch.no_grad():
                    losses.append(float(flow_loss(self.state_of_training[0], example, Draw(time, noise, frames // 3))))
        return {"held_out": float(np.mean(losses))}


def go_on(
    folder: RunFolder,
    data: FineTuningData,
    base: Weights,
    device: str,
    notify: Notify,
    cancelled: Event,
    enough: Event | None = None,
) -> Outcome:
    """Begin or go on with the run in `folder`, as `loop.train` does. Raises what that raises, ``training-running`` if
    another process is at it, and what reading the base model raises."""
    run = folder.run()
    if run is None:
        raise ValueError(f"{folder.path} holds no run")
    with held(folder.path / ".lock", run.voice), as_many_threads(run, device, Ranks()):
        work = FineTuning(run.settings, data, base, device)
        if not (folder.path / UNTUNED).exists():
            folder.write_json(UNTUNED, work.evaluate(0, folder.samples(0), cancelled))
        return train(folder, work, SCORING, notify, cancelled, enough)


def choose(found: Scores) -> Mapping[str, Any]:
    best = min(found, key=lambda entry: float(entry["held_out"]))  # of equals the earliest
    reason = f"Step {best['step']} has the smallest loss on the held-out recordings ({best['held_out']:.4f})."
    return {"step": best["step"], "score": best["held_out"], "reason": reason}


def finished(found: Scores) -> str | None:
    best = choose(found)["step"]
    later = [entry for entry in found if entry["step"] > best]
    if len(later) < PATIENCE:
        return None
    return f"The last {len(later)} evaluations brought no smaller loss on the held-out recordings than step {best}."


SCORING = Scoring(choose, finished, lambda entry: {"held_out": float(entry["held_out"])})
