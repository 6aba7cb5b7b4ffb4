"""`Synthesizer`: an RVC voice's network, from content features and pitch to sound.

    content, coarse pitch ──► enc_p ──► mean, log_std ──► + noise ──► flow, inverse ──► z ──► dec ──► sound
                                                                       speaker ──┴──────────────┤
                                                                       f0 ──► harmonic source ──┘

VITS (Kim, Kong & Son, 2021) with content features in place of text and NSF-HiFiGAN as the decoder. `infer` runs all of
it at once. For long songs, call `latent` on windows of half a minute, because attention depends on the whole window,
and `decode` or `blocks` on the frames: those need little memory at any length, because the decoder's reach is short.

Prior and flow are float32 at every precision: in bfloat16 they would save 2 % of the time, and the prior alone would
reduce the agreement with float32 to 35 dB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from understudy.models.precision import Precision
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.checkpoint import read_checkpoint
from understudy.voices.rvc.decoder import Decoder, harmonic_source
from understudy.voices.rvc.fast_decoder import FastDecoder
from understudy.voices.rvc.flow import Flow
from understudy.voices.rvc.prior_encoder import PriorEncoder

TEMPERATURE = 0.66666  # factor of the prior's standard deviation; RVC's value, to the digit
WINDOW = 1000  # frames that a GPU decodes at once


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A loaded voice. `info`: the metadata in its file (see `checkpoint.INFO`)."""

    synthesizer: Synthesizer
    architecture: Architecture
    info: dict[str, Any]


