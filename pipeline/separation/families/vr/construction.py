"""The network of a VR checkpoint: its tensors' names and shapes say which one it is. For speed, batch normalisations
are folded into the convolutions before them, and arrays lie channels last, which CPUs and GPUs compute faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.pipeline.separation.families.tensors import invalid, read_tensors, stored_tensors
from understudy.pipeline.separation.families.vr.network import Cascade, OldCascade

_UNREAD = (".num_batches_tracked", "aux_out.weight", "aux1_out.weight", "aux2_out.weight")  # for training alone


@dataclass(frozen=True, eq=False)
class VrNetwork:
    """`module`: float32 ``[batch, 2, bins + 1, spectra]``, channels last -> a mask 0..1 of that shape. `edge`: how many
    spectra at either end have less context than it was trained with. `width`: channels of its last, widest layer.
    `size`: bytes."""

    module: nn.Module
    edge: int
    width: int
    size: int


def is_newer(path: Path) -> bool:
    """Whether the checkpoint at `path` is of version 5.1 or later, with a recurrent layer."""
    return any("lstm" in name for name in stored_tensors(path))


def construct(path: Path, bins: int, device: str) -> VrNetwork:
    """The network of the checkpoint at `path` with its weights, for stacked spectra of ``bins + 1``, on `device`.

    Raises `UnderstudyError` ``model-invalid`` where the tensors are no such network's, or are for other bins.
    """
    found = stored_tensors(path)
    with torch.device("meta"):
        network = (_newer if is_newer(path) else _older)(path, found, bins)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith(_UNREAD)}
    tensors = read_tensors(path, expected, _UNREAD)
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False, assign=True)
    _fold(network.eval())
    width, edge = network.out.in_channels, network.edge
    size = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    network.requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return VrNetwork(network, edge, width, size)


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
