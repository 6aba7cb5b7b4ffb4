"""The weights of a HuBERT base (ContentVec) from any of the file formats in use, under one set of names.

The names are those of transformers' `HubertModel`, with `final_proj` added and the positional convolution's weight norm
folded. Supported are fairseq's checkpoints (``model`` inside a dict), transformers' ``pytorch_model.bin`` and
``model.safetensors``, with weight norm under its old (``weight_g``, ``weight_v``) or new names
(``parametrizations.weight.original0``, ``original1``). The format is recognised by the file's bytes and tensor names.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file
from understudy.models.safetensors_file import is_safetensors
from understudy.wording import counted

if TYPE_CHECKING:
    import torch

KERNELS = (10, 3, 3, 3, 3, 2, 2)  # of the feature extractor's convolutions
STRIDES = (5, 2, 2, 2, 2, 2, 2)
HEAD_CHANNELS = 64
MOST_CHANNELS = 8192
MOST_LAYERS = 48
MOST_VALUES = 1_000_000_000  # of the largest HuBERT

_FILES = ("model.safetensors", "pytorch_model.bin")  # in a transformers folder, in the order of preference
_FIRST = "feature_extractor.conv_layers.0."
_POSITION = "encoder.pos_conv_embed.conv."
_FAIRSEQ = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
        (r"layer_norm\.", "feature_projection.layer_norm."),
        (r"post_extract_proj\.", "feature_projection.projection."),
        (r"encoder\.pos_conv\.0\.", _POSITION),
        (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
        (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
        (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
        (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    )
)


@dataclass(frozen=True)
class Sizes:
    """The sizes that differ between networks of this family. `channels`: of the convolutions; `hidden`: values per
    frame; `inner`: of the attention, 64 per head; `feed_forward`: inside a layer; `projected`: out of `final_proj`, 0
    without one; `position_kernel`, `position_groups`: the positional convolution."""

    channels: int
    hidden: int
    inner: int
    feed_forward: int
    layers: int
    projected: int
    position_kernel: int
    position_groups: int


@dataclass(frozen=True, eq=False)
class Weights:
    """`tensors`: float32, by transformers' names, exactly those of `tensor_shapes(sizes)`."""

    sizes: Sizes
    tensors: dict[str, torch.Tensor]


def weights_file(path: Path) -> Path:
    """The one file that holds the weights: `path` itself, or the one in the transformers folder `path`.

    Raises `UnderstudyError` ``file-not-found``.
    """
    if path.is_dir():
        if found := next((path / name for name in _FILES if (path / name).is_file()), None):
            return found
        raise UnderstudyError(
            "file-not-found",
            f"The folder {path} holds no HuBERT: neither {' nor '.join(_FILES)} is in it.",
            "Name the folder that holds the model's weights, or the file itself.",
        )
    if not path.is_file():
        raise UnderstudyError("file-not-found", f"There is no file {path}.", "Check the path of the HuBERT model.")
    return path


def read_weights(path: Path) -> Weights:
    """All weights of the HuBERT in the file or folder `path`.

    Raises `UnderstudyError`: ``file-not-found``; what `torch_file.load` and `safetensors_file.load` raise;
    ``model-unsuitable`` for another network, or one with missing, misshapen or broken tensors, which are named.
    """
    import torch

    path = weights_file(path)
    found = _named_like_transformers(path, _read(path))
    if f"{_FIRST}conv.bias" in found or "feature_extractor.conv_layers.1.layer_norm.weight" in found:
        _unsuitable(path, "It is a large HuBERT or another network of its family; RVC voices need HuBERT base.")
    sizes = _sizes(path, found)
    shapes = tensor_shapes(sizes)
    missing = sorted(name for name in shapes if name not in found)
    if missing:
        _unsuitable(path, f"It lacks {counted(len(missing), 'tensor')}: {_few(missing)}.")
    wrong = [
        f"{name} is {list(found[name].shape)}, not {list(shape)}"
        for name, shape in shapes.items()
        if found[name].shape != shape
    ]
    if wrong:
        _unsuitable(path, f"It has {counted(len(wrong), 'tensor')} of the wrong shape: {_few(wrong)}.")
    if sum(map(math.prod, shapes.values())) > MOST_VALUES:  # views of a few bytes can have huge shapes
        _unsuitable(path, f"It would have more than {MOST_VALUES // 1_000_000} million values.")
    tensors = {
        name: found.pop(name).to(torch.float32, copy=True, memory_format=torch.contiguous_format) for name in shapes
    }
    # the sum takes a tenth of isfinite().all()
    broken = sorted(name for name, tensor in tensors.items() if not bool(tensor.sum().isfinite()))
    if broken:
        _unsuitable(path, f"It has {counted(len(broken), 'tensor')} with values that aren't numbers: {_few(broken)}.")
    fold(tensors)
    return Weights(sizes, tensors)


def _few(things: list[str]) -> str:
    return ", ".join(things[:3]) + (f" and {len(things) - 3} more" if len(things) > 3 else "")


