"""`RelativeAttention`: self-attention with learned relative positions for near neighbours.

Shaw, Uszkoreit & Vaswani, "Self-Attention with Relative Position Representations", 2018, within a window of ±10
frames as in VITS (Kim, Kong & Son, 2021). The score of query i for key i+j, |j| <= 10, is ``q_i . (k_{i+j} + r_j)``
and its value ``v_{i+j} + s_j``, where r and s are learned tables that the heads share; keys further away have neither.

All scores together grow with the square of the length, so they are computed for a block of queries at a time: memory
grows linearly with the length, and a block's scores are still in the cache when they are used.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.rvc.architecture import ATTENTION_WINDOW as WINDOW

BLOCK = 128  # queries at a time


class RelativeAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.emb_rel_k = nn.Parameter(torch.zeros(1, 2 * WINDOW + 1, channels // heads))
        self.emb_rel_v = nn.Parameter(torch.zeros(1, 2 * WINDOW + 1, channels // heads))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` [B, C, T] and `mask` [B, 1, T], 0 where a row has no frame (None: all rows are full), to [B, C, T]."""
        batch, channels, frames = x.shape
        size = channels // self.heads
        query = self.conv_q(x).view(batch * self.heads, size, frames).transpose(1, 2) / math.sqrt(size)
        # WINDOW more keys on each side, so that the window of every query lies inside; the bias of -inf excludes them
        key = functional.pad(self.conv_k(x), (WINDOW, WINDOW)).view(batch * self.heads, size, -1)
        value = functional.pad(self.conv_v(x), (WINDOW, WINDOW)).view(batch * self.heads, size, -1).transpose(1, 2)
        bias = _bias(x, mask).repeat_interleave(self.heads, 0)
        near = query @ self.emb_rel_k[0].T  # q_i . r_j for the whole window: [B * heads, T, 2 WINDOW + 1]
        attended = torch.empty_like(query)
        for first in range(0, frames, BLOCK):
            last = min(first + BLOCK, frames)
            scores = torch.baddbmm(bias, query[:, first:last], key)
            window(scores, first).add_(near[:, first:last])  # in place, through the view
            weights = scores.softmax(-1)
            attended[:, first:last] = weights @ value + window(weights, first) @ self.emb_rel_v[0]
        output: Tensor = self.conv_o(attended.transpose(1, 2).reshape(batch, channels, frames))
        return output


def window(scores: Tensor, first: int) -> Tensor:
    """The scores of each query for the keys in its window, as a view [N, Q, 2 WINDOW + 1]: entry j is the key that is
    j - WINDOW frames later.

    `scores` [N, Q, WINDOW + T + WINDOW] are contiguous, of the queries from `first` on. The window moves by one key per
    query, so the view's row stride is one more than the scores'.
    """
    rows, queries, keys = scores.shape
    return scores.as_strided(
        (rows, queries, 2 * WINDOW + 1), (queries * keys, keys + 1, 1), scores.storage_offset() + first
    )


def _bias(x: Tensor, mask: Tensor | None) -> Tensor:
    """0 for keys that exist, -inf for padding: [B, 1, WINDOW + T + WINDOW]."""
    bias = torch.zeros_like(x[:, :1]) if mask is None else mask.log()
    return functional.pad(bias, (WINDOW, WINDOW), value=-torch.inf)
