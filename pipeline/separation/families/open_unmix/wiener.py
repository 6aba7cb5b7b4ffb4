"""The multichannel Wiener filter: from magnitudes that were estimated stem by stem to stems that sum to the song and
keep their place in its stereo image.

Model: each stem is Gaussian, with a power per frame and bin and a covariance of the channels per bin. The filter is
``power * R_stem @ inverse(sum of power * R) @ song`` with 2x2 matrices R; powers and covariances are then estimated
again from its result (expectation maximisation). Sources: N. Duong, E. Vincent, R. Gribonval, "Under-Determined
Reverberant Audio Source Separation Using a Full-Rank Spatial Covariance Model" (2010); A. Nugraha, A. Liutkus,
E. Vincent, "Multichannel Audio Source Separation with Deep Neural Networks" (2016); its constants are Open-Unmix's.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-10
LARGEST = 10.0
"""Magnitudes are scaled down to this, so that squares keep their precision."""
FRAMES = 300
"""Frames filtered together: about 7 seconds, in which covariances are assumed constant."""


def wiener(magnitudes: Tensor, song: Tensor, iterations: int) -> Tensor:
    """The stems' complex spectra, ``[stems, frames, bins, 2]``, of their magnitudes (of that shape) and the song's
    complex spectrum ``[frames, bins, 2]``; with no `iterations`, the magnitudes with the song's phases."""
    parts = []
    for start in range(0, song.shape[0], FRAMES):
        seen = song[start : start + FRAMES]
        stems = torch.polar(magnitudes[:, start : start + FRAMES], seen.angle())
        if iterations:
            scale = max(1.0, float(seen.abs().max()) / LARGEST)
            stems, seen = stems / scale, seen / scale
            for _ in range(iterations):
                stems = _filtered(stems, seen)
            stems = stems * scale
        parts.append(stems)
    return torch.cat(parts, 1)


def _filtered(stems: Tensor, song: Tensor) -> Tensor:
    """One iteration: ``[stems, frames, bins, 2]`` and ``[frames, bins, 2]`` -> the stems."""
    powers = (stems.real**2 + stems.imag**2).mean(-1)  # [stems, frames, bins]
    weights = powers.sum(1) + EPSILON
    covariances = torch.einsum("sfbi,sfbj->sbij", stems, stems.conj()) / weights[..., None, None]
    mixed = torch.einsum("sfb,sbij->fbij", powers.to(covariances.dtype), covariances)
    # the inverse of a 2x2 matrix, written out
    one, two = mixed[..., 0, 0] + EPSILON**0.5, mixed[..., 1, 1] + EPSILON**0.5
    above, below = mixed[..., 0, 1], mixed[..., 1, 0]
    left, right = song.unbind(-1)
    whitened = torch.stack([two * left - above * right, one * right - below * left], -1)
    whitened = whitened / (one * two - above * below)[..., None]
    return torch.einsum("sbij,fbj->sfbi", covariances, whitened) * powers[..., None]