def _unsuitable(path: Path, why: str) -> NoReturn:
    raise UnderstudyError(
        "model-unsuitable",
        f"{path.name} isn't a complete HuBERT base or ContentVec. {why}",
        "Use ContentVec as RVC does: hubert_base.pt, or the folder of its transformers version.",
    )


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the model in the file, under the file's names without their common prefix."""
    found = (
        safetensors_file.load(path)[0]
        if is_safetensors(path)
        else _state(path, torch_file.load(path, unknown="ignore"))
    )
    firsts = [name for name in found if name.partition(_FIRST)[1]]
    prefix = min((name.partition(_FIRST)[0] for name in firsts), default=None, key=len)
    if prefix is None:
        _unsuitable(path, "It is a model of another kind.")
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _state(path: Path, tree: object) -> dict[str, torch.Tensor]:
    """The state dict in a tree: the tree itself, or what a checkpoint holds it under."""
    import torch

    if isinstance(tree, dict):
        for state in (tree, *(tree.get(key) for key in ("model", "state_dict", "weight", "weights"))):
            if isinstance(state, dict):
                named = ((name, tensor) for name, tensor in state.items() if isinstance(name, str))
                if found := {name: tensor for name, tensor in named if isinstance(tensor, torch.Tensor)}:
                    return found
    _unsuitable(path, "It holds no tensors.")


def _named_like_transformers(path: Path, found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of transformers, weight norm's as ``weight_g`` and ``weight_v``."""
    if any(name.startswith("post_extract_proj.") for name in found):
        found = {_rename(name): tensor for name, tensor in found.items()}
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        if f"{_POSITION}parametrizations.weight.{new}" in found:
            found[f"{_POSITION}{old}"] = found.pop(f"{_POSITION}parametrizations.weight.{new}")
    return found


def _rename(name: str) -> str:
    for pattern, new in _FAIRSEQ:
        if pattern.match(name):
            return pattern.sub(new, name, count=1)
    return name


def _sizes(path: Path, found: dict[str, torch.Tensor]) -> Sizes:
    """The sizes, from the shapes of a few tensors; all others are checked against `tensor_shapes` afterwards."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in found:
            _unsuitable(path, f"{name} is missing.")
        if len(found[name].shape) != dimensions or not all(0 < n <= MOST_CHANNELS for n in found[name].shape):
            _unsuitable(path, f"{name} has the shape {list(found[name].shape)}.")
        return found[name].shape

    channels = shape(f"{_FIRST}conv.weight", 3)[0]
    hidden = shape("feature_projection.projection.weight", 2)[0]
    inner = shape("encoder.layers.0.attention.q_proj.weight", 2)[0]
    feed_forward = shape("encoder.layers.0.feed_forward.intermediate_dense.weight", 2)[0]
    _, per_group, kernel = shape(f"{_POSITION}weight_v", 3)
    layers = 0
    while f"encoder.layers.{layers}.attention.q_proj.weight" in found and layers < MOST_LAYERS:
        layers += 1
    if inner % HEAD_CHANNELS or hidden % per_group:
        _unsuitable(path, f"Its sizes fit no such network ({inner} in attention, {per_group} of {hidden} per group).")
    projected = shape("final_proj.weight", 2)[0] if "final_proj.weight" in found else 0
    return Sizes(channels, hidden, inner, feed_forward, layers, projected, kernel, hidden // per_group)


def tensor_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor that the network needs."""
    channels, hidden, inner, wide = sizes.channels, sizes.hidden, sizes.inner, sizes.feed_forward
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, kernel in enumerate(KERNELS):
        inputs = channels if layer else 1
        shapes[f"feature_extractor.conv_layers.{layer}.conv.weight"] = (channels, inputs, kernel)
    shapes |= _affine(f"{_FIRST}layer_norm", channels)
    shapes |= _affine("feature_projection.layer_norm", channels)
    shapes |= _affine("feature_projection.projection", hidden, channels)
    shapes[f"{_POSITION}weight_g"] = (1, 1, sizes.position_kernel)
    shapes[f"{_POSITION}weight_v"] = (hidden, hidden // sizes.position_groups, sizes.position_kernel)
    shapes[f"{_POSITION}bias"] = (hidden,)
    shapes |= _affine("encoder.layer_norm", hidden)
    for layer in range(sizes.layers):
        name = f"encoder.layers.{layer}."
        for part in "qkv":
            shapes |= _affine(f"{name}attention.{part}_proj", inner, hidden)
        shapes |= _affine(f"{name}attention.out_proj", hidden, inner)
        shapes |= _affine(f"{name}layer_norm", hidden)
        shapes |= _affine(f"{name}feed_forward.intermediate_dense", wide, hidden)
        shapes |= _affine(f"{name}feed_forward.output_dense", hidden, wide)
        shapes |= _affine(f"{name}final_layer_norm", hidden)
    if sizes.projected:
        shapes |= _affine("final_proj", sizes.projected, hidden)
    return shapes


def _affine(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def fold(tensors: dict[str, torch.Tensor]) -> None:
    """Fold weight norm over the last axis (Salimans and Kingma, 2016): each tap of the kernel has its own magnitude."""
    length, direction = tensors.pop(f"{_POSITION}weight_g"), tensors.pop(f"{_POSITION}weight_v")
    norm = direction.double().square().sum((0, 1), keepdim=True).sqrt()
    tensors[f"{_POSITION}weight"] = (length * direction / norm.clamp_min(1e-30)).float()
