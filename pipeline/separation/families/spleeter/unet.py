"""Spleeter's U-Net: from the magnitudes of the song's spectrum to those of one stem.

Source: R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, "Spleeter: a Fast and Efficient Music Source Separation
Tool with Pre-trained Models" (JOSS 2020), after A. Jansson et al., "Singing Voice Separation with Deep U-Net
Convolutional Networks" (2017). Sizes, paddings and the order of activation and normalisation are those of the released
models; there are two activations, which the shapes don't distinguish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from understudy.pipeline.separation.families.spleeter.names import NORMS

EPSILON = 1e-3
"""Of the batch normalisations."""


@dataclass(frozen=True)
class UNet:
    """`weights` by the names of `shapes`. `elu`: its activation, of all layers; else leaky and plain ReLU."""

    weights: Mapping[str, Tensor]
    elu: bool

    def logits(self, magnitudes: Tensor) -> Tensor:
        """Magnitudes ``[batch, 2, 512, 1024]`` -> logits of the mask, for a sigmoid or, across stems, a softmax."""

        def normed(values: Tensor, name: str) -> Tensor:
            weight, bias, mean, variance = (self.weights[f"{name}.{part}"] for part in NORMS)
            return functional.batch_norm(values, mean, variance, weight, bias, eps=EPSILON)

        values, seen = magnitudes.to(self.weights["down0.weight"].dtype), []
        for layer in range(6):
            padded = functional.pad(values, (1, 2, 1, 2))
            convolved = functional.conv2d(padded, *self._named(f"down{layer}"), stride=2)
            seen.append(convolved)
            if layer < 5:  # the deepest one is used without norm and activation
                values = self._squashed(normed(convolved, f"down{layer}.norm"))
        values = seen.pop()
        for layer in range(6):
            raised = functional.conv_transpose2d(values, *self._named(f"up{layer}"), stride=2)[..., 1:-2, 1:-2]
            values = normed(self._raised(raised), f"up{layer}.norm")
            if layer < 5:
                values = torch.cat([seen.pop(), values], 1)
        return functional.conv2d(values, *self._named("last"), padding=3, dilation=2).float()

    def _named(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def _squashed(self, values: Tensor) -> Tensor:
        return functional.elu(values) if self.elu else functional.leaky_relu(values, 0.2)

    def _raised(self, values: Tensor) -> Tensor:
        return functional.elu(values) if self.elu else functional.relu(values)


def placed(weights: Mapping[str, Tensor], elu: bool, device: str, dtype: torch.dtype) -> UNet:
    """The network on `device`, its convolutions in `dtype`."""
    moved = {}
    for name, value in weights.items():
        format = torch.channels_last if value.dim() == 4 else torch.contiguous_format
        # with float32 statistics, torch computes a batch norm in float32 whatever its input
        moved[name] = value.to(device, torch.float32 if ".norm." in name else dtype).contiguous(memory_format=format)
    return UNet(moved, elu)


Estimate = Callable[[Tensor], Tensor]
"""The song's magnitudes, float32 ``[batch, 2, 512, 1024]`` -> the stems', ``[stems, batch, 2, 512, 1024]``."""


def all_stems(networks: tuple[UNet, ...], softmax: bool) -> Estimate:
    """All stems' magnitudes; with `softmax`, their masks compete."""

    def estimate(magnitudes: Tensor) -> Tensor:
        image = magnitudes.contiguous(memory_format=torch.channels_last)
        logits = torch.stack([network.logits(image) for network in networks])
        return (logits.softmax(0) if softmax else logits.sigmoid()) * magnitudes

    return estimate
