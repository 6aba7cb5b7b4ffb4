"""The network of a VR checkpoint: which one it is, its tensors' shapes tell. The networks are audio-separator's; here
their batch normalisations are folded into the convolutions before them, and arrays lie channels last, which processors
and GPUs are faster at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.pipeline.separation.families.tensors import invalid, read_tensors, stored_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

_UNREAD = (".num_batches_tracked",)
_OLDER = {  # width and depth of the first stage, convolutions of its widest view -> the package's number for it
    (16, 4, 5): 31191,
    (16, 4, 7): 33966,
    (16, 5, 6): 129605,
    (32, 4, 5): 123821,
    (64, 4, 7): 537238,
}


@dataclass(frozen=True, eq=False)
class VrNetwork:
    """`module`: float32 ``[batch, 2, bins + 1, spectra]``, channels last -> a mask 0..1 of that shape. `edge`: of the
    spectra at either end that it hears worse. `width`: channels of its last, widest layer. `size`: bytes."""

    module: nn.Module
    edge: int
    width: int
    size: int


def is_newer(path: Path) -> bool:
    """Whether the checkpoint at `path` is of version 5.1 or later, with a memory (LSTM)."""
    return any("lstm" in name for name in stored_tensors(path))


def construct(path: Path, bins: int, device: str) -> VrNetwork:
    """The network of the checkpoint at `path` with its weights, for stacked spectra of ``bins + 1``, on `device`.

    Raises `UnderstudyError` ``model-invalid`` where the tensors are no such network's, or are for other bins.
    """
    import torch

    found = stored_tensors(path)
    network = (_newer if is_newer(path) else _older)(path, found, bins)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith(_UNREAD)}
    tensors = read_tensors(path, expected, _UNREAD)
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    _fold(network.eval())
    last, edge = network.out, network.offset
    if not isinstance(last, torch.nn.Conv2d) or not isinstance(edge, int):
        raise TypeError("the package's networks have changed")
    network.out = _exact(last)
    size = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return VrNetwork(module, edge, last.in_channels, size)


def _older(path: Path, found: Mapping[str, Tensor], bins: int) -> nn.Module:
    from audio_separator.separator.uvr_lib_v5.vr_network import nets

    stage = "stg1_low_band_net"
    first = found.get(f"{stage}.enc1.conv1.conv.0.weight")
    if first is None or first.ndim != 4:
        raise invalid(path, "its tensors are not those of a VR network")
    depth = 5 if f"{stage}.enc5.conv1.conv.0.weight" in found else 4
    views = 5 + sum(f"{stage}.aspp.conv{number}.conv.0.weight" in found for number in (6, 7))
    kind = _OLDER.get((first.shape[0], depth, views))
    if kind is None:
        raise invalid(path, f"there is no VR network {first.shape[0]} wide and {depth} deep with {views} views")
    network: nn.Module = nets.determine_model_capacity(2 * bins, kind)
    return network


def _newer(path: Path, found: Mapping[str, Tensor], bins: int) -> nn.Module:
    from audio_separator.separator.uvr_lib_v5.vr_network import nets_new

    last = "stg3_full_band_net"
    first, memory = (found.get(f"{last}.{name}") for name in ("enc1.conv.0.weight", "lstm_dec2.lstm.weight_ih_l0"))
    if first is None or memory is None or first.ndim != 4 or memory.ndim != 2:
        raise invalid(path, "its tensors are not those of a VR network")
    width, states = int(first.shape[0]), int(memory.shape[0]) // 2
    if not (4 <= width <= 256 and width % 4 == 0 and 4 <= states <= 2048):
        raise invalid(path, f"there is no VR network {width} wide with {states} states")
    if memory.shape[1] != bins // 2:
        raise invalid(path, f"it hears {2 * memory.shape[1]} bins, and its bands have {bins}: they are not its own")
    network: nn.Module = nets_new.CascadedNet(2 * bins, nout=width, nout_lstm=states)
    return network


def _fold(network: nn.Module) -> None:
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for group in network.modules():
        if isinstance(group, torch.nn.Sequential):
            for place in range(1, len(group)):
                before, layer = group[place - 1], group[place]
                if isinstance(before, torch.nn.Conv2d) and isinstance(layer, torch.nn.BatchNorm2d):
                    group[place - 1] = fuse_conv_bn_eval(before, layer)
                    group[place] = torch.nn.Identity()


def _exact(last: nn.Conv2d) -> nn.Module:
    """The last layer in float32 whatever the others compute in: near one, a mask in 16 bits has steps of -48 dB, which
    would be heard in what it leaves."""
    import torch

    class Exact(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = last

        def forward(self, values: Tensor) -> Tensor:
            with torch.autocast(values.device.type, enabled=False):
                found: Tensor = self.layer(values.float())
                return found

    return Exact()
