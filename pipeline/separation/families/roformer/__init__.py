"""Roformers: transformers along time and along the bands of a spectrum in turn (BS-Roformer, Mel-Band RoFormer). A
checkpoint with the YAML that was published with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.configuration import configuration_among, invalid
from understudy.pipeline.separation.families.roformer.bands import Bands, mel_bands, split_bands
from understudy.pipeline.separation.families.roformer.configuration import (
    RoformerConfiguration,
    read_roformer_configuration,
)
from understudy.pipeline.separation.families.roformer.shapes import UNREAD, expected
from understudy.pipeline.separation.families.tensors import read_tensors
from understudy.pipeline.separation.layout import OVERLAP, edges_faded
from understudy.pipeline.separation.network import Network

if TYPE_CHECKING:
    from understudy.pipeline.separation.families.roformer.network import Roformer


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network gives, by its configuration. Raises ``model-companion`` and ``model-invalid``."""
    return read_roformer_configuration(configuration_among(weights, "roformer")).stems


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, whose YAML is among the companions.

    Raises `UnderstudyError`: ``model-companion``, ``model-invalid``, and what reading untrusted files raises.
    """
    import torch

    from understudy.pipeline.separation.families.roformer.network import Roformer

    path = configuration_among(weights, "roformer")
    configuration = read_roformer_configuration(path)
    try:
        bands = _bands(configuration)
    except ValueError as error:
        raise invalid(path, str(error)) from error
    tensors = read_tensors(weights.path, expected(configuration, bands), UNREAD)
    roformer = Roformer(configuration, bands, tensors, device, getattr(torch, precision))
    return _network(roformer, configuration, device, configuration.window)


def _bands(configuration: RoformerConfiguration) -> Bands:
    if configuration.kind == "mel":
        return mel_bands(configuration.bands[0], configuration.n_fft, configuration.rate)
    return split_bands(configuration.bands)


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
