"""Names of the tensors in published conversions of Spleeter's weights: four layouts, recognised by the names.

Deezer publishes TensorFlow checkpoints; others have put them into files of torch or safetensors, one per model or one
per stem. TensorFlow numbers the layers of all stems through and keeps a kernel's channels last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.pipeline.separation.families.tensors import invalid, stored_tensors

if TYPE_CHECKING:
    from torch import Tensor

STEMS: Mapping[int, tuple[str, ...]] = {
    2: ("vocals", "accompaniment"),
    4: ("vocals", "drums", "bass", "other"),
    5: ("vocals", "piano", "drums", "bass", "other"),
}
"""Of the released models, in the order of their training."""
FRAMES, BINS = 512, 1024
"""Of the spectra that the networks take."""
CHANNELS = (2, 16, 32, 64, 128, 256, 512)
NORMS = ("weight", "bias", "running_mean", "running_var")
EVERY = tuple(dict.fromkeys(stem for stems in STEMS.values() for stem in stems))
_PARTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_NORM = ".norm."


def shapes() -> dict[str, tuple[int, ...]]:
    """Those of all tensors of a `UNet`, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(6):
        before, after = CHANNELS[layer], CHANNELS[layer + 1]
        found |= {f"down{layer}.weight": (after, before, 5, 5), f"down{layer}.bias": (after,)}
        if layer < 5:
            found |= {f"down{layer}.norm.{part}": (after,) for part in NORMS}
    for layer in range(6):
        before = CHANNELS[6 - layer] * (1 if layer == 0 else 2)
        after = CHANNELS[5 - layer] if layer < 5 else 1
        found |= {f"up{layer}.weight": (before, after, 5, 5), f"up{layer}.bias": (after,)}
        found |= {f"up{layer}.norm.{part}": (after,) for part in NORMS}
    return found | {"last.weight": (2, 1, 4, 4), "last.bias": (2,)}


def stems_in(path: Path) -> tuple[str, ...] | None:
    """The stems of a file that holds them all, None for one that holds a single stem. Raises ``model-invalid``."""
    found = stored_tensors(path)
    if "conv2d/kernel" in found:
        count = sum(name.startswith("conv2d_transpose") and name.endswith("/kernel") for name in found) // 6
        if count == 1:
            return None
        if count not in STEMS:
            raise invalid(path, f"it has networks for {count} stems; Spleeter's have 2, 4 or 5")
        return STEMS[count]
    named = {stem for stem in EVERY for name in found if re.match(rf"(stems\.)?{stem}[._]", name)}
    if not named:
        return None
    wanted = STEMS.get(len(named), ())
    if set(wanted) != named:
        raise invalid(path, f"its stems ({', '.join(sorted(named))}) are those of no Spleeter model")
    return wanted


def read_stem(path: Path, stem: str, number: int) -> dict[str, Tensor]:
    """The tensors of one stem's network, by the names of `shapes`, float32 on the CPU. Raises ``model-invalid`` and
    what reading tensors raises."""
    import torch

    found = stored_tensors(path)
    for layout in range(4):
        names = {name: _names(name, stem, number)[layout] for name in shapes()}
        if any(other in found for name, other in names.items() if _NORM not in name):
            break
    else:
        raise invalid(path, f"it has no network for {stem} under any of the names that are known")
    tensors = {}
    for name, shape in shapes().items():
        value = found.get(names[name])
        if value is not None and names[name].endswith("/kernel"):
            value = value.permute(3, 2, 0, 1) if value.dim() == 4 else value
        if value is None or tuple(value.shape) != shape or not value.is_floating_point():
            raise invalid(path, f"{names[name]} is missing, or isn't of the shape that Spleeter's has")
        tensors[name] = value.to(torch.float32, copy=True)
        if not bool(tensors[name].isfinite().all()):
            raise invalid(path, f"{names[name]} holds numbers that are not finite")
    return tensors


def _names(name: str, stem: str, number: int) -> tuple[str, str, str, str]:
    """What the tensor `name` of `shapes` is called in each layout: a file per stem with plain names, numbered layers of
    all stems, layers by their kind, and TensorFlow's. `number`: of the stem."""
    layer, *_, part = name.split(".")
    kind = "kernel" if part == "weight" else "bias"
    if layer == "last":
        last = f"conv2d{_numbered(7 * number + 6)}/{kind}"
        return f"up7.{part}", f"stems.{stem}.up_final.{part}", f"{stem}.last_layer.{part}", last
    down, place = layer.startswith("down"), int(layer[-1])
    by_number = f"stems.{stem}.{'encoder' if down else 'decoder'}_layers.{place}"
    by_kind = f"{stem}.mask_layer" if layer == "up5" else f"{stem}.{'conv' if down else 'deconv'}_layers.{place}"
    if _NORM in name:
        plain = f"bn{(place if down else place + 5) or ''}"
        tensorflow = f"batch_normalization{_numbered(12 * number + place + (0 if down else 6))}/{_PARTS[part]}"
        return f"{plain}.{part}", f"{by_number}.bn.{part}", f"{by_kind}.bn.{part}", tensorflow
    if down:
        plain, own, tensorflow = f"conv{place or ''}", "conv", f"conv2d{_numbered(7 * number + place)}"
    else:
        plain, own, tensorflow = f"up{place + 1}", "tconv", f"conv2d_transpose{_numbered(6 * number + place)}"
    return f"{plain}.{part}", f"{by_number}.{own}.{part}", f"{by_kind}.conv.{part}", f"{tensorflow}/{kind}"


def _numbered(index: int) -> str:
    return f"_{index}" if index else ""
