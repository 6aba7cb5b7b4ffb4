"""`Synthesizer`: an RVC voice's network, from content features and pitch to sound.

    content, coarse pitch ──► enc_p ──► mean, spread ──► + noise ──► flow, inverted ──► z ──► dec ──► sound
                                                                       speaker ──┴──────────────┤
                                                                       f0 ──► harmonic source ──┘

VITS (Kim, Kong & Son, 2021) with content features for text and NSF-HiFiGAN for the decoder. `infer` is all of it at
once. Whoever has a long song calls `latent` on windows of half a minute (attention reaches everywhere within one) and
decodes the frames in windows of their own: the decoder's reach is short.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from voices.rvc.architecture import Architecture
from voices.rvc.checkpoint import read_checkpoint
from voices.rvc.decoder import Decoder
from voices.rvc.flow import Flow
from voices.rvc.prior_encoder import PriorEncoder
from voices.rvc.source import harmonic_source
from voices.rvc.weight_norm import fold

Precision = Literal["float32", "bfloat16", "float16"]
TEMPERATURE = 0.66666  # of the prior's spread; RVC's, to the digit


@dataclass(frozen=True)
class LoadedCheckpoint:
    """`info`: what the file tells of itself."""

    synthesizer: Synthesizer
    architecture: Architecture
    info: dict[str, Any]


class Synthesizer(nn.Module):
    """Parameters have RVC's names, with weight norm folded."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.emb_g = nn.Embedding(architecture.speakers, architecture.speaker_channels)
        self.enc_p = PriorEncoder(architecture)
        self.flow = Flow(architecture.latent_channels, architecture.hidden_channels, architecture.speaker_channels)
        self.dec = Decoder(architecture)

    @torch.inference_mode()
    def infer(
        self,
        content: Tensor,
        coarse: Tensor | None,
        f0: Tensor | None,
        speaker: Tensor,
        *,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sound [B, 1, T * hop] within -1..1.

        `content` [B, T, 256 | 768] at 100 frames a second; `coarse` [B, T] int64 in 1..255 and `f0` [B, T] in Hz, 0
        where unvoiced (both None in models without pitch); `speaker` [B] int64; `lengths` [B]: how many frames of
        each row exist (None: all); a row comes out as it would alone, and silent behind its end.

        Draws what RVC draws, in its order, from `generator` or torch's own: normal [B, 192, T], and in models with
        pitch uniform [B, 1], which changes nothing, and normal [B, T * hop, 1]. Same seed, same sound as RVC.
        """
        batch, frames = content.shape[:2]
        noise = torch.randn(
            batch, self.architecture.latent_channels, frames, generator=generator, device=content.device
        )
        z = self.latent(content, coarse, speaker, noise, lengths=lengths)
        source = None
        if f0 is not None:
            torch.rand(batch, 1, generator=generator, device=content.device)
            hop = self.architecture.hop
            breath = torch.randn(batch, frames * hop, 1, generator=generator, device=content.device)
            source = harmonic_source(f0, hop, self.architecture.sample_rate, breath.view(batch, -1))
        return self.decode(z, source, speaker, lengths=lengths)

    @torch.inference_mode()
    def latent(
        self, content: Tensor, coarse: Tensor | None, speaker: Tensor, noise: Tensor, *, lengths: Tensor | None = None
    ) -> Tensor:
        """The decoder's input z [B, 192, T], 0 behind a row's length. `noise` [B, 192, T] is standard normal; the
        rest as in `infer`."""
        if (coarse is None) == self.architecture.f0:
            raise ValueError("coarse pitch goes with models with pitch, and only with them")
        mask = None if lengths is None else exists(lengths, content.shape[1])
        mean, spread = self.enc_p(content, coarse, mask)
        z = mean + torch.exp(spread) * noise * TEMPERATURE
        return self.flow.inverse(z if mask is None else z * mask, mask, self.voice(speaker))

    @torch.inference_mode()
    def decode(self, z: Tensor, source: Tensor | None, speaker: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """`z` as of `latent` and `source` [B, 1, T * hop] as of `harmonic_source` to sound [B, 1, T * hop]."""
        g = self.voice(speaker)
        if lengths is None:
            return self.dec(z, source, g)
        hop = self.architecture.hop
        sound = z.new_zeros(z.shape[0], 1, z.shape[2] * hop)
        for row, length in enumerate(lengths.tolist()):  # each up to its own end, which the decoder hears
            own = None if source is None else source[row : row + 1, :, : length * hop]
            sound[row : row + 1, :, : length * hop] = self.dec(z[row : row + 1, :, :length], own, g[row : row + 1])
        return sound

    def voice(self, speaker: Tensor) -> Tensor:
        """The speaker vectors [B, 256, 1] that flow and decoder are conditioned on; `speaker` [B]."""
        return self.emb_g(speaker).unsqueeze(-1)


def exists(lengths: Tensor, frames: int) -> Tensor:
    """`lengths` [B] to [B, 1, frames]: 1 where a row has a frame, 0 behind its end."""
    inside = torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)
    return inside.unsqueeze(1).float()


def load(path: Path, device: str = "cpu") -> LoadedCheckpoint:
    """See `voices.rvc.load_checkpoint`."""
    checkpoint = read_checkpoint(path)
    return LoadedCheckpoint(
        assemble(checkpoint.architecture, checkpoint.weights, device), checkpoint.architecture, checkpoint.info
    )


def assemble(architecture: Architecture, weights: dict[str, Tensor], device: str = "cpu") -> Synthesizer:
    """The network with `weights` under RVC's names, float16 or 32, weight-norm pairs folded or not."""
    with torch.device("meta"):  # no time for random weights that are replaced at once
        synthesizer = Synthesizer(architecture)
    synthesizer.load_state_dict({name: tensor.to(device) for name, tensor in fold(weights).items()}, assign=True)
    return synthesizer.eval().requires_grad_(False)
