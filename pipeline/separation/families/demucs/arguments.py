"""The constructor arguments of Demucs's networks in an untrusted file: their types and bounds.

Names and defaults are read from the signature of the network's class, so they are always those of the installed
package.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

from torch import nn

from understudy.packages import require_package

Kind = Literal["HTDemucs", "HDemucs", "Demucs"]

_MODULES: Mapping[Kind, str] = {"HTDemucs": "demucs.htdemucs", "HDemucs": "demucs.hdemucs", "Demucs": "demucs.demucs"}
_MOST_SOURCES = 16
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "audio_channels": (2, 2), "channels": (1, 1024), "channels_time": (1, 1024), "growth": (1, 4), "depth": (1, 8),
    "nfft": (256, 16384), "wiener_iters": (-1, 4), "end_iters": (-1, 4), "multi_freqs_depth": (0, 8),
    "kernel_size": (1, 32), "time_stride": (1, 16), "stride": (1, 16), "context": (0, 8), "context_enc": (0, 8),
    "norm_starts": (0, 100), "norm_groups": (1, 64), "dconv_mode": (0, 3), "dconv_depth": (-4, 8),
    "dconv_comp": (1, 64), "dconv_attn": (0, 100), "dconv_lstm": (0, 100), "lstm_layers": (0, 4),
    "bottom_channels": (0, 4096), "t_layers": (0, 32), "t_hidden_scale": (0.25, 16), "t_heads": (1, 64),
    "t_max_positions": (1, 100_000), "t_norm_in_group": (0, 64), "t_group_norm": (0, 64), "t_sin_random_shift": (0, 0),
    "samplerate": (8000, 192_000), "segment": (0.5, 60), "rescale": (1e-6, 1e3), "emb_scale": (1e-3, 1e3),
    "t_max_period": (2, 1e9),
}  # fmt: skip
_CHOICES: Mapping[str, tuple[str, ...]] = {"t_emb": ("sin", "cape", "scaled")}
_SPARSE = ("t_sparse_self_attn", "t_sparse_cross_attn", "t_auto_sparsity")
_LARGEST = 1e6  # of a number without bounds of its own: none of these decides a size


def network_class(kind: Kind) -> type[nn.Module]:
    """The class of the package demucs. Raises ``package-missing``."""
    found: type[nn.Module] = getattr(require_package(_MODULES[kind]), kind)
    return found


def checked(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of the class, `given` or by default; what the class doesn't know is left out. Raises `ValueError`
    with a sentence for one that is missing, of the wrong kind or out of bounds."""
    arguments = {}
    for name, parameter in inspect.signature(network_class(kind)).parameters.items():
        if name == "sources":
            arguments[name] = _sources(given.get(name))
        elif name not in given:
            arguments[name] = parameter.default
        else:
            arguments[name] = _argument(name, given[name], parameter.default)
    if any(arguments.get(name) for name in _SPARSE):
        raise ValueError("its attention is sparse, which needs the package xformers")
    if arguments.get("wiener_iters") != arguments.get("end_iters"):
        raise ValueError("its Wiener filters in training and after it differ")
    if arguments.get("hybrid_old") and not arguments.get("hybrid"):
        raise ValueError("hybrid_old needs hybrid")
    return arguments


def refuse_others(kind: Kind, given: Mapping[str, Any]) -> None:
    """Raise `ValueError` naming the settings that the class doesn't have. A network of one band (``num_subbands``, of
    MSST alone) is the published one."""
    known = inspect.signature(network_class(kind)).parameters
    others = [str(name)[:40] for name in given if name not in known and (name, given[name]) != ("num_subbands", 1)]
    if others:
        raise ValueError(f"the meaning of {', '.join(sorted(others)[:5])} is not known")


def _sources(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MOST_SOURCES:
        raise ValueError("it doesn't name its stems")
    if not all(isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() for name in value):
        raise ValueError("the names of its stems are not printable texts")
    if len(set(value)) != len(value):
        raise ValueError("it gives a stem twice")
    return list(value)


def _argument(name: str, value: Any, default: Any) -> Any:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"{name} is none of {', '.join(_CHOICES[name])}")
        return value
    if isinstance(default, str):  # only sparse attention reads these
        return default
    if name == "multi_freqs":
        return _frequencies(value)
    if isinstance(default, list):
        return [_number(name, item) for item in value] if isinstance(value, list) and len(value) == 3 else default
    if value is None and name in ("channels_time", "t_lr", "rescale"):
        return value
    if isinstance(default, bool) or name in ("t_norm_in_group", "t_group_norm"):
        if not isinstance(value, bool | int):
            raise ValueError(f"{name} is neither on nor off")
        return value
    number = _number(name, value)
    if isinstance(default, int) and name not in ("segment", "growth", "dconv_comp", "emb_scale", "t_hidden_scale"):
        if number != int(number):
            raise ValueError(f"{name} isn't whole")
        return int(number)
    return value if isinstance(value, Fraction) else number


def _frequencies(value: Any) -> list[float] | None:
    if not value:
        return None
    if not isinstance(value, list | tuple) or len(value) > 8:
        raise ValueError("multi_freqs is no short list")
    ratios = [_number("multi_freqs", item) for item in value]
    if sorted(set(ratios)) != ratios or not 0 < ratios[0] <= ratios[-1] < 1:
        raise ValueError("multi_freqs don't rise between 0 and 1")
    return ratios


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) and name in ("rescale", "freq_emb"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise ValueError(f"{name} is no number")
    low, high = _BOUNDS.get(name, (-_LARGEST, _LARGEST))
    # 0 switches the rescaling of fresh weights off, which are replaced anyway
    if not math.isfinite(value) or not (low <= value <= high or (name == "rescale" and value == 0)):
        raise ValueError(f"{name} is out of bounds")
    return value if isinstance(value, int) else float(value)
