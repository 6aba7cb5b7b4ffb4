"""The network of one target: from the magnitudes of the song's spectrum to those of one stem, with an LSTM along time.

Source: F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, "Open-Unmix - A Reference Implementation for Music Source
Separation" (JOSS 2019). The layout of the state dict is that of the released weights (umx, umxhq, umxl).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.pipeline.separation.families.tensors import invalid, stored_tensors

CHANNELS = 2
EPSILON = 1e-5
"""Of the batch normalisations."""
_LARGEST_SPECTRUM = 16384
_RECURRENT = re.compile(r"lstm\.(weight|bias)_(ih|hh)_l(\d{1,2})(_reverse)?")


@dataclass(frozen=True)
class Target:
    """A stem's network: three linear layers around an LSTM, with scaling and batch normalisations folded into the
    linear layers. Of the spectrum's `bins`, the lowest `seen` are its input."""

    first: tuple[Tensor, Tensor]
    recurrent: nn.LSTM
    second: tuple[Tensor, Tensor]
    third: tuple[Tensor, Tensor]
    seen: int
    bins: int
    rate: int

    def magnitudes(self, spectra: Tensor, dtype: torch.dtype) -> Tensor:
        """Magnitudes of the song, float32 ``[frames, batch, 2, bins]`` -> of the stem; matrix products in the dtype
        `dtype`."""
        inputs = spectra[..., : self.seen].flatten(2).to(dtype)
        hidden = torch.tanh(functional.linear(inputs, *self.first))
        both = torch.cat([hidden, self.recurrent(hidden)[0]], -1)
        gains = functional.linear(functional.relu(functional.linear(both, *self.second)), *self.third)
        return functional.relu(gains.float()).view_as(spectra) * spectra


def read_target(path: Path, device: str, dtype: torch.dtype) -> Target:
    """The network in the file at `path`, with weights in `dtype`. Its sizes are those of its tensors.

    Raises `UnderstudyError` ``model-invalid`` and what reading tensors raises.
    """
    state = stored_tensors(path)
    bins, hidden, seen = _sizes(path, state)
    found = {match[0]: match for name in state if (match := _RECURRENT.fullmatch(name))}
    layers = 1 + max((int(match[3]) for match in found.values()), default=-1)
    both = any(match[4] for match in found.values())
    inner = hidden // 2 if both else hidden
    with torch.device("meta"):
        recurrent = nn.LSTM(hidden, inner, layers, bidirectional=both) if 1 <= layers <= 16 else None
    wanted = _shapes(bins, hidden, seen)
    if recurrent is not None:
        wanted |= {f"lstm.{name}": tuple(value.shape) for name, value in recurrent.named_parameters()}
    faults = [name for name, shape in wanted.items() if name not in state or tuple(state[name].shape) != shape]
    if recurrent is None or faults or set(found) - set(wanted):
        what = faults or sorted(set(found) - set(wanted)) or ["lstm.weight_ih_l0"]
        raise invalid(path, f"{what[0]} is missing or has another shape than Open-Unmix's")
    weights = {name: state[name].to(torch.float32, copy=True) for name in wanted}
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise invalid(path, "some of its weights are not finite")
    recurrent.load_state_dict({name[5:]: value for name, value in weights.items() if name in found}, assign=True)
    first, second, third = (_with_normalisation(weights, number) for number in (1, 2, 3))
    # (x + mean) * scale before the first layer, y * scale + mean after the last one
    scale = weights["input_scale"].repeat(CHANNELS)
    offset = first[0] @ (scale * weights["input_mean"].repeat(CHANNELS))
    gain, lift = weights["output_scale"].repeat(CHANNELS), weights["output_mean"].repeat(CHANNELS)
    prepared = (
        (first[0] * scale, first[1] + offset),
        second,
        (third[0] * gain[:, None], third[1] * gain + lift),
    )
    one, two, three = ((weight.to(device, dtype), bias.to(device, dtype)) for weight, bias in prepared)
    recurrent = recurrent.to(device, dtype).eval().requires_grad_(False)
    recurrent.flatten_parameters()
    return Target(one, recurrent, two, three, seen, bins, _rate(state.get("sample_rate")))


def _sizes(path: Path, state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Bins of the spectrum, hidden channels, bins of the input."""
    try:
        bins, seen = state["output_scale"].shape[0], state["input_mean"].shape[0]
        hidden, inputs = state["fc1.weight"].shape
    except (KeyError, ValueError, IndexError) as error:
        raise invalid(path, "it lacks the tensors that every Open-Unmix network has") from error
    if inputs == seen:
        raise invalid(path, "it is an Open-Unmix network for one channel; only those for two are supported")
    size = 2 * (bins - 1)
    if not (256 <= size <= _LARGEST_SPECTRUM and size % 4 == 0 and 1 <= seen <= bins and hidden % 2 == 0 < hidden):
        raise invalid(path, "its sizes are those of no Open-Unmix network")
    return bins, hidden, seen


def _shapes(bins: int, hidden: int, seen: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "input_mean": (seen,),
        "input_scale": (seen,),
        "output_mean": (bins,),
        "output_scale": (bins,),
        "fc1.weight": (hidden, CHANNELS * seen),
        "fc2.weight": (hidden, 2 * hidden),
        "fc3.weight": (CHANNELS * bins, hidden),
    }
    for number, channels in ((1, hidden), (2, hidden), (3, CHANNELS * bins)):
        shapes |= {f"bn{number}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def _with_normalisation(weights: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """The linear layer `number` with the batch normalisation behind it folded in: weight and bias."""
    gain = weights[f"bn{number}.weight"] * (weights[f"bn{number}.running_var"] + EPSILON).rsqrt()
    bias = weights[f"bn{number}.bias"] - gain * weights[f"bn{number}.running_mean"]
    return weights[f"fc{number}.weight"] * gain[:, None], bias


def _rate(stored: Tensor | None) -> int:
    rate = int(stored) if stored is not None and stored.numel() == 1 and bool(stored.isfinite()) else 0
    return rate if 8000 <= rate <= 192_000 else 44_100
