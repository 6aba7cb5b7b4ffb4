"""The file of RMVPE's weights, untrusted: `rmvpe.pt`, a dict of float16 or float32 tensors, or safetensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file
from understudy.models.safetensors_file import is_safetensors

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
Weights = dict[str, "Tensor"]

WIDTH = 16  # channels of the outermost level in the published network
LEVELS = 5
MIDDLE = 4
BLOCKS = 4
HIDDEN = 256  # of the recurrent layer, in each direction
_BANDS, _PITCHES = 128, 360
_LARGEST = 1 << 30  # bytes; the published file has 181 million, in single precision it would have 362
_HINT = "Get the published rmvpe.pt again and check its SHA-256 with 'understudy models verify'."


def expected(width: int = WIDTH) -> dict[str, Shape]:
    """Name and shape of every tensor of a network whose outermost level has `width` channels. The counters of the batch
    norms, which nothing reads, are left out."""
    return dict(_tensors(width))


def block_names() -> tuple[list[list[str]], list[str], list[list[str]]]:
    """The prefixes of all residual blocks: of the encoder by level, of the middle, of the decoder by level."""
    encoder = [[f"unet.encoder.layers.{level}.conv.{block}" for block in range(BLOCKS)] for level in range(LEVELS)]
    middle = [f"unet.intermediate.layers.{level}.conv.{block}" for level in range(MIDDLE) for block in range(BLOCKS)]
    decoder = [[f"unet.decoder.layers.{level}.conv2.{block}" for block in range(BLOCKS)] for level in range(LEVELS)]
    return encoder, middle, decoder


def read_weights(path: Path, width: int = WIDTH) -> Weights:
    """The weights in `path`, in float32, exactly those of `expected`.

    Raises `UnderstudyError`: what `torch_file.load` and `safetensors_file.load` raise; ``model-unsuitable`` for
    something else than tensors, or those of another network; it names what is missing, too many or misshapen.
    """
    import torch

    stored = _stored(path)
    wanted = expected(width)
    faults = [f"{name} is missing" for name in wanted if name not in stored]
    for name, tensor in stored.items():
        if name not in wanted:
            if not name.endswith(".num_batches_tracked"):
                faults.append(f"{name} is unexpected")
        elif tuple(tensor.shape) != wanted[name]:
            faults.append(f"{name} is {list(tensor.shape)} instead of {list(wanted[name])}")
        elif tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            faults.append(f"{name} holds {tensor.dtype}")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds numbers that are not finite")
    if faults:
        more = f" and {len(faults) - 3} more faults" if len(faults) > 3 else ""
        raise UnderstudyError(
            "model-unsuitable", f"{path} does not hold RMVPE's weights: {'; '.join(faults[:3])}{more}.", _HINT
        )
    return {
        name: stored.pop(name).to(torch.float32, copy=True, memory_format=torch.contiguous_format) for name in wanted
    }


def _stored(path: Path) -> Weights:
    import torch

    stored = safetensors_file.load(path, _LARGEST)[0] if is_safetensors(path) else torch_file.load(path, _LARGEST)
    if not isinstance(stored, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in stored.items()
    ):
        raise UnderstudyError("model-unsuitable", f"{path} holds something else than named tensors.", _HINT)
    return stored


def _tensors(width: int) -> Iterator[tuple[str, Shape]]:
    encoder, middle, decoder = block_names()
    yield from _norm("unet.encoder.bn", 1)
    inside = 1
    for level, names in enumerate(encoder):
        for name in names:
            yield from _block(name, inside, width << level)
            inside = width << level
    for name in middle:
        yield from _block(name, inside, width << LEVELS)
        inside = width << LEVELS
    for level, names in enumerate(decoder):
        outside = inside // 2
        yield f"unet.decoder.layers.{level}.conv1.0.weight", (inside, outside, 3, 3)
        yield from _norm(f"unet.decoder.layers.{level}.conv1.1", outside)
        inside = 2 * outside  # the level of the encoder is laid beside it
        for name in names:
            yield from _block(name, inside, outside)
            inside = outside
    yield "cnn.weight", (3, inside, 3, 3)
    yield "cnn.bias", (3,)
    for direction in ("", "_reverse"):
        yield f"fc.0.gru.weight_ih_l0{direction}", (3 * HIDDEN, 3 * _BANDS)
        yield f"fc.0.gru.weight_hh_l0{direction}", (3 * HIDDEN, HIDDEN)
        yield f"fc.0.gru.bias_ih_l0{direction}", (3 * HIDDEN,)
        yield f"fc.0.gru.bias_hh_l0{direction}", (3 * HIDDEN,)
    yield "fc.1.weight", (_PITCHES, 2 * HIDDEN)
    yield "fc.1.bias", (_PITCHES,)


def _block(name: str, inside: int, outside: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.conv.0.weight", (outside, inside, 3, 3)
    yield from _norm(f"{name}.conv.1", outside)
    yield f"{name}.conv.3.weight", (outside, outside, 3, 3)
    yield from _norm(f"{name}.conv.4", outside)
    if inside != outside:
        yield f"{name}.shortcut.weight", (outside, inside, 1, 1)
        yield f"{name}.shortcut.bias", (outside,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
