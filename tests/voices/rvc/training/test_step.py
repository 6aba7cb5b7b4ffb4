import io
from typing import Literal

import pytest
import torch

from tests.support.training_batches import random_batch
from understudy.voices.rvc.architecture import segment_frames, tiny
from understudy.voices.rvc.training.batch import draw
from understudy.voices.rvc.training.networks import export, weights
from understudy.voices.rvc.training.settings import TrainingSettings
from understudy.voices.rvc.training.step import StepLosses, TrainingState, new_state, step

SETTINGS = TrainingSettings(size="tiny", learning_rate=1e-3)


def made(state: TrainingState, steps: int, most_gradient: float | None = None) -> list[StepLosses]:
    batch = random_batch(state.architecture)
    frames = segment_frames(state.architecture)
    return [
        step(state, batch, draw(batch, state.architecture, frames, 1, state.step), most_gradient=most_gradient)
        for _ in range(steps)
    ]


def everything(state: TrainingState) -> dict[str, torch.Tensor]:
    averaged = {f"averaged {name}": tensor for name, tensor in state.averaged.items()}
    return {**weights(state.generator), **weights(state.discriminator), **averaged}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("f0", [True, False])
def test_the_losses_fall(version: Literal["v1", "v2"], f0: bool) -> None:
    losses = made(new_state(tiny(version, f0), SETTINGS), 4)
    assert losses[3].mel < losses[0].mel
    assert losses[3].discriminator < losses[0].discriminator
    assert losses[3].kl < losses[0].kl


def test_every_parameter_is_trained() -> None:
    state = new_state(tiny(), SETTINGS)
    before = {name: tensor.clone() for name, tensor in everything(state).items()}
    made(state, 2)
    same = [name for name, tensor in everything(state).items() if torch.equal(tensor, before[name])]
    assert same == []


def test_a_stored_state_goes_on_with_the_same_bits() -> None:
    undisturbed = new_state(tiny(), SETTINGS)
    made(undisturbed, 1)
    file = io.BytesIO()
    torch.save(undisturbed.to_dict(), file)
    wanted = made(undisturbed, 1)
    file.seek(0)
    resumed = new_state(tiny(), SETTINGS.model_copy(update={"seed": 2}))
    resumed.load(torch.load(file, weights_only=True))
    assert made(resumed, 1) == wanted
    assert resumed.step == 2
    for name, tensor in everything(undisturbed).items():
        assert torch.equal(tensor, everything(resumed)[name]), name


def test_the_running_average_follows_the_weights_and_is_what_is_exported() -> None:
    state = new_state(tiny(), SETTINGS)
    name = "dec.conv_pre.weight"
    seen = [weights(state.generator)[name].clone()]
    for _ in range(2):
        made(state, 1)
        seen.append(weights(state.generator)[name].clone())
    average = seen[0]
    for number, values in enumerate(seen[1:], start=1):
        average = average + (values - average) * (1 - (1 + number) / (10 + number))
    assert torch.allclose(state.averaged[name], average, atol=1e-7)
    exported = export(state.generator, averaged=state.averaged).weights[name]
    assert torch.equal(exported, state.averaged[name].half())


def test_without_averaging_the_weights_themselves_are_kept() -> None:
    state = new_state(tiny(), SETTINGS.model_copy(update={"averaging": 0.0}))
    made(state, 1)
    for name, tensor in weights(state.generator).items():
        assert torch.equal(tensor, state.averaged[name]), name
