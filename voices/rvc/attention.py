"""`RelativeAttention`: self-attention in which near neighbours are told apart by how far they are.

Shaw, Uszkoreit & Vaswani, "Self-Attention with Relative Position Representations", 2018, within a window of ±10
frames as in VITS (Kim, Kong & Son, 2021). Query i sees key i+j, |j| <= 10, with ``q_i . (k_{i+j} + r_j)`` and takes
``v_{i+j} + s_j`` from it, where r and s are learned tables shared by the heads; keys further off have no table row.

The scores of all frames against all grow with the square of the length, so they are made for a block of queries at a
time: memory grows with the length alone, and a block's scores are still in the cache when they are used.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.rvc.shapes import ATTENTION_WINDOW as WINDOW

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
        """`x` [B, C, T] and `mask` [B, 1, T], 0 where a frame is none (None: all are), to [B, C, T]."""
        batch, channels, frames = x.shape
        size = channels // self.heads
        query = self.conv_q(x).view(batch * self.heads, size, frames).transpose(1, 2) / math.sqrt(size)
        # the window of every query is in reach, also of the first and the last, when there are WINDOW keys more
        # on each side; nobody attends to those
        key = functional.pad(self.conv_k(x), (WINDOW, WINDOW)).view(batch * self.heads, size, -1)
        value = functional.pad(self.conv_v(x), (WINDOW, WINDOW)).view(batch * self.heads, size, -1).transpose(1, 2)
        bias = _bias(x, mask).repeat_interleave(self.heads, 0)
        near = query @ self.emb_rel_k[0].T
        attended = torch.empty_like(query)
        for first in range(0, frames, BLOCK):
            last = min(first + BLOCK, frames)
            scores = torch.baddbmm(bias, query[:, first:last], key)
            window(scores, first).add_(near[:, first:last])
            weights = scores.softmax(-1)
            attended[:, first:last] = weights @ value + window(weights, first) @ self.emb_rel_v[0]
        output: Tensor = self.conv_o(attended.transpose(1, 2).reshape(batch, channels, frames))
        return output


def window(scores: Tensor, first: int) -> Tensor:
    """The part of contiguous `scores` [N, Q, WINDOW + T + WINDOW] of queries `first`... that lies within their
    windows, as a view: [N, Q, 2 WINDOW + 1], row j being j - WINDOW frames later than the query."""
    rows, queries, keys = scores.shape
    return scores.as_strided(
        (rows, queries, 2 * WINDOW + 1), (queries * keys, keys + 1, 1), scores.storage_offset() + first
    )


def _bias(x: Tensor, mask: Tensor | None) -> Tensor:
    """0 at the keys that exist, -inf at those that don't: [B, 1, WINDOW + T + WINDOW]."""
    bias = torch.zeros_like(x[:, :1]) if mask is None else mask.log()
    return functional.pad(bias, (WINDOW, WINDOW), value=-torch.inf)
