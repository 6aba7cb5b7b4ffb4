"""The losses of HiFi-GAN (Kong, Kim & Bae, 2020) and VITS (Kim, Kong & Son, 2021), weighted as in RVC; in float32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MEL_WEIGHT = 45.0
FEATURE_WEIGHT = 2.0


def discriminator_loss(verdicts: Tensor) -> Tensor:
    """Of one discriminator, least squares: its `verdicts` should be 1 on recorded sound, the first half of the rows,
    and 0 on decoded sound, the second half."""
    real, fake = verdicts.float().chunk(2)
    return torch.mean((1 - real) ** 2) + torch.mean(fake**2)


def adversarial_loss(verdicts: Tensor) -> Tensor:
    """Of one discriminator, least squares: its `verdicts` on decoded sound should be 1."""
    return torch.mean((1 - verdicts.float()) ** 2)


def feature_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Of one discriminator, the mean absolute difference of every feature map, verdicts included. No gradient flows
    into `real`."""
    return FEATURE_WEIGHT * sum_of(
        F.l1_loss(decoded.float(), recorded.float().detach()) for recorded, decoded in zip(real, fake, strict=True)
    )


def mel_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of two log-mel spectrograms of the same shape."""
    return MEL_WEIGHT * F.l1_loss(real.float(), fake.float())


def kl_loss(sample: Tensor, log_std: Tensor, prior_mean: Tensor, prior_log_std: Tensor, mask: Tensor) -> Tensor:
    """The posterior's divergence from the prior, estimated from one sample, per frame (not per value).

    `sample` [B, C, T] of the posterior, brought to the prior's side by the flow; `log_std` of the posterior, and
    `prior_mean`, `prior_log_std`, as large; `mask` [B, 1, T]. Equation 4 of VITS.
    """
    distance = (sample.float() - prior_mean.float()) ** 2 * torch.exp(-2 * prior_log_std.float())
    divergence = prior_log_std.float() - log_std.float() - 0.5 + 0.5 * distance
    return torch.sum(divergence * mask) / torch.sum(mask)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
