"""One step of training, as RVC WebUI makes it: the discriminators learn first, then the generator.

batch, draws ─► generator ─► sound ─► discriminators ─► their loss ─► AdamW
                    └───────────┴─► discriminators ─► its losses ─► AdamW
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from understudy.voices.rvc.architecture import Architecture, segment_frames
from understudy.voices.rvc.training.batch import Batch, Draws
from understudy.voices.rvc.training.discriminators import Discriminators
from understudy.voices.rvc.training.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    kl_loss,
    mel_loss,
    sum_of,
)
from understudy.voices.rvc.training.networks import (
    Base,
    Decoded,
    Generator,
    in_rvc_order,
    load_weights,
    networks,
    segments,
    weights,
)
from understudy.voices.rvc.training.spectrogram import log_mel, spectrogram
from understudy.voices.training.memory import keep_freed_memory
from understudy.voices.training.settings import TrainingSettings

BETAS = (0.8, 0.99)
EPSILON = 1e-9

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class StepLosses:
    """The losses of a step, before its update; the norms of both networks' gradients, before clipping; whether one of
    them was clipped. All are NaN or infinite where a computation was; then that network was not updated."""

    discriminator: float
    adversarial: float
    features: float
    mel: float
    kl: float
    grad_d: float
    grad_g: float
    clipped: bool = False


@dataclass(eq=False)
class TrainingState:
    """All that a step reads and changes. `step`: how many were made. `averaged`: the running average of the
    generator's weights, under RVC's names, of which `averaging` is kept in each step."""

    architecture: Architecture
    generator: Generator
    discriminator: Discriminators
    optimizer_g: AdamW
    optimizer_d: AdamW
    scaler: torch.amp.GradScaler
    precision: Precision
    averaging: float
    averaged: dict[str, Tensor]
    step: int = 0

    @property
    def device(self) -> torch.device:
        return self.generator.emb_g.weight.device

    @property
    def learning_rate(self) -> float:
        rate: float = self.optimizer_g.param_groups[0]["lr"]
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for optimizer in (self.optimizer_g, self.optimizer_d):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def to_dict(self) -> dict[str, Any]:
        """Tensors, numbers and texts that `load` takes; torch reads a file of them with ``weights_only``. The tensors
        are the state's own: they change with the next step."""
        return {
            "step": self.step,
            "generator": weights(self.generator),
            "discriminator": weights(self.discriminator),
            "optimizer_g": self.optimizer_g.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": self.averaged,
        }

    def load(self, stored: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave, with the same bits. Raises KeyError or ValueError where it doesn't fit."""
        load_weights(self.generator, stored["generator"])
        load_weights(self.discriminator, stored["discriminator"])
        self.optimizer_g.load_state_dict(stored["optimizer_g"])
        self.optimizer_d.load_state_dict(stored["optimizer_d"])
        if stored["scaler"]:
            self.scaler.load_state_dict(stored["scaler"])
        for name, tensor in self.averaged.items():
            tensor.copy_(stored["averaged"][name])
        self.step = stored["step"]

    def average(self) -> None:
        """Take the weights after a step into their running average. Over the first steps it forgets faster, so that
        it spans a tenth of the run at most."""
        kept = min(self.averaging, (1 + self.step) / (10 + self.step))
        own = weights(self.generator)
        torch._foreach_lerp_(list(self.averaged.values()), [own[name] for name in self.averaged], 1 - kept)


def new_state(
    architecture: Architecture, settings: TrainingSettings, device: str = "cpu", base: Base | None = None
) -> TrainingState:
    """Networks and optimisers before the first step. `base`: what `pretrained.read_base` read, which begins with its
    weights and has its architecture; None: random weights that follow from the seed."""
    if device.startswith("cpu"):
        keep_freed_memory()
    if base is not None:
        architecture = base.architecture
    generator, discriminator = networks(architecture, settings.seed)
    if base is not None:
        load_weights(generator, base.generator)
        load_weights(discriminator, base.discriminator)
    generator.to(device)
    discriminator.to(device)
    precision = chosen_precision(settings.precision, device)
    return TrainingState(
        architecture, generator, discriminator, _optimizer(generator, settings.learning_rate),
        _optimizer(discriminator, settings.learning_rate),
        torch.amp.GradScaler(torch.device(device).type, enabled=precision == "float16"), precision,
        settings.averaging, {name: tensor.clone() for name, tensor in weights(generator).items()},
    )  # fmt: skip


def _optimizer(network: nn.Module, rate: float) -> AdamW:
    return AdamW(in_rvc_order(network).values(), rate, betas=BETAS, eps=EPSILON, fused=True)


def chosen_precision(wanted: Literal["auto", "float32", "bfloat16", "float16"], device: str) -> Precision:
    """The autocast dtype: on a CPU float32, whatever is wanted; ``auto`` on a GPU is bfloat16, float16 where it has no
    bfloat16, float32 where it has neither."""
    if not device.startswith("cuda"):
        return "float32"
    if wanted != "auto":
        return wanted
    generation = torch.cuda.get_device_capability(device)[0]
    return "bfloat16" if generation >= 8 else "float16" if generation == 7 else "float32"


def step(
    state: TrainingState,
    batch: Batch,
    draws: Draws,
    *,
    most_gradient: float | None = None,
    average: Callable[[list[Tensor]], None] | None = None,
) -> StepLosses:
    """Make one step and return its losses; `state` is changed in place.

    `most_gradient`: gradients whose norm is greater are scaled down to it, a guard; None: never. `average` replaces the
    gradients of a network, and its loss, by their mean over all processes, in place.
    """
    a, frames = state.architecture, segment_frames(state.architecture)
    autocast = torch.autocast(state.device.type, getattr(torch, state.precision), enabled=state.precision != "float32")
    state.generator.train()
    with autocast:
        decoded = state.generator(batch, draws)
    fake = decoded.sound.float()
    real = segments(batch.sound, decoded.start * a.hop, frames * a.hop)

    loss_d = torch.zeros((), device=state.device)
    both = torch.cat([real, fake.detach()])
    for judge in state.discriminator.each():  # one after the other, so that only one is in memory
        with autocast:
            maps = judge(both)
        loss = discriminator_loss(maps[-1])
        torch.autograd.backward(state.scaler.scale(loss))
        loss_d += loss.detach()
    grad_d, clipped_d = _update(state, state.optimizer_d, loss_d, most_gradient, average)

    losses = {
        "mel": mel_loss(segments(log_mel(batch.spectrogram, a), decoded.start, frames), _heard(fake, a)),
        "kl": _divergence(decoded),
    }
    # the discriminators' gradient with respect to the sound alone, added up
    heard = fake.detach().requires_grad_()
    judged = {"adversarial": torch.zeros_like(loss_d), "features": torch.zeros_like(loss_d)}
    state.discriminator.requires_grad_(False)
    for judge in state.discriminator.each():
        with autocast:
            kernels = judge.kernels()
            with torch.no_grad():
                of_real = judge(real, kernels)
            of_fake = judge(heard, kernels)
        found = {"adversarial": adversarial_loss(of_fake[-1]), "features": feature_loss(of_real, of_fake)}
        torch.autograd.backward(state.scaler.scale(sum_of(found.values())))
        for name, loss in found.items():
            judged[name] += loss.detach()
    state.discriminator.requires_grad_(True)
    torch.autograd.backward([state.scaler.scale(sum_of(losses.values())), fake], [None, heard.grad])
    losses |= judged
    grad_g, clipped_g = _update(state, state.optimizer_g, sum_of(losses.values()).detach(), most_gradient, average)
    state.scaler.update()
    state.step += 1
    state.average()
    losses["discriminator"] = loss_d
    figures: list[float] = torch.stack([loss.detach() for loss in losses.values()]).tolist()  # one wait for a GPU
    return StepLosses(
        **dict(zip(losses, figures, strict=True)), grad_d=grad_d, grad_g=grad_g, clipped=clipped_d or clipped_g
    )


def _heard(sound: Tensor, architecture: Architecture) -> Tensor:
    return log_mel(spectrogram(sound.squeeze(1), architecture), architecture)


def _divergence(decoded: Decoded) -> Tensor:
    return kl_loss(decoded.sample, decoded.log_std, decoded.prior_mean, decoded.prior_log_std, decoded.mask)


def _update(
    state: TrainingState,
    optimizer: AdamW,
    loss: Tensor,
    most: float | None,
    average: Callable[[list[Tensor]], None] | None,
) -> tuple[float, bool]:
    """One update of a network, unless its loss or gradient isn't finite. The gradient's norm, and whether it was
    clipped."""
    gradients = [parameter.grad for parameter in optimizer.param_groups[0]["params"] if parameter.grad is not None]
    if average is not None:
        loss = loss.clone()
        average([*gradients, loss])  # the loss too, so that all processes agree whether it is finite
    state.scaler.unscale_(optimizer)
    squares = torch.stack(torch._foreach_norm(gradients)).double().square().sum()
    norm, found = torch.stack([squares.sqrt(), loss.double()]).tolist()
    clipped = most is not None and most < norm < math.inf
    if clipped and most is not None:
        torch._foreach_mul_(gradients, most / norm)
    if math.isfinite(norm) and math.isfinite(found):
        state.scaler.step(optimizer)
    optimizer.zero_grad()
    return norm, clipped
