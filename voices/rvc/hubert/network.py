"""HuBERT base, for inference: a 16 kHz waveform in, frames every 20 ms out.

Seven convolutions (320 samples per frame), a projection, a positional convolution, and post-norm transformer layers.
Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units" (2021),
after Baevski et al., "wav2vec 2.0" (2020). Activations are channels last, [B, T, C]. The weights have the names of
`weights`.

Two things are computed in another way than in training, with the same result:
- Group norm with one group per channel needs mean and variance of the first convolution's output over the whole window.
  As the convolution is linear, both follow from the mean and the covariance of the waveform's frames of 10 samples. So
  the norm is folded into that convolution's weights, and the convolutions run block by block in the CPU's cache.
- The convolutions are matrix products over frames laid side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from understudy.voices.rvc.hubert.weights import HEAD_CHANNELS, KERNELS, STRIDES, Weights

HOP = 320  # samples per frame
REACH = 400  # samples that one frame sees, before the transformer
EPSILON = 1e-5  # of all norms
BLOCK = 50  # frames that go through the convolutions together: one second, 6.5 MB after the first one


def frame_count(samples: int) -> int:
    """The number of frames for `samples` of sound: 0 below 400."""
    return max(0, (samples - REACH) // HOP + 1)


class Network:
    """The network with its weights. `precision`: dtype of the matrix products; everything else is float32."""

    def __init__(self, weights: Weights, device: torch.device, precision: torch.dtype) -> None:
        tensors = weights.tensors
        self.sizes = weights.sizes
        self.device = device
        self.precision = precision

        def plain(name: str) -> Tensor:
            return tensors[name].to(device)

        def matrix(*names: str) -> tuple[Tensor, Tensor]:
            parts = ([tensors[f"{name}.{part}"] for name in names] for part in ("weight", "bias"))
            weight, bias = (some[0] if len(some) == 1 else torch.cat(some) for some in parts)  # cat copies even one
            return weight.to(device, precision), bias.to(device, precision)

        def norm(name: str) -> tuple[Tensor, Tensor]:
            return plain(f"{name}.weight"), plain(f"{name}.bias")

        first, *rest = (tensors[f"feature_extractor.conv_layers.{layer}.conv.weight"] for layer in range(len(KERNELS)))
        self.first = first[:, 0].to(device)
        self.first_norm = norm("feature_extractor.conv_layers.0.layer_norm")
        self.convolutions = [weight.transpose(1, 2).flatten(1).contiguous().to(device, precision) for weight in rest]
        self.projection_norm = norm("feature_projection.layer_norm")
        self.projection = matrix("feature_projection.projection")
        self.position = (
            plain("encoder.pos_conv_embed.conv.weight").to(precision),
            plain("encoder.pos_conv_embed.conv.bias").to(precision),
        )
        self.position_norm = norm("encoder.layer_norm")
        self.layers = [
            (
                matrix(*(f"encoder.layers.{layer}.attention.{part}_proj" for part in "qkv")),
                matrix(f"encoder.layers.{layer}.attention.out_proj"),
                norm(f"encoder.layers.{layer}.layer_norm"),
                matrix(f"encoder.layers.{layer}.feed_forward.intermediate_dense"),
                matrix(f"encoder.layers.{layer}.feed_forward.output_dense"),
                norm(f"encoder.layers.{layer}.final_layer_norm"),
            )
            for layer in range(self.sizes.layers)
        ]
        self.final = matrix("final_proj") if self.sizes.projected else None

    def __call__(self, sound: Tensor, layers: int) -> Tensor:
        """The output of layer `layers` (1: the first) for `sound` [B, N]: [B, frame_count(N), hidden] float32."""
        x = self._project(self.convolve(sound))
        x = self._norm(x + self._positions(x), self.position_norm)
        for layer in self.layers[:layers]:
            x = self._layer(x, *layer)
        return x

    def project(self, x: Tensor) -> Tensor:
        """`final_proj` of [B, T, hidden]: [B, T, projected] float32."""
        assert self.final is not None
        return functional.linear(x.to(self.precision), *self.final).float()

    def convolve(self, sound: Tensor) -> Tensor:
        """[B, N] to [B, T, channels] float32."""
        frames = frame_count(sound.shape[1])
        weight, bias = self._first(sound)
        out = sound.new_empty(len(sound), frames, self.sizes.channels)
        for start in range(0, frames, BLOCK):
            stop = min(start + BLOCK, frames)
            x = sound[:, HOP * start : HOP * (stop - 1) + REACH].unfold(1, KERNELS[0], STRIDES[0])
            x = torch.einsum("btk,bck->btc", x, weight).add_(bias)
            x = functional.gelu(x).to(self.precision)
            for kernel, matrix in zip(KERNELS[1:], self.convolutions, strict=True):
                x = functional.gelu(functional.linear(_side_by_side(x, kernel), matrix))
            out[:, start:stop] = x
        return out

    def _first(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """The first convolution with its group norm, per sound: weights [B, channels, 10], bias [B, 1, channels]."""
        # With the frames x [10] of the waveform, their mean m and covariance C, the output of channel w has the mean
        # w.m and the variance w.C.w.
        frames = sound.double().unfold(1, KERNELS[0], STRIDES[0])  # [B, T', 10]
        mean = frames.mean(1)
        covariance = (
            torch.stack([frame.T @ frame for frame in frames]) / frames.shape[1] - mean[:, :, None] * mean[:, None]
        )
        weight = self.first.double()
        variance = torch.einsum("ck,bkl,cl->bc", weight, covariance, weight).clamp_min(0)
        gain = self.first_norm[0] / (variance + EPSILON).sqrt()
        bias = self.first_norm[1] - gain * (mean @ weight.T)
        return (gain[:, :, None] * weight).float(), bias[:, None].float()

    def _project(self, x: Tensor) -> Tensor:
        x = self._norm(x, self.projection_norm)
        return functional.linear(x.to(self.precision), *self.projection).float()

    def _positions(self, x: Tensor) -> Tensor:
        weight, bias = self.position
        kernel = self.sizes.position_kernel
        y = functional.conv1d(
            x.to(self.precision).transpose(1, 2), weight, bias, padding=kernel // 2, groups=self.sizes.position_groups
        )
        return functional.gelu(y[..., : x.shape[1]]).transpose(1, 2).float()

    def _layer(
        self,
        x: Tensor,
        qkv: tuple[Tensor, Tensor],
        out: tuple[Tensor, Tensor],
        attention_norm: tuple[Tensor, Tensor],
        ff_in: tuple[Tensor, Tensor],
        ff_out: tuple[Tensor, Tensor],
        last_norm: tuple[Tensor, Tensor],
    ) -> Tensor:
        batch, frames, _ = x.shape
        # one product for query, key and value: [B, T, 3, heads, 64] to 3 x [B, heads, T, 64]
        y = functional.linear(x.to(self.precision), *qkv).view(batch, frames, 3, -1, HEAD_CHANNELS)
        query, key, value = y.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self._norm(x + functional.linear(y, *out), attention_norm)
        y = functional.gelu(functional.linear(x.to(self.precision), *ff_in))
        return self._norm(x + functional.linear(y, *ff_out), last_norm)

    def _norm(self, x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], *affine, EPSILON)


def _side_by_side(x: Tensor, kernel: int) -> Tensor:
    """[B, T, C] to [B, (T - kernel) // 2 + 1, kernel * C]: the input of each step of a convolution of stride 2."""
    return x.unfold(1, kernel, 2).transpose(2, 3).flatten(2)
