"""A convolution of five taps, with stride 1 or 3, by minimal filtering, with its gradients, for a CPU.

See `minimal_filter`: tiles of the input are taken to a few points, multiplied there by the kernel's values, and taken
back. All three steps are linear, so that the gradients take the same few products: forward and backward need 2/5 of a
direct convolution's operations with stride 1, and 7/10 with stride 3.

The products of matrices are oneDNN's, which on CPUs without Intel's name are twice as fast as those of MKL.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from understudy.voices.rvc.minimal_filter import minimal_filter

TAPS = 5
STRIDES = (1, 3)
_SIDE = TAPS // 2
_TILE = 4  # outputs


@cache
def _algorithm(stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """The matrices `forth` [products, inputs of a tile], `taps` [products, 5] and `back` [4, products]."""
    if stride == 1:
        found = minimal_filter(TAPS, 2, (2.0, -2.0, 0.5, -0.5))
        forth, taps, back = found.forth, found.taps, found.back
    else:
        # each tap meets every third sample only: taps 0 and 3 the same ones, one apart, taps 1 and 4 others, and tap 2
        # others again. So there are two filters of two taps and one of a single tap, each on its own samples.
        pair, tile = minimal_filter(2, 2, (2.0,)), _TILE
        count = len(pair.forth)
        forth, taps = np.zeros((2 * count + tile, 3 * (tile - 1) + TAPS)), np.zeros((2 * count + tile, TAPS))
        back = np.concatenate([pair.back, pair.back, np.eye(tile)], axis=1)
        for phase in (0, 1):
            forth[phase * count : (phase + 1) * count, phase::3] = pair.forth
            taps[phase * count : (phase + 1) * count, phase::3] = pair.taps
        forth[2 * count :, 2::3], taps[2 * count :, 2] = np.eye(tile), 1
    return torch.from_numpy(forth).float(), torch.from_numpy(taps).float(), torch.from_numpy(back).float()


def product(x: Tensor, y: Tensor) -> Tensor:
    """`x` [n, k] and `y` [m, k] to ``x @ y.T`` [n, m]."""
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], "")
        return found
    return x @ y.T


class _Values(torch.autograd.Function):
    """Kernels [out, in, 5] to their values at the points [products, out, in] and their norms [out]."""

    @staticmethod
    def forward(ctx: Any, kernels: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        norms = torch.linalg.vector_norm(kernels.flatten(1), dim=1)
        ctx.save_for_backward(kernels, norms)
        ctx.stride = stride
        values = _algorithm(stride)[1] @ kernels.reshape(-1, TAPS).T
        return values.view(-1, *kernels.shape[:2]), norms

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        kernels, norms = ctx.saved_tensors
        of_values, of_norms = gradients
        found = (of_values.flatten(1).T @ _algorithm(ctx.stride)[1]).view(kernels.shape)
        return found.addcmul_(kernels, (of_norms / norms).view(-1, 1, 1)), None


class _Convolution(torch.autograd.Function):
    """`x` [N, L, in] with the kernels' `values` [products, out, in] to [N, length, out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, stride: int) -> Tensor:
        forth, _, back = _algorithm(stride)
        rows, frames, channels = x.shape
        length = (frames - 1) // stride + 1
        tiles = -(-length // _TILE)
        step, reach = _TILE * stride, forth.shape[1]
        padded = F.pad(x, (0, 0, _SIDE, (tiles - 1) * step + reach - frames - _SIDE))
        # sample r of every tile, [reach, N, tiles, in]
        cut = torch.stack([padded[:, r : r + (tiles - 1) * step + 1 : step] for r in range(reach)])
        seen = (forth @ cut.view(reach, -1)).view(len(forth), rows * tiles, channels)
        made = torch.stack([product(a, b) for a, b in zip(seen, values, strict=True)])
        y = (back @ made.flatten(1)).view(_TILE, rows, tiles, -1).permute(1, 2, 0, 3).reshape(rows, tiles * _TILE, -1)
        ctx.save_for_backward(seen if ctx.needs_input_grad[1] else None, values)
        ctx.stride, ctx.frames = stride, frames
        return y[:, :length]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        forth, _, back = _algorithm(ctx.stride)
        seen, values = ctx.saved_tensors
        rows, length, _ = gradients[0].shape
        tiles = -(-length // _TILE)
        step, reach = _TILE * ctx.stride, forth.shape[1]
        gradient = F.pad(gradients[0], (0, 0, 0, tiles * _TILE - length)).view(rows, tiles, _TILE, -1)
        of_made = (back.T @ gradient.permute(2, 0, 1, 3).reshape(_TILE, -1)).view(len(forth), rows * tiles, -1)
        of_x = of_values = None
        if ctx.needs_input_grad[0]:
            of_seen = torch.stack([product(a, b.T) for a, b in zip(of_made, values, strict=True)])
            of_cut = (forth.T @ of_seen.flatten(1)).view(reach, rows, tiles, -1)
            ends = max((tiles - 1) * step + reach, ctx.frames + _SIDE)
            padded = of_cut.new_zeros(rows, ends, of_cut.shape[3])
            for r in range(reach):
                padded[:, r : r + (tiles - 1) * step + 1 : step] += of_cut[r]
            of_x = padded[:, _SIDE : _SIDE + ctx.frames]
        if ctx.needs_input_grad[1]:
            of_values = torch.stack([product(a.T, b.T) for a, b in zip(of_made, seen, strict=True)])
        return of_x, of_values, None


def values(kernels: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """What `convolve` takes of kernels [out, in, 5], and their norms [out]."""
    found: tuple[Tensor, Tensor] = _Values.apply(kernels, stride)  # type: ignore[no-untyped-call]
    return found


def convolve(x: Tensor, values: Tensor, stride: int = 1) -> Tensor:
    """`x` [N, L, in], with two zeros beyond each end, to [N, (L - 1) // stride + 1, out], as torch's convolution."""
    found: Tensor = _Convolution.apply(x, values, stride)  # type: ignore[no-untyped-call]
    return found
