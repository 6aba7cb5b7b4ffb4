"""RMVPE's network: a U-Net over time and frequency, then a recurrent layer over time.

The U-Net halves both axes `LEVELS` times and doubles them again; each level of the decoder is concatenated with the
output of the encoder's level of the same size. Activations are [1, channels, frames, bands]. Batch norms are folded
into the convolutions before them: at inference both are linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.audio.pitch.rmvpe.weights import HIDDEN, LEVELS, Weights, block_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MULTIPLE = 1 << LEVELS  # frames per frame of the innermost level
_EPSILON = 1e-5  # of the batch norms


@dataclass(frozen=True, eq=False)
class Convolution:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        from torch.nn.functional import conv2d

        return conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


@dataclass(frozen=True, eq=False)
class Upsampling:
    """A transposed convolution that doubles both axes, and a ReLU."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        from torch.nn.functional import conv_transpose2d

        return conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1, output_padding=1).relu_()


@dataclass(frozen=True, eq=False)
class Block:
    """A residual block: two convolutions with ReLUs plus a shortcut (a convolution where the channels change)."""

    first: Convolution
    second: Convolution
    shortcut: Convolution | None

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu_()).relu_().add_(self.shortcut(x) if self.shortcut else x)


@dataclass(frozen=True, eq=False)
class Network:
    """`__call__`: log mel ``[frames, 128]`` -> salience 0..1 of 360 pitches ``[frames, 360]``, float32."""

    scale: Tensor
    shift: Tensor
    encoder: list[list[Block]]
    middle: list[Block]
    decoder: list[tuple[Upsampling, list[Block]]]
    last: Convolution
    recurrent: torch.nn.GRU
    pitches: torch.nn.Linear

    def __call__(self, log_mel: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            return self._pitches(self._features(log_mel))[: len(log_mel)]

    def _features(self, log_mel: Tensor) -> Tensor:
        """The U-Net's output ``[frames, 3 * 128]``, padded to a multiple of 32 by 0 as in training, not silence."""
        import torch
        from torch.nn.functional import avg_pool2d, pad

        x = pad(log_mel, (0, 0, 0, -len(log_mel) % MULTIPLE))[None, None] * self.scale + self.shift
        x = x.to(self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        skipped = []  # the encoder's outputs, outermost first
        for level in self.encoder:
            for block in level:
                x = block(x)
            skipped.append(x)
            x = avg_pool2d(x, 2)
        for block in self.middle:
            x = block(x)
        for upsample, level in self.decoder:
            # [1, channels, frames, bands] twice as long on both axes, with the encoder's channels after its own
            x = torch.cat((upsample(x), skipped.pop()), dim=1)
            for block in level:
                x = block(x)
        # [1, 3, frames, 128] to [frames, 3 * 128]
        return self.last(x)[0].transpose(0, 1).flatten(1).float()

    def _pitches(self, features: Tensor) -> Tensor:
        salience: Tensor = self.pitches(self.recurrent(features[None])[0][0]).sigmoid()
        return salience


def build(weights: Weights, device: str = "cpu", precision: torch.dtype | None = None) -> Network:
    """The network with `weights` (named as in `weights.expected`). `precision`: dtype of the U-Net, float32 unless
    given; the recurrent layer always runs in float32."""
    import torch

    precision = precision or torch.float32

    def ready(tensor: Tensor) -> Tensor:
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        return tensor.to(device, precision).contiguous(memory_format=layout)

    def folded(convolution: str, norm: str, axis: int = 0) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution with its batch norm: its output channels, on `axis`, are scaled."""
        scale, shift = _affine(weights, norm)
        along = [-1 if dimension == axis else 1 for dimension in range(4)]
        return ready(weights[f"{convolution}.weight"].double() * scale.reshape(along)), ready(shift)

    def block(name: str) -> Block:
        shortcut = f"{name}.shortcut.weight" in weights
        return Block(
            Convolution(*folded(f"{name}.conv.0", f"{name}.conv.1")),
            Convolution(*folded(f"{name}.conv.3", f"{name}.conv.4")),
            plain(f"{name}.shortcut") if shortcut else None,
        )

    def plain(name: str) -> Convolution:
        return Convolution(ready(weights[f"{name}.weight"]), ready(weights[f"{name}.bias"]))

    encoder, middle, decoder = block_names()
    ups = [
        Upsampling(*folded(f"unet.decoder.layers.{level}.conv1.0", f"unet.decoder.layers.{level}.conv1.1", axis=1))
        for level in range(LEVELS)
    ]
    scale, shift = _affine(weights, "unet.encoder.bn")
    recurrent = torch.nn.GRU(3 * 128, HIDDEN, batch_first=True, bidirectional=True)
    recurrent.load_state_dict({name.removeprefix("fc.0.gru."): weights[name] for name in weights if ".gru." in name})
    pitches = torch.nn.Linear(2 * HIDDEN, 360)
    pitches.load_state_dict({"weight": weights["fc.1.weight"], "bias": weights["fc.1.bias"]})
    return Network(
        scale.float().to(device),
        shift.float().to(device),
        [[block(name) for name in level] for level in encoder],
        [block(name) for name in middle],
        [(up, [block(name) for name in level]) for up, level in zip(ups, decoder, strict=True)],
        plain("cnn"),
        recurrent.to(device).eval(),
        pitches.to(device),
    )


def _affine(weights: Weights, norm: str) -> tuple[Tensor, Tensor]:
    """A batch norm at inference as a factor and an offset per channel, in float64."""
    scale = weights[f"{norm}.weight"].double() / (weights[f"{norm}.running_var"].double() + _EPSILON).sqrt()
    return scale, weights[f"{norm}.bias"].double() - scale * weights[f"{norm}.running_mean"].double()
