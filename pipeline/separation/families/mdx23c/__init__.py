"""MDX23C: TFC-TDF-UNet v3 networks as a checkpoint with the YAML that was published with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.checked_config import read_checked
from understudy.pipeline.separation.families.mdx23c.configuration import Mdx23cConfiguration, mdx23c_configuration
from understudy.pipeline.separation.families.tensors import read_tensors
from understudy.pipeline.separation.layout import OVERLAP, edges_faded
from understudy.pipeline.separation.network import Network

if TYPE_CHECKING:
    from understudy.pipeline.separation.families.mdx23c.network import Mdx23c


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network gives, by its configuration. Raises ``model-companion`` and ``model-invalid``."""
    return read_checked(weights, "mdx23c", mdx23c_configuration).stems


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, whose YAML is among the companions.

    Raises `UnderstudyError`: ``model-companion``, ``model-invalid``, and what reading untrusted files raises.
    """
    import torch

    from understudy.pipeline.separation.families.mdx23c.network import Mdx23c, expected

    configuration = read_checked(weights, "mdx23c", mdx23c_configuration)
    tensors = read_tensors(weights.path, expected(configuration), (".num_batches_tracked",))
    mdx23c = Mdx23c(configuration, tensors, device, getattr(torch, precision))
    return _network(mdx23c, configuration, device, configuration.frames)


def _network(mdx23c: Mdx23c, configuration: Mdx23cConfiguration, device: str, frames: int) -> Network:
    window = configuration.hop * (frames - 1)
    half = frames // 2
    possible = frames % 2 == 0 and half % configuration.factor[0] ** configuration.scales == 0
    possible = possible and configuration.hop * (half - 1) >= configuration.n_fft
    return Network(
        stems=configuration.stems,
        rate=configuration.rate,
        window=window,
        step=round(window * (1 - OVERLAP)),
        fade=edges_faded(window),
        separate=mdx23c.separate,
        device=device,
        size=mdx23c.size,
        working=mdx23c.working(frames),
        shorter=(lambda: _network(mdx23c, configuration, device, half)) if possible else None,
    )
