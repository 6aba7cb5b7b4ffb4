"""Weight norm folded: pairs of a magnitude and a direction become the plain weights that they stand for.

Salimans & Kingma, "Weight Normalization", 2016: ``weight = magnitude * direction / |direction|``, the norm taken over
every axis but the first (of transposed convolutions that is the axis of the *input* channels). At inference the pair
is constant, so it is multiplied out once.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# ends of the names of (magnitude, direction, folded weight): torch's old way of storing the pair and its present one
PAIRS = (
    (".weight_g", ".weight_v", ".weight"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1", ".weight"),
)


def fold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` with every weight-norm pair folded, all of them float32; other tensors keep their names.

    Raises KeyError for a magnitude without its direction.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        for magnitude, direction, weight in PAIRS:
            if name.endswith(magnitude):
                stem = name.removesuffix(magnitude)
                plain[stem + weight] = normed(tensor, weights[stem + direction])
                break
            if name.endswith(direction):
                break
        else:
            plain[name] = tensor.float()
    return plain


def normed(magnitude: Tensor, direction: Tensor) -> Tensor:
    """`direction` [N, ...] scaled so that its N parts have the norms `magnitude` [N, 1, ...]; float32."""
    direction = direction.float()
    length = torch.linalg.vector_norm(direction, dim=tuple(range(1, direction.dim())), keepdim=True)
    weight: Tensor = direction * (magnitude.float() / length)
    return weight
