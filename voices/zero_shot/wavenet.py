"""What follows the transformer in some models: a WaveNet (A. van den Oord et al. 2016), told the time, and a norm.

x -> for each layer: convolution, plus what the time adds -> tanh x sigmoid -> to the next layer, and to the sum
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.zero_shot.configuration import WaveNetSizes


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.ModuleDict({"conv": nn.Conv1d(inputs, outputs, kernel)})})


def _applied(layer: nn.Module, x: Tensor) -> Tensor:
    """The convolution of `layer`, whose input continues mirrored beyond its ends."""
    (convolution,) = (part for part in layer.modules() if isinstance(part, nn.Conv1d))
    reach = convolution.kernel_size[0] // 2
    y: Tensor = convolution(functional.pad(x, (reach, reach), "reflect") if reach else x)
    return y


class WaveNet(nn.Module):
    def __init__(self, c: WaveNetSizes) -> None:
        super().__init__()
        outputs = [2 * c.width] * (c.layers - 1) + [c.width]  # the last layer has no next one
        self.cond_layer = _convolution(c.width, 2 * c.width * c.layers, 1)
        self.in_layers = nn.ModuleList(_convolution(c.width, 2 * c.width, c.kernel) for _ in outputs)
        self.res_skip_layers = nn.ModuleList(_convolution(c.width, count, 1) for count in outputs)

    def forward(self, x: Tensor, time: Tensor, tick: Callable[[], None]) -> Tensor:
        """`x` ``[B, width, T]`` to the same; `time` ``[width]``. `tick` is called after every layer and may raise."""
        added = _applied(self.cond_layer, time[:, None]).chunk(len(self.in_layers))
        total: Tensor | None = None
        for layer, onward, of_time in zip(self.in_layers, self.res_skip_layers, added, strict=True):
            signal, gate = (_applied(layer, x) + of_time).chunk(2, 1)
            found = _applied(onward, signal.tanh() * gate.sigmoid())
            if found.shape[1] > x.shape[1]:
                more, found = found.chunk(2, 1)
                x = x + more
            total = found if total is None else total + found
            tick()
        assert total is not None
        return total


class ModulatedNorm(nn.Module):
    """Layer norm whose scale and shift depend on the time, then a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(time).chunk(2, -1)
        y: Tensor = self.linear(functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        return y
