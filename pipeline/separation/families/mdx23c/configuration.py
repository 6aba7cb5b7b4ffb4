"""The configuration of an MDX23C checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.pipeline.separation.families.checked_config import CheckedConfig, configured_stems, section

_KNOWN = frozenset({
    "num_subbands", "num_channels", "growth", "num_scales", "scale", "num_blocks_per_scale", "bottleneck_factor",
    "norm", "act", "type", "model_type", "architecture",
})  # fmt: skip


@dataclass(frozen=True)
class Mdx23cConfiguration:
    """The shape of a network. `frames`: spectra per window, as in training. `bins`: of each spectrum, from 0 Hz up,
    that it takes, in `subbands`. `width`, `growth`: channels of the outermost scale, and how many each scale more has.
    `scales`, each `factor` (time, frequency) coarser, with `blocks` each. `bottleneck`: how much narrower the network
    along the frequencies is in its middle. `norm`: ``instance``, ``batch``, ``none`` or a count of groups.
    `slope`: of the ELU."""

    stems: tuple[str, ...]
    rate: int
    channels: int
    n_fft: int
    hop: int
    bins: int
    frames: int
    subbands: int
    width: int
    growth: int
    scales: int
    factor: tuple[int, int]
    blocks: int
    bottleneck: int
    norm: Literal["instance", "batch", "none"] | int
    activation: Literal["gelu", "relu", "elu"]
    slope: float


def mdx23c_configuration(configuration: Mapping[str, Any]) -> Mdx23cConfiguration:
    """Raises `ValueError` for values that no such network has."""
    model, audio, inference = (CheckedConfig(section(configuration, name)) for name in ("model", "audio", "inference"))
    model.refuse_others(_KNOWN)
    n_fft = audio.number("n_fft", 64, 1 << 16)
    activation, slope = _activation(model.raw("act"))
    found = Mdx23cConfiguration(
        stems=configured_stems(section(configuration, "training")),
        rate=audio.number("sample_rate", 8000, 192_000, 44_100),
        channels=audio.number("num_channels", 1, 2, 2),
        n_fft=n_fft,
        hop=audio.number("hop_length", 1, n_fft),
        bins=audio.number("dim_f", 1, n_fft // 2 + 1),
        frames=inference.number("dim_t", 2, 1 << 16, audio.number("dim_t", 2, 1 << 16, 256)),
        subbands=model.number("num_subbands", 1, 64),
        width=model.number("num_channels", 1, 4096),
        growth=model.number("growth", 0, 4096),
        scales=model.number("num_scales", 0, 12),
        factor=_factor(model.raw("scale")),
        blocks=model.number("num_blocks_per_scale", 1, 32),
        bottleneck=model.number("bottleneck_factor", 1, 4096),
        norm=_norm(model.raw("norm")),
        activation=activation,
        slope=slope,
    )
    narrowed = found.subbands * found.factor[1] ** found.scales
    if found.bins % narrowed or found.bins // narrowed < found.bottleneck:
        raise ValueError(f"{found.bins} bins (dim_f) can't be halved into that many bands and scales")
    if found.frames % found.factor[0] ** found.scales:
        raise ValueError(f"{found.frames} spectra at once (dim_t) can't be halved that often")
    return found


def _factor(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or any(type(v) is not int or not 1 <= v <= 16 for v in value):
        raise ValueError("scale is no pair of numbers")
    return value[0], value[1]


def _norm(value: Any) -> Literal["instance", "batch", "none"] | int:
    text = str(value or "")
    if groups := re.fullmatch(r"GroupNorm(\d{1,4})", text):
        return max(1, int(groups[1]))
    return "instance" if text == "InstanceNorm" else "batch" if text == "BatchNorm" else "none"


def _activation(value: Any) -> tuple[Literal["gelu", "relu", "elu"], float]:
    text = str(value or "gelu")
    if text in ("gelu", "relu"):
        return ("gelu" if text == "gelu" else "relu"), 1.0
    if slope := re.fullmatch(r"elu(\d*\.?\d+)", text):
        return "elu", float(slope[1])
    raise ValueError(f"its activation {text[:40]!r} is unknown")
