"""The network of a VR checkpoint, whose tensors' names and shapes say which one it is, and its windows. For speed,
batch normalisations are folded into the convolutions before them, and arrays lie channels last, which CPUs and GPUs
compute faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.models.precision import Precision
from understudy.pipeline.separation.families.tensors import invalid, read_tensors, stored_tensors
from understudy.pipeline.separation.families.vr.bands import Bands, Curve
from understudy.pipeline.separation.families.vr.network import Cascade, OldCascade
from understudy.pipeline.separation.families.vr.transform import MARGIN, Transform
from understudy.pipeline.separation.layout import leading
from understudy.pipeline.separation.network import Network

_UNREAD = (".num_batches_tracked", "aux_out.weight", "aux1_out.weight", "aux2_out.weight")  # for training alone

BLEND = 8
"""Spectra over which one window's result fades into the next one's."""


@dataclass(frozen=True, eq=False)
class Masker:
    """`model` gives masks for spectra of `bands`: float32 ``[batch, 2, bins + 1, spectra]``, channels last -> 0..1 in
    that shape. `powers`: ``[bins + 1]``, exponents of the masks."""

    model: OldCascade | Cascade
    bands: Bands
    powers: Curve
    stems: tuple[str, ...]
    device: str
    precision: Precision

    def network(self, spectra: int) -> Network:
        """The network in windows of `spectra` spectra, without `MARGIN`."""
        hop = self.bands.hop
        transform = Transform(self.bands, spectra, self.device)
        seen = spectra - 2 * self.model.edge
        lead = (MARGIN + self.model.edge) * hop
        step = seen * hop
        slope = torch.linspace(0, 1, BLEND * hop + 2)[1:-1]
        inner = torch.cat([slope, torch.ones(step - BLEND * hop), slope.flip(0)])
        outer = (transform.window - inner.numel()) // 2
        shorter = spectra - 2 * ((spectra - 2 * self.model.edge) // 4 // 16 * 16)
        return Network(
            stems=self.stems,
            rate=self.bands.rate,
            window=transform.window,
            step=step,
            fade=torch.nn.functional.pad(inner, (outer, outer), value=1e-6),
            separate=lambda windows: self.separate(transform, windows),
            device=self.device,
            layout=leading(lead),
            peak=lambda windows: float(_inner(transform, transform.analyse(windows)).abs().max()),
            size=sum(weight.nbytes for weight in self.model.parameters()),
            working=14 * 4 * spectra * self.bands.bins * self.model.out.in_channels,  # of its last layers
            shorter=(lambda: self.network(shorter)) if 2 * self.model.edge + 32 <= shorter < spectra else None,
        )

    def separate(self, transform: Transform, windows: Tensor) -> Tensor:
        """``[batch, 2, window]`` -> ``[batch, stems, 2, window]``."""
        stacked = transform.analyse(windows)
        seen = _inner(transform, stacked).abs().contiguous(memory_format=torch.channels_last)
        with torch.autocast(stacked.device.type, getattr(torch, self.precision), enabled=self.precision != "float32"):
            mask = self.model(seen)
        mask = mask.float() ** torch.from_numpy(self.powers).to(mask)[:, None]
        mask = torch.nn.functional.pad(mask, (MARGIN, MARGIN + 1, 0, 0), mode="replicate")
        both = torch.cat([stacked * mask, stacked * (1 - mask)])
        found = transform.synthesise(both).reshape(2, *windows.shape)
        return found.transpose(0, 1)


def _inner(transform: Transform, stacked: Tensor) -> Tensor:
    """The spectra that the network gets: without `MARGIN` at either end."""
    return stacked[..., MARGIN : MARGIN + transform.spectra]


def is_newer(path: Path) -> bool:
    """Whether the checkpoint at `path` is of version 5.1 or later, with a recurrent layer."""
    return any("lstm" in name for name in stored_tensors(path))


def construct(path: Path, bins: int, device: str) -> OldCascade | Cascade:
    """The network of the checkpoint at `path` with its weights, for stacked spectra of ``bins + 1``, on `device`. Its
    `edge`: how many spectra at either end have less context than it was trained with.

    Raises `UnderstudyError` ``model-invalid`` where the tensors are no such network's, or are for other bins.
    """
    found = stored_tensors(path)
    with torch.device("meta"):
        network = (_newer if is_newer(path) else _older)(path, found, bins)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith(_UNREAD)}
    tensors = read_tensors(path, expected, _UNREAD)
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False, assign=True)
    _fold(network.eval())
    network.requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _older(path: Path, found: Mapping[str, Tensor], bins: int) -> OldCascade:
    stage = "stg1_low_band_net"
    first = found.get(f"{stage}.enc1.conv1.conv.0.weight")
    if first is None or first.ndim != 4:
        raise invalid(path, "its tensors are not those of a VR network")
    width = int(first.shape[0])
    if not (4 <= width <= 256 and width % 2 == 0):
        raise invalid(path, f"there is no VR network {width} wide")
    depth = 5 if f"{stage}.enc5.conv1.conv.0.weight" in found else 4
    views = 5 + sum(f"{stage}.aspp.conv{number}.conv.0.weight" in found for number in (6, 7))
    return OldCascade(width, depth, views)


def _newer(path: Path, found: Mapping[str, Tensor], bins: int) -> Cascade:
    last = "stg3_full_band_net"
    first, memory = (found.get(f"{last}.{name}") for name in ("enc1.conv.0.weight", "lstm_dec2.lstm.weight_ih_l0"))
    if first is None or memory is None or first.ndim != 4 or memory.ndim != 2:
        raise invalid(path, "its tensors are not those of a VR network")
    width, states = int(first.shape[0]), int(memory.shape[0]) // 2
    if not (4 <= width <= 256 and width % 4 == 0 and 4 <= states <= 2048):
        raise invalid(path, f"there is no VR network {width} wide with {states} states")
    if memory.shape[1] != bins // 2:
        raise invalid(path, f"it takes {2 * memory.shape[1]} bins, and its bands have {bins}: they are not its own")
    return Cascade(bins, width, states)


def _fold(network: nn.Module) -> None:
    """Put each batch normalisation that follows a convolution into that convolution's weights."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for group in network.modules():
        if isinstance(group, torch.nn.Sequential):
            for place in range(1, len(group)):
                before, layer = group[place - 1], group[place]
                if isinstance(before, torch.nn.Conv2d) and isinstance(layer, torch.nn.BatchNorm2d):
                    group[place - 1] = fuse_conv_bn_eval(before, layer)
                    group[place] = torch.nn.Identity()
