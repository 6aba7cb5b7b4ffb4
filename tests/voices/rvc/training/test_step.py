import io

import pytest
import torch

from tests.support.rvc_files import small
from tests.support.training_batches import random_batch
from understudy.voices.rvc.architecture import Architecture, segment_frames
from understudy.voices.rvc.synthesizer import assemble
from understudy.voices.rvc.training.batch import draw
from understudy.voices.rvc.training.networks import export, weights
from understudy.voices.rvc.training.step import StepLosses, TrainingState, chosen_precision, new_state, step
from understudy.voices.training.settings import TrainingSettings

SETTINGS = TrainingSettings(size="tiny", learning_rate=1e-3)


def begun(architecture: Architecture | None = None, seed: int = 1234) -> TrainingState:
    return new_state(architecture or small(), SETTINGS.model_copy(update={"seed": seed}))


def made(state: TrainingState, most_gradient: float | None = None, loud: float = 1.0) -> StepLosses:
    batch = random_batch(state.architecture, (44, 41))
    batch.sound.mul_(loud)
    draws = draw(batch, state.architecture, segment_frames(state.architecture), 1, state.step)
    return step(state, batch, draws, most_gradient=most_gradient)


def everything(state: TrainingState) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in (weights(state.generator) | weights(state.discriminator)).items()}


@pytest.mark.parametrize("architecture", [small("v1"), small("v2", f0=False)])
def test_the_losses_fall_and_every_parameter_is_trained(architecture: Architecture) -> None:
    state = begun(architecture)
    before = everything(state)
    losses = [made(state) for _ in range(3)]
    assert losses[2].mel < losses[0].mel
    assert losses[2].discriminator < losses[0].discriminator
    assert [name for name, tensor in everything(state).items() if torch.equal(tensor, before[name])] == []


def test_a_stored_state_goes_on_with_the_same_bits() -> None:
    undisturbed = begun()
    made(undisturbed)
    file = io.BytesIO()
    torch.save(undisturbed.to_dict(), file)
    wanted = made(undisturbed)
    file.seek(0)
    resumed = begun(seed=2)
    resumed.load(torch.load(file, weights_only=True))
    assert made(resumed) == wanted
    assert resumed.step == 2
    found = everything(resumed)
    for name, tensor in everything(undisturbed).items():
        assert torch.equal(tensor, found[name]), name


def test_a_gradient_above_the_bound_is_clipped_and_said() -> None:
    free, bound, ample = (made(begun(), most) for most in (None, 0.5, 1e9))
    assert (free.clipped, bound.clipped, ample.clipped) == (False, True, False)
    assert bound.grad_d == free.grad_d > 0.5  # as it was before clipping
    assert ample == free


def test_a_network_is_not_updated_where_its_gradient_is_not_finite() -> None:
    state = begun()
    before = everything(state)
    losses = made(state, loud=float("nan"))
    assert not losses.discriminator < float("inf")
    assert not losses.grad_d < float("inf")
    for name, tensor in everything(state).items():
        assert torch.equal(tensor, before[name]), name


def test_the_gradients_are_averaged_before_the_update() -> None:
    state, seen = begun(), []

    def none(gradients: list[torch.Tensor]) -> None:
        seen.append(len(gradients))
        torch._foreach_zero_(gradients)

    batch = random_batch(state.architecture, (44, 41))
    losses = step(state, batch, draw(batch, state.architecture, 40, 1, 0), average=none)
    assert (losses.grad_d, losses.grad_g) == (0, 0)
    assert seen == [len(weights(state.discriminator)) + 1, len(weights(state.generator)) + 1]  # and the loss


def test_the_scaler_of_float16_changes_no_loss_and_leaves_out_an_overflowing_step() -> None:
    """On a CPU with float32 networks: what a GPU adds is the autocast."""
    wanted = made(begun())
    state = begun()
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    found = made(state)
    assert found.mel == wanted.mel
    assert found.grad_g == pytest.approx(wanted.grad_g, rel=1e-5)
    assert found.grad_d == pytest.approx(wanted.grad_d, rel=1e-5)
    assert state.scaler.get_scale() == 2.0**10
    before = everything(state)
    made(state, loud=float("inf"))
    assert state.scaler.get_scale() == 2.0**9
    for name, tensor in everything(state).items():
        assert torch.equal(tensor, before[name]), name


def test_the_scaler_is_stored_with_the_state() -> None:
    state, resumed = begun(), begun()
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**7)
    resumed.scaler = torch.amp.GradScaler("cpu")
    resumed.load(state.to_dict())
    assert resumed.scaler.get_scale() == 2.0**7


def test_the_learning_rate_is_that_of_both_optimisers() -> None:
    state = begun()
    state.learning_rate = 0.25
    assert [o.param_groups[0]["lr"] for o in (state.optimizer_g, state.optimizer_d)] == [0.25, 0.25]
    assert state.learning_rate == 0.25


def test_a_cpu_trains_in_float32() -> None:
    assert chosen_precision("auto", "cpu") == chosen_precision("float16", "cpu") == "float32"


@pytest.mark.parametrize("f0", [True, False])
def test_the_exported_voice_sings_as_the_generator_does(f0: bool) -> None:
    architecture = small(f0=f0)
    generator = begun(architecture).generator.eval()
    checkpoint = export(generator, {"info": "3epoch"})
    assert checkpoint.info == {"info": "3epoch"}
    batch = random_batch(architecture, (30,))
    sung = [
        network.infer(batch.content, batch.coarse, batch.f0, batch.speaker, generator=torch.Generator().manual_seed(1))
        for network in (generator, assemble(architecture, checkpoint.weights))
    ]
    assert float((sung[0] - sung[1]).std() / sung[0].std()) < 0.02  # float16
