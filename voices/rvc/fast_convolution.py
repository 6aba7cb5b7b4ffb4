"""The residual blocks' convolutions in the form that is fastest on a CPU.

Activations are [N, channels], samples first, so that a tile of samples is a matrix. There are two forms of the same
operation, a leaky ReLU followed by a length-preserving convolution:

- `direct`: torch's convolution, which in this layout reaches the CPU's rate for matrix products;
- `minimal`: minimal filtering (`minimal_filter`), a third to a half of the operations in three batched matrix
  products; faster where there are many channels and taps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.voices.rvc.decoder import SLOPE
from understudy.voices.rvc.minimal_filter import minimal_filter

Layer = Callable[[Tensor], Tensor]
"""Activations [N, channels] of any floating dtype to [N, channels] in the layer's own."""

# Points on the unit circle by (channels, taps), where minimal filtering is faster than the direct form; measured on a
# CPU with 1 MiB of second-level cache per core, in pieces as the decoder cuts them.
CIRCLES = {
    torch.float32: {
        (256, 3): 2, (256, 7): 12, (256, 11): 20, (128, 3): 2, (128, 7): 16, (128, 11): 20, (64, 7): 16, (64, 11): 16,
        (32, 11): 16,
    },
    torch.bfloat16: {(256, 3): 8, (256, 7): 20, (256, 11): 20, (128, 7): 24, (128, 11): 32, (64, 7): 24, (64, 11): 24},
}  # fmt: skip
# More real points need fewer products but are less accurate: 125 dB in float32, but 42 dB in bfloat16, where points on
# the circle alone give 47 dB.
REALS: dict[torch.dtype, tuple[float, ...]] = {torch.float32: (2.0, -2.0, 0.5, -0.5), torch.bfloat16: ()}


def fastest(convolution: nn.Conv1d, precision: torch.dtype) -> Layer:
    """Leaky ReLU and `convolution` (odd kernel, as many channels out as in), in whichever form is faster."""
    circle = CIRCLES[precision].get((convolution.in_channels, convolution.kernel_size[0]))
    if circle is None:
        return direct(convolution, precision)
    return minimal(convolution, precision, circle, REALS[precision])


def direct(convolution: nn.Conv1d, precision: torch.dtype) -> Layer:
    """The layer as torch's 2-D convolution of an image of one row, in channels-last order."""
    weight = convolution.weight.unsqueeze(2).to(precision, memory_format=torch.channels_last)
    bias = _bias(convolution, precision)
    dilation = convolution.dilation[0]
    padding = dilation * (convolution.kernel_size[0] - 1) // 2

    def layer(x: Tensor) -> Tensor:
        image = F.leaky_relu(x, SLOPE).to(precision)[None, None].permute(0, 3, 1, 2)
        return F.conv2d(image, weight, bias, padding=(0, padding), dilation=(1, dilation))[0, :, 0].t()

    return layer


def minimal(convolution: nn.Conv1d, precision: torch.dtype, circle: int, reals: tuple[float, ...] = ()) -> Layer:
    """The layer by minimal filtering with `circle` points on the unit circle and the points `reals`.

    A dilated convolution is an undilated one of every `dilation`-th sample. So the samples are sorted by phase (sample
    number modulo `dilation`), each phase with zeros around it, cut into overlapping tiles, filtered, and sorted back.
    """
    kernel, dilation, channels = convolution.kernel_size[0], convolution.dilation[0], convolution.out_channels
    algorithm = minimal_filter(kernel, circle, reals)
    forth, taps, back = (torch.from_numpy(part) for part in (algorithm.forth, algorithm.taps, algorithm.back))
    # [products, in, out]: the kernel's values at the points, computed once in float64
    weight = torch.tensordot(taps, convolution.weight.double(), ([1], [2])).transpose(1, 2).to(precision).contiguous()
    forth, back, bias = forth.to(precision), back.to(precision), _bias(convolution, precision)
    tile, reach = len(back), forth.shape[1]  # samples that come out of a tile and that go in
    side = (kernel - 1) // 2

    def layer(x: Tensor) -> Tensor:
        length = len(x)
        tiles = -(-(-(-length // dilation) + side) // tile)  # per phase, including the zeros before the next one
        padded = x.new_zeros(dilation * tiles * tile + reach, channels, dtype=precision)
        places = [slice(p * tiles * tile, p * tiles * tile - (-(length - p) // dilation)) for p in range(dilation)]
        for phase, place in enumerate(places):
            padded[place.start + side : place.stop + side] = F.leaky_relu(x[phase::dilation], SLOPE)
        count = dilation * tiles
        # overlapping tiles [count, reach, channels] as a view: neighbours are `tile` samples apart
        values = torch.bmm(
            forth.expand(count, -1, -1), padded.as_strided((count, reach, channels), (tile * channels, channels, 1))
        )
        products = torch.bmm(values.transpose(0, 1), weight)  # [products, count, out]
        y = torch.baddbmm(bias, back.expand(count, -1, -1), products.transpose(0, 1)).view(-1, channels)
        if dilation == 1:
            return y[:length]
        result = y.new_empty(length, channels)
        for phase, place in enumerate(places):
            result[phase::dilation] = y[place]
        return result

    return layer


def _bias(convolution: nn.Conv1d, precision: torch.dtype) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias.to(precision)
