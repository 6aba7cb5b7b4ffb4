"""What the network is trained to lower: missed and leaked sound, by magnitude and by power."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MISSED = 2.0
"""How much more missed voice counts than leaked band: without it, silence is too good an answer."""
FLOOR = 0.03
"""Share of the mix's power (-15 dB) below which an error stops paying: keeps mixes without a voice from pulling all
masks to zero."""
WEIGHT = 0.04
"""Of the error in dB against that in magnitude."""


def separation_loss(logits: Tensor, features: Tensor, share: Tensor, rest: Tensor, widths: Tensor) -> Tensor:
    """Mean over the batch. `logits`, `share` ``[batch, 2, frames, bands]``, `features` ``[batch, channels, frames,
    bands]`` (of which the first two give the sides' powers), `rest` ``[batch, 2, frames]`` as in `Example`, `widths`
    ``[bands]``.

    Two terms: the distance of the masked song from the wanted share of it in magnitude, as a share of the song's; and
    the logarithm of its power relative to the voice's, both raised by `FLOOR`.
    """
    import torch

    from understudy.pipeline.separation.embedded.network import LEVEL_EXPONENT

    magnitude = features[:, :2].clamp(min=0) ** (1 / LEVEL_EXPONENT)
    mask = torch.sigmoid(logits)
    difference = (mask - share).abs()
    counted = torch.where(mask < share, MISSED, 1.0) * difference * widths
    whole = (magnitude * widths).sum(dim=(1, 2, 3)) + 1e-6
    by_magnitude = (magnitude * counted).sum(dim=(1, 2, 3)) / whole
    power = magnitude**2
    error = (power * counted * difference).sum(dim=(1, 2, 3)) + rest[:, 0].sum(dim=1)
    floor = FLOOR * (power * widths).sum(dim=(1, 2, 3)) + 1e-3
    by_power = 10 * torch.log10((error + floor) / (rest[:, 1].sum(dim=1) + floor))
    return (by_magnitude + WEIGHT * by_power).mean()
