"""`Generator`: the synthesizer as it is trained, with the posterior encoder and with weight norm as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from understudy.voices.rvc.architecture import Architecture, segment_frames, tensor_shapes
from understudy.voices.rvc.checkpoint import Checkpoint, old_name
from understudy.voices.rvc.decoder import harmonic_source
from understudy.voices.rvc.synthesizer import Synthesizer, exists
from understudy.voices.rvc.training.batch import Batch, Draws
from understudy.voices.rvc.training.discriminators import Discriminators
from understudy.voices.rvc.training.posterior_encoder import PosteriorEncoder

Tool = Literal["rvc", "applio"]
"""A trainer with its own order of parameters: RVC WebUI or Applio."""


@dataclass(frozen=True, eq=False)
class Base:
    """The weights that a training begins with, under RVC's names. `architecture` is the one asked for, but with the
    number of speakers that the file has."""

    architecture: Architecture
    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a training step needs of the generator: `sound` [B, 1, N], the decoded segment of each clip, which begins at
    the frame `start` [B]; and [B, latent, T] each, for the divergence of posterior and prior: a `sample` of the
    posterior on the prior's side of the flow, its `log_std`, `prior_mean` and `prior_log_std`; `mask` [B, 1, T]."""

    sound: Tensor
    start: Tensor
    sample: Tensor
    log_std: Tensor
    prior_mean: Tensor
    prior_log_std: Tensor
    mask: Tensor


class Generator(Synthesizer):
    """Weight norm (Salimans & Kingma, 2016) where RVC has it; see `weights` for RVC's names."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.enc_q = PosteriorEncoder(architecture)
        normed = {name.removesuffix(".weight_g") for name in tensor_shapes(architecture) if name.endswith("weight_g")}
        for name, module in self.named_modules():
            if name in normed or (name.startswith("enc_q.enc.") and isinstance(module, nn.Conv1d)):
                parametrizations.weight_norm(module)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """Initial values that differ from torch's, as in VITS: attention's, and no shift in the flow."""
        for name, parameter in self.named_parameters():
            if "emb_rel" in name:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
            elif name.endswith(("conv_q.weight", "conv_k.weight", "conv_v.weight")):
                nn.init.xavier_uniform_(parameter)
        for coupling in self.flow.couplings():
            for parameter in coupling.post.parameters():
                nn.init.zeros_(parameter)

    def forward(self, batch: Batch, draws: Draws) -> Decoded:
        """Decode a random segment of each clip from its own spectrogram. Every clip is at least as long as the
        segment."""
        g = self.speaker_vector(batch.speaker)
        mask = exists(batch.lengths, batch.content.shape[1])
        prior_mean, prior_log_std = self.enc_p(batch.content, batch.coarse, mask)
        z, log_std = self.enc_q(batch.spectrogram, mask, g, draws.posterior)
        sample = self.flow(z, mask, g)
        frames = segment_frames(self.architecture)
        start = (draws.segments * (batch.lengths - frames + 1).clamp(min=1)).long()
        source = None
        if batch.f0 is not None:
            f0 = segments(batch.f0.unsqueeze(1), start, frames).squeeze(1)
            source = harmonic_source(f0, self.architecture.hop, self.architecture.sample_rate, draws.source)
        sound = self.dec(segments(z, start, frames), source, g)
        return Decoded(sound, start, sample, log_std, prior_mean, prior_log_std, mask)


def segments(x: Tensor, start: Tensor, length: int) -> Tensor:
    """`length` values of each row of `x` [B, C, T], from `start` [B] on: [B, C, length]."""
    places = start.unsqueeze(1) + torch.arange(length, device=start.device)
    return x.gather(2, places.unsqueeze(1).expand(-1, x.shape[1], -1))


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The parameters themselves, not copies, under RVC's names and in the order in which RVC's optimiser has them."""
    named = {old_name(name): parameter.detach() for name, parameter in network.named_parameters()}
    return {name: named[name] for name in in_rvc_order(network)}


def in_rvc_order(network: nn.Module, tool: Tool = "rvc") -> dict[str, nn.Parameter]:
    """The parameters under RVC's names, in the order of RVC WebUI's or Applio's own network.

    A stored optimiser knows parameters by their number, so both sides must count them alike.
    """
    named = {old_name(name): parameter for name, parameter in network.named_parameters()}
    version = network.architecture.version if isinstance(network, Synthesizer) else "v2"
    # RVC WebUI's v2 makes a v1 network and replaces the prior encoder, which puts it last
    order = "dec enc_q flow emb_g enc_p" if (tool, version) == ("rvc", "v2") else "enc_p dec enc_q flow emb_g"
    order += " m_source noise_convs conv_pre ups" if tool == "rvc" else " m_source conv_pre ups noise_convs"
    places = {part: place for place, part in enumerate((order + _ORDER).split())}
    return {
        name: named[name]
        for name in sorted(named, key=lambda name: [int(p) if p.isdigit() else places[p] for p in name.split(".")])
    }


_ORDER = """
resblocks convs1 convs2 convs conv_post cond
pre emb_phone emb_pitch in_layers res_skip_layers cond_layer enc post encoder proj
attn_layers norm_layers_1 ffn_layers norm_layers_2 emb_rel_k emb_rel_v conv_q conv_k conv_v conv_o conv_1 conv_2
gamma beta weight bias weight_g weight_v l_linear flows discriminators
"""


@torch.no_grad()
def load_weights(network: nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Copy `stored`, under RVC's names and of the right shapes, into the parameters. Raises KeyError where one is
    missing."""
    for name, parameter in in_rvc_order(network).items():
        parameter.copy_(stored[name])


def export(
    generator: Generator, info: Mapping[str, Any] | None = None, averaged: Mapping[str, Tensor] | None = None
) -> Checkpoint:
    """The finished voice: float16, without the posterior encoder. `info`: see `checkpoint.INFO`. `averaged`: weights to
    take instead of the generator's own, under RVC's names."""
    named = weights(generator) if averaged is None else averaged
    half = {name: named[name].to("cpu", torch.float16) for name in tensor_shapes(generator.architecture)}
    return Checkpoint(generator.architecture, half, dict(info or {}))


def networks(architecture: Architecture, seed: int) -> tuple[Generator, Discriminators]:
    """Generator and discriminators with random initial weights that follow from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(architecture), Discriminators(architecture)
