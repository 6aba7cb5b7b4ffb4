"""The residual branches of Demucs (DConv), on tensors with their channels last.

A branch is: dilated convolution to a few channels, group norm, GELU, 1x1 convolution to twice all channels, group norm,
GLU, layer scale; its result is added to its input. The second norm is over ``[2 channels, frames]``, the largest tensor
of the branch, and is never computed on it: for ``y = W h + b`` with the few channels `h`,

    mean of y_c = W_c mean(h) + b_c      sum over c of var(y_c) = sum of cov(h) * (W^T W)

so that mean and deviation follow from mean and covariance of `h`, and normalisation, scale and bias become columns of
one matrix product: ``[h / d, 1 / d, -m / d, 1] @ [w W, w b, w, bias]`` with deviation d, mean m and the norm's weight
w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5


@dataclass(frozen=True)
class Branch:
    """`squeeze`: ``[few, channels, 1, 3]``, the dilated convolution. `value` and `gate`: ``[channels, few + 3]``, the
    1x1 convolution and the norm behind it, for the `few` channels over the deviation, its inverse, minus the mean over
    it, and one. `wide` (``[2 channels, few]``), `wide_bias` and `gram` (``W^T W``, ``[few, few]``, per channel) give
    mean and variance of that norm."""

    squeeze: Tensor
    squeeze_bias: Tensor
    dilation: int
    norm: Tensor
    norm_bias: Tensor
    wide: Tensor
    wide_bias: Tensor
    gram: Tensor
    value: Tensor
    gate: Tensor


def branches(dconv: Any) -> tuple[Branch, ...] | None:
    """The branches of a module `DConv` of the package; None where it has attention or recurrence."""
    found = []
    for layer in dconv.layers:
        kinds = [type(module) for module in layer]
        if kinds[:6] != [nn.Conv1d, nn.GroupNorm, nn.GELU, nn.Conv1d, nn.GroupNorm, nn.GLU] or len(kinds) != 7:
            return None
        squeeze, first, _, expand, second, _, scale = layer
        wide = expand.weight[:, :, 0]
        extra = torch.stack([second.weight * expand.bias, second.weight, second.bias], 1)
        both = torch.cat([second.weight[:, None] * wide, extra], 1)
        value, gate = both.chunk(2)
        found.append(
            Branch(
                squeeze.weight[:, :, None].contiguous(memory_format=torch.channels_last),
                squeeze.bias,
                squeeze.dilation[0],
                first.weight,
                first.bias,
                wide,
                expand.bias,
                wide.T @ wide / wide.shape[0],
                (value * scale.scale[:, None]).contiguous(),
                gate.contiguous(),
            )
        )
    return tuple(found)


def add_branches(rows: Tensor, found: Sequence[Branch], at_once: int) -> None:
    """Add the branches, one after the other, to `rows`: float32 ``[rows, frames, channels]``, contiguous, in place. The
    gates are computed on `at_once` values at a time, which fit into the CPU's cache."""
    for branch in found:
        few = _squeezed(rows, branch)
        flat, inputs = rows.flatten(0, 1), few.flatten(0, 1)
        step = max(1, at_once // flat.shape[1])
        for start in range(0, flat.shape[0], step):
            part = inputs[start : start + step]
            gate = (part @ branch.gate.T).sigmoid_()
            flat[start : start + step].addcmul_(part @ branch.value.T, gate)


def _squeezed(rows: Tensor, branch: Branch) -> Tensor:
    """``[rows, frames, few + 3]``: the input of `Branch.value` and `Branch.gate`."""
    convolved = functional.conv2d(
        rows[None].permute(0, 3, 1, 2),
        branch.squeeze,
        branch.squeeze_bias,
        padding=(0, branch.dilation),
        dilation=(1, branch.dilation),
    )
    few = convolved.permute(0, 2, 3, 1)[0]
    few = functional.layer_norm(few.reshape(few.shape[0], -1), (few.shape[1] * few.shape[2],), eps=EPSILON).view(
        few.shape
    )
    few = functional.gelu(torch.addcmul(branch.norm_bias, few, branch.norm))
    middle = few.mean(1, keepdim=True)
    around = few - middle
    covariance = around.transpose(1, 2) @ around / few.shape[1]  # [rows, few, few]
    means = middle[:, 0] @ branch.wide.T + branch.wide_bias  # [rows, 2 channels]
    # the variance over channels and frames is the mean of the channels' variances and the variance of their means
    variance = (covariance * branch.gram).sum((1, 2)) + means.var(1, unbiased=False)
    inverse = torch.rsqrt(variance + EPSILON)[:, None]
    seen = few.new_empty(*few.shape[:2], few.shape[2] + 3)
    torch.mul(few, inverse[..., None], out=seen[..., :-3])
    seen[..., -3] = inverse
    seen[..., -2] = -means.mean(1, keepdim=True) * inverse
    seen[..., -1] = 1.0
    return seen
