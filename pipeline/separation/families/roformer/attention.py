"""Attention with rotary positions among the tokens of many short or few long sequences.

On a GPU it is torch's fused attention. On a CPU that computes in float32 whatever it is given, so in bfloat16 the two
matrix products and the softmax are done here, for some heads at a time where there are many scores.

Rounding scores to bfloat16 costs accuracy in proportion to their size, but softmax doesn't change when the same number
is added to all scores of a row. So an estimate of the row's largest score is subtracted before the rounding: the scores
that decide end near zero, where bfloat16 is fine. The subtraction costs nothing, as one more feature of queries and
keys in the same matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration
from understudy.pipeline.separation.families.roformer.packing import AttentionWeights

_BESIDE = 2  # more features of queries and keys: what is added to all scores of a row, and what hides a padded key
_HIDDEN = -10_000.0  # score of a padded key
_LANES = 16  # keys are padded to a multiple of it: rows of other lengths take three times as long
_LARGEST = 2.5  # the largest score of a row, estimated in standard deviations of its scores
_MOST_SCORES = 1 << 20  # at once: what fits into a CPU's cache


@dataclass
class Buffers:
    """Memory that tiles of one shape use one after the other."""

    held: dict[tuple[object, ...], tuple[Tensor, ...]] = field(default_factory=dict)


def attended(
    normed: Tensor, weights: AttentionWeights, configuration: RoformerConfiguration, rotation: Tensor, buffers: Buffers
) -> Tensor:
    """Gated attention over normalised tokens: ``[n, length, dim]`` -> ``[n, length, heads * head_dim]``, before the
    output product. `rotation`: complex ``[length, head_dim / 2]``."""
    n, length, _ = normed.shape
    heads, width = configuration.heads, configuration.head_dim
    inner = heads * width
    mixed = functional.linear(normed, weights.qkv, weights.bias)
    both = mixed[..., : 2 * inner].float()  # queries and keys; a view where it is float32 already
    turned = both.view(n, length, 2, heads, width // 2, 2)
    torch.view_as_complex(turned).mul_(rotation[:, None, None])
    queries, keys = turned.flatten(-2).unbind(2)
    values = mixed[..., 2 * inner : 3 * inner].view(n, length, heads, width)
    gates = mixed[..., 3 * inner : 3 * inner + heads].sigmoid()
    if normed.device.type != "cpu" or (normed.dtype == torch.float32 and length > 4 * width):
        rows, columns = (part.to(normed.dtype).transpose(1, 2) for part in (queries, keys))
        found = functional.scaled_dot_product_attention(rows, columns, values.transpose(1, 2), scale=1.0)
    else:
        found = by_products(queries, keys, values, buffers)
    return (found.transpose(1, 2) * gates[..., None]).flatten(-2)


def attended_features(normed: Tensor, weights: AttentionWeights, configuration: RoformerConfiguration) -> Tensor:
    """Attention of the features to each other, over all tokens (A. El-Nouby et al. 2021, "XCiT: Cross-Covariance Image
    Transformers"): linear in the number of tokens. Shapes as in `attended`."""
    heads, width = configuration.heads, configuration.head_dim
    assert weights.temperature is not None
    mixed = functional.linear(normed, weights.qkv).view(*normed.shape[:2], 3, heads, width)
    queries, keys, values = mixed.permute(2, 0, 3, 4, 1).unbind(0)
    queries, keys = (functional.normalize(part.float(), dim=-1) for part in (queries, keys))
    shares = (queries * weights.temperature @ keys.transpose(-1, -2)).softmax(-1).to(values.dtype)
    return (shares @ values).permute(0, 3, 1, 2).flatten(-2)


def by_products(queries: Tensor, keys: Tensor, values: Tensor, buffers: Buffers) -> Tensor:
    """``[n, length, heads, width]`` each -> ``[n, heads, length, width]`` in the dtype of `values`. `queries` and
    `keys` are float32 and are overwritten."""
    n, length, heads, width = queries.shape
    left, right, right_values, scores, found = _buffers(buffers, n, length, heads, width, values.dtype)
    # without the keys' mean, the scores of a row have mean zero, and a deviation of |query| times that of the keys
    keys -= keys.mean(1, keepdim=True)
    deviations = torch.linalg.vector_norm(keys, dim=(1, 3)) * (_LARGEST / (length * width) ** 0.5)  # for a unit query
    left[..., :width].copy_(queries.transpose(1, 2))
    left[..., width].copy_((torch.linalg.vector_norm(queries, dim=-1) * -deviations[:, None]).transpose(1, 2))
    right[:, :, :length, :width].copy_(keys.transpose(1, 2))
    right_values[:, :, :length].copy_(values.transpose(1, 2))
    rows, columns = left.flatten(0, 1), right.flatten(0, 1).transpose(1, 2)
    weighed, sums = right_values.flatten(0, 1), found.flatten(0, 1)
    for first in range(0, n * heads, scores.shape[0]):
        part = slice(first, min(first + scores.shape[0], n * heads))
        shares = scores[: part.stop - first]
        torch.bmm(rows[part], columns[part], out=shares)
        torch.softmax(shares, -1, out=shares)
        torch.bmm(shares, weighed[part], out=sums[part])
    return found


def _buffers(
    buffers: Buffers, n: int, length: int, heads: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries ``[n, heads, length, width + 2]``, keys and values ``[n, heads, padded length, ...]``, scores and
    results. What is the same for all tiles (ones, the padding's score) is written once."""
    key = (n, length, heads, width, dtype)
    if key not in buffers.held:
        filled = -(-length // _LANES) * _LANES
        left = torch.ones(n, heads, length, width + _BESIDE, dtype=dtype)
        right = torch.zeros(n, heads, filled, width + _BESIDE, dtype=dtype)
        right[:, :, :, width] = 1.0
        right[:, :, length:, width + 1] = _HIDDEN
        at_once = min(n * heads, max(1, _MOST_SCORES // (length * filled)))
        scores = torch.empty(at_once, length, filled, dtype=dtype)
        values = torch.zeros(n, heads, filled, width, dtype=dtype)
        buffers.held[key] = left, right, values, scores, torch.empty(n, heads, length, width, dtype=dtype)
    left, right, values, scores, found = buffers.held[key]
    return left, right, values, scores, found
