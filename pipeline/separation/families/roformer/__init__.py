"""Roformers: transformers along time and along the bands of a spectrum in turn (BS-Roformer, Mel-Band RoFormer). A
checkpoint with the YAML that was published with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.checked_config import read_checked
from understudy.pipeline.separation.families.roformer.configuration import RoformerConfiguration, roformer_configuration
from understudy.pipeline.separation.families.tensors import read_tensors
from understudy.pipeline.separation.layout import OVERLAP, edges_faded
from understudy.pipeline.separation.network import Network

if TYPE_CHECKING:
    from understudy.pipeline.separation.families.roformer.network import Roformer


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network gives, by its configuration. Raises ``model-companion`` and ``model-invalid``."""
    return read_checked(weights, "roformer", roformer_configuration).stems


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, whose YAML is among the companions.

    Raises `UnderstudyError`: ``model-companion``, ``model-invalid``, and what reading untrusted files raises.
    """
    import torch

    from understudy.pipeline.separation.families.roformer.network import Roformer
    from understudy.pipeline.separation.families.roformer.packing import UNREAD, expected

    configuration = read_checked(weights, "roformer", roformer_configuration)
    tensors = read_tensors(weights.path, expected(configuration), UNREAD)
    roformer = Roformer(configuration, tensors, device, getattr(torch, precision))
    return _network(roformer, configuration, device, configuration.window)


def _network(roformer: Roformer, configuration: RoformerConfiguration, device: str, window: int) -> Network:
    half = window // 2 // configuration.hop * configuration.hop
    return Network(
        stems=configuration.stems,
        rate=configuration.rate,
        window=window,
        step=round(window * (1 - OVERLAP)),
        fade=edges_faded(window),
        separate=roformer.separate,
        device=device,
        size=roformer.size,
        working=roformer.working(window),
        shorter=None if half < configuration.n_fft else lambda: _network(roformer, configuration, device, half),
    )
