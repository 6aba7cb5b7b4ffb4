"""VR networks of Ultimate Vocal Remover (after Takahashi and Mitsufuji 2017, "Multi-scale multi-band DenseNets for
audio source separation"): masks for the magnitudes of a song's spectra, which are stacked from bands at several rates.

Other options of that program stay at its defaults: no second pass (`InferenceSettings.shifts` does the same), no
post-processing of the mask, no mirrored high end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.families.vr.bands import Bands, Curve, band_names, read_bands
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.parameters import parameters
from understudy.pipeline.separation.stems import canonical_stems, purpose_of

SPECTRA = 512
"""Spectra per window; Ultimate Vocal Remover's default."""
AGGRESSION = 0.1
"""The first stem's mask is raised to the power 1 + AGGRESSION (in the lowest band 1 + AGGRESSION / 3), which lowers it.
Twice the published 5 %; the masks of instruments and voices get 1 - AGGRESSION instead, as published."""
_SOUNDS = ("vocals", "other", "bass", "drums", "guitar", "piano", "synthesizer", "strings", "woodwinds", "brass",
           "wind inst")  # fmt: skip
_PAIRS = {"vocals": "instrumental", "instrumental": "vocals"}


def stems(weights: Weights) -> tuple[str, ...]:
    """The stem that the network's mask keeps, and the one that it leaves. Raises ``model-companion`` where nothing is
    known of the network."""
    return _stems(weights, _known(weights))


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in the checkpoint, ready to run. Its bands come from `parameters`.

    Raises `UnderstudyError`: ``model-companion`` where nothing is known of it, ``model-invalid``.
    """
    from understudy.pipeline.separation.families.vr.construction import Masker, construct, is_newer

    known = _known(weights)
    if known["bands"] not in band_names():
        raise invalid(weights.path, f"there are no bands named {str(known['bands'])[:60]!r}")
    try:
        bands = read_bands(known["bands"], is_newer(weights.path))
    except ValueError as error:
        raise invalid(weights.path, f"its bands, {known['bands']}, are not for networks of its version") from error
    model = construct(weights.path, bands.bins, device)
    powers = _powers(bands, _primary(known))
    return Masker(model, bands, powers, _stems(weights, known), device, precision).network(SPECTRA)


def _known(weights: Weights) -> Mapping[str, Any]:
    known = parameters(weights.path)
    if known is None or "bands" not in known:
        raise UnderstudyError(
            "model-companion",
            f"The VR network in {weights.path} doesn't contain its bands, and it is not a known one.",
            f"Put what its publisher says into {weights.path.with_suffix('.yaml')}: 'bands: NAME' and 'primary_stem: "
            f"NAME'. The bands are one of {', '.join(band_names())}.",
        )
    return known


def _primary(known: Mapping[str, Any]) -> str:
    return str(known.get("primary_stem", "Vocals"))


def _stems(weights: Weights, known: Mapping[str, Any]) -> tuple[str, ...]:
    first = _primary(known).lower()
    if known.get("backing"):
        return ("backing", "lead")
    second = first[3:] if first.startswith("no ") else _PAIRS.get(first, f"no {first}")
    return canonical_stems([first, second], "karaoke" if known.get("karaoke") else purpose_of(weights.path.stem))


def _powers(bands: Bands, primary: str) -> Curve:
    aggression = 1 - AGGRESSION if primary.lower() in _SOUNDS else AGGRESSION
    powers = np.full(bands.bins + 1, 1 + aggression, np.float32)
    powers[: bands.bands[0].high] = 1 + aggression / 3
    return powers