class Synthesizer(nn.Module):
    """Parameters have RVC's names, with weight norm folded. `fast`: the decoder's form for singing on a CPU."""

    fast: FastDecoder | None = None

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
        where unvoiced (both None in models without pitch); `speaker` [B] int64; `lengths` [B]: the number of frames
        of each row (None: all); each row equals its result alone, and is silent after its end.

        Draws the same random numbers as RVC, in its order, from `generator` or torch's own: normal [B, 192, T], and in
        models with pitch uniform [B, 1] (unused) and normal [B, T * hop, 1]. Same seed, same sound as RVC.
        """
        if (f0 is None) == self.architecture.f0:
            raise ValueError("f0 goes with models with pitch, and only with them")
        batch, frames = content.shape[:2]
        noise = torch.randn(
            batch, self.architecture.latent_channels, frames, generator=generator, device=content.device
        )
        z = self.latent(content, coarse, speaker, noise, lengths=lengths)
        source = None
        if f0 is not None:
            torch.rand(batch, 1, generator=generator, device=content.device)  # RVC's unused initial phase
            hop = self.architecture.hop
            breath = torch.randn(batch, frames * hop, 1, generator=generator, device=content.device)
            source = harmonic_source(f0, hop, self.architecture.sample_rate, breath.view(batch, -1))
        return self.decode(z, source, speaker, lengths=lengths)

    @torch.inference_mode()
    def latent(
        self, content: Tensor, coarse: Tensor | None, speaker: Tensor, noise: Tensor, *, lengths: Tensor | None = None
    ) -> Tensor:
        """The decoder's input z [B, 192, T], 0 after a row's end. `noise` [B, 192, T] is standard normal; the other
        parameters are as in `infer`. Raises ValueError unless `coarse` is given exactly to models with pitch."""
        if (coarse is None) == self.architecture.f0:
            raise ValueError("coarse pitch goes with models with pitch, and only with them")
        mask = None if lengths is None else exists(lengths, content.shape[1])
        mean, log_std = self.enc_p(content, coarse, mask)
        # a sample of the prior N(mean, (TEMPERATURE * std)²), brought to the decoder's side by the inverse flow
        z = mean + torch.exp(log_std) * noise * TEMPERATURE
        return self.flow.inverse(z if mask is None else z * mask, mask, self.speaker_vector(speaker))

    @torch.inference_mode()
    def decode(self, z: Tensor, source: Tensor | None, speaker: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """`z` as of `latent` and `source` [B, 1, T * hop] as of `harmonic_source` to sound [B, 1, T * hop]."""
        ends = [z.shape[2]] * z.shape[0] if lengths is None else lengths.tolist()
        hop = self.architecture.hop
        sound = z.new_zeros(z.shape[0], 1, z.shape[2] * hop, dtype=torch.float32)
        for row, end in enumerate(ends):  # each up to its own end, because the decoder sees zeros after it
            own = None if source is None else source[row : row + 1, :, : end * hop]
            place = 0
            for block in self.blocks(z[row : row + 1, :, :end], own, speaker[row : row + 1]):
                sound[row : row + 1, :, place : place + block.shape[2]] = block
                place += block.shape[2]
        return sound

    @torch.inference_mode()
    def blocks(self, z: Tensor, source: Tensor | None, speaker: Tensor) -> Iterator[Tensor]:
        """As `decode` with a batch of one, in blocks [1, 1, n] in order: one or two seconds each on a CPU, `WINDOW`
        frames on a GPU. Blocks are computed lazily; together they equal the whole, to rounding."""
        g = self.speaker_vector(speaker)
        if self.fast is not None and z.device.type == "cpu":
            yield from self.fast.blocks(z, source, g)
            return
        # windows with `side` frames of context, as much as the decoder sees, which are cut off again
        hop, frames, side = self.architecture.hop, z.shape[2], reach(self.dec)
        kind = self.dec.conv_pre.weight.dtype
        for start in range(0, frames, WINDOW):
            stop = min(start + WINDOW, frames)
            low, high = max(0, start - side), min(stop + side, frames)
            own = None if source is None else source[:, :, low * hop : high * hop].to(kind)
            made = self.dec(z[:, :, low:high].to(kind), own, g.to(kind)).float()
            yield made[:, :, (start - low) * hop : (stop - low) * hop]

    def speaker_vector(self, speaker: Tensor) -> Tensor:
        """The speaker vectors [B, 256, 1] that flow and decoder are conditioned on; `speaker` [B]."""
        vectors: Tensor = self.emb_g(speaker)
        return vectors.unsqueeze(-1)


def exists(lengths: Tensor, frames: int) -> Tensor:
    """The mask [B, 1, frames] for `lengths` [B]: 1 where a row has a frame, 0 after its end."""
    inside = torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)
    return inside.unsqueeze(1).float()


def reach(decoder: Decoder) -> int:
    """Frames on both sides that a frame of the decoder's sound depends on."""
    # from the last layer back: in samples of each stage's output, divided by its upsampling
    side = decoder.conv_post.kernel_size[0] // 2
    for up, _, blocks in reversed(list(decoder.stages())):
        side += max(sum(int(a.padding[0]) + int(b.padding[0]) for a, b in block.pairs()) for block in blocks)
        side = -(-(side + up.kernel_size[0]) // up.stride[0])
    return side + decoder.conv_pre.kernel_size[0] // 2


def load(path: Path, device: str = "cpu", precision: Precision = "float32") -> LoadedCheckpoint:
    """See `understudy.voices.rvc.load_checkpoint`."""
    checkpoint = read_checkpoint(path)
    synthesizer = assemble(checkpoint.architecture, checkpoint.weights, device, precision)
    return LoadedCheckpoint(synthesizer, checkpoint.architecture, checkpoint.info)


def assemble(
    architecture: Architecture, weights: dict[str, Tensor], device: str = "cpu", precision: Precision = "float32"
) -> Synthesizer:
    """The network with `weights` under RVC's names (float16 or float32, weight norm folded or not), for inference.

    `precision`: dtype of the decoder's convolutions, which take nine tenths of the time.
    Raises ValueError for float16 on a CPU.
    """
    with torch.device("meta"):  # no random initial weights, which would be replaced at once
        synthesizer = Synthesizer(architecture)
    synthesizer.load_state_dict({name: tensor.to(device) for name, tensor in fold(weights).items()}, assign=True)
    synthesizer.eval().requires_grad_(False)
    if not device.startswith("cpu"):
        synthesizer.dec.to(getattr(torch, precision))
    elif precision == "float16":
        raise ValueError("a CPU computes in float32 or bfloat16")
    else:
        synthesizer.fast = FastDecoder(synthesizer.dec, getattr(torch, precision))
    return synthesizer


def fold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with every weight-norm pair folded into a plain weight, all float32; other tensors keep their names.

    Weight norm (Salimans & Kingma, "Weight Normalization", 2016) stores ``weight = magnitude * direction /
    |direction|`` as a pair, the norm taken over every axis but the first (of transposed convolutions that is the axis
    of the *input* channels). At inference the pair is constant, so it is multiplied out once. Pairs have the names
    ``weight_g``, ``weight_v`` (see `checkpoint.old_name`). Raises KeyError for a magnitude without its direction.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name.endswith(".weight_g"):
            weight = name.removesuffix("_g")
            plain[weight] = normed(tensor, weights[f"{weight}_v"])
        elif not name.endswith(".weight_v"):
            plain[name] = tensor.float()
    return plain


def normed(magnitude: Tensor, direction: Tensor) -> Tensor:
    """`direction` [N, ...] scaled so that its N parts have the norms `magnitude` [N, 1, ...]; float32."""
    direction = direction.float()
    length = torch.linalg.vector_norm(direction, dim=tuple(range(1, direction.dim())), keepdim=True)
    weight: Tensor = direction * (magnitude.float() / length)
    return weight
