"""Spleeter: a U-Net per stem estimates its magnitudes up to 11 kHz; their shares are masks for the song's spectrum.

Source: Hennequin et al. (2020), with the masks' exponent of 2. Above 11 kHz, the mean of a spectrum's
mask is used, so that the stems add up to the song; the released models cut everything off there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import UnderstudyError
from understudy.models import onnx_file
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.spleeter.names import BINS, EVERY, FRAMES, STEMS, read_stem, stems_in
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.stems import canonical_stems

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.pipeline.separation.families.spleeter.unet import Estimate

RATE = 44_100
SIZE, HOP = 4096, 1024
WINDOW = (FRAMES - 1) * HOP
OVERLAP = 0.25
EXPONENT = 2
EPSILON = 1e-10
_QUIETEST = 1e-3
"""How much a window's ends count at least, where it fades."""


def stems(weights: Weights) -> tuple[str, ...]:
    """The model's stems, of its one file or of its file per stem. Raises ``model-invalid``, and ``model-companion``
    where a stem's file is missing."""
    return canonical_stems(tuple(_by_stem(weights)))


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The networks in ``weights.path`` (torch or safetensors, all stems or one) and its companions, or those in ONNX
    files, one per stem.

    On CPUs they are computed in float32 whatever `precision` says: bfloat16 reaches an SNR of 31 dB only, and
    they take little time. Raises `UnderstudyError` ``model-invalid``, ``model-companion``, and what reading the files
    raises.
    """
    import torch

    by_stem = _by_stem(weights)
    estimate = (
        _sessions(list(by_stem.values()), device)
        if weights.path.suffix.lower() == ".onnx"
        else _networks(by_stem, device, torch.float32 if device == "cpu" else getattr(torch, precision))
    )
    shape = torch.hann_window(SIZE, device=device)
    fading = round(WINDOW * OVERLAP)
    fade = torch.ones(WINDOW)
    fade[:fading] = torch.linspace(_QUIETEST, 1.0, fading)
    return Network(
        stems=canonical_stems(tuple(by_stem)),
        rate=RATE,
        window=WINDOW,
        step=WINDOW - fading,
        fade=fade * fade.flip(0),
        separate=lambda windows: separated(windows, estimate, shape),
        device=device,
        size=sum(path.stat().st_size for path in set(by_stem.values())),
        working=WINDOW * 2000,
    )


def separated(windows: Tensor, estimate: Estimate, shape: Tensor) -> Tensor:
    """float32 ``[batch, 2, window]`` -> ``[batch, stems, 2, window]``. `shape`: of the transform's frames."""
    import torch

    spectra = torch.stft(windows.flatten(0, 1), SIZE, HOP, window=shape, return_complex=True).transpose(1, 2)
    spectra = spectra.reshape(*windows.shape[:2], FRAMES, SIZE // 2 + 1)
    powers = estimate(spectra[..., :BINS].abs()) ** EXPONENT
    masks = (powers + EPSILON / len(powers)) / (powers.sum(0) + EPSILON)
    above = masks.mean(-1, keepdim=True).expand(*masks.shape[:-1], SIZE // 2 + 1 - BINS)
    found = (torch.cat([masks, above], -1) * spectra).transpose(0, 1).transpose(-1, -2)
    waves = torch.istft(found.flatten(0, 2), SIZE, HOP, window=shape, length=windows.shape[-1])
    return waves.view(windows.shape[0], len(powers), *windows.shape[1:])


def _by_stem(weights: Weights) -> dict[str, Path]:
    """Where each stem's network is, in the order of the released models."""
    paths = [weights.path, *(other.path for other in weights.companions if other.path.suffix.lower() != ".json")]
    if weights.path.suffix.lower() != ".onnx" and len(paths) == 1:
        inside = stems_in(weights.path)
        if inside is not None:
            return dict.fromkeys(inside, weights.path)
    found = {_named(path): path for path in paths}
    for names in STEMS.values():
        if set(names) == set(found):
            return {name: found[name] for name in names}
    wanted = next((names for names in STEMS.values() if set(found) < set(names)), None)
    if wanted is None:
        raise invalid(weights.path, f"its files' stems ({', '.join(sorted(found))}) are those of no Spleeter model")
    missing = [name for name in wanted if name not in found]
    raise UnderstudyError(
        "model-companion",
        f"{weights.path} holds one stem of a Spleeter model; the files of {', '.join(missing)} aren't with it.",
        f"Put them beside it, each with its stem in the name as this one has ({weights.path.name}).",
    )


def _named(path: Path) -> str:
    """The stem in a file's name."""
    words = [word for word in re.split(r"[^a-z]+", path.stem.lower()) if word in EVERY]
    if len(set(words)) != 1:
        raise invalid(path, "it holds one stem of a Spleeter model, but its name doesn't say which")
    return words[0]


def _networks(by_stem: dict[str, Path], device: str, dtype: Any) -> Estimate:
    """Networks of torch: with four and five stems the released models have another activation, and with five their
    masks compete."""
    from understudy.pipeline.separation.families.spleeter.unet import all_stems, placed

    networks = tuple(
        placed(read_stem(path, stem, number), len(by_stem) > 2, device, dtype)
        for number, (stem, path) in enumerate(by_stem.items())
    )
    return all_stems(networks, softmax=len(by_stem) == 5)


def _sessions(paths: list[Path], device: str) -> Estimate:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    on_gpu = device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    gpu: list[Any] = [("CUDAExecutionProvider", {"device_id": torch.device(device).index or 0})] if on_gpu else []
    sessions = []
    for path in paths:
        inputs = list(onnx_file.load(path).inputs.values())
        first = _batch_first(path, inputs[0] if len(inputs) == 1 else ())
        try:
            made = onnxruntime.InferenceSession(path.read_bytes(), options, providers=[*gpu, "CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base of its errors
            raise invalid(path, "onnxruntime can't read it") from error
        sessions.append((path, made, first))

    def estimate(magnitudes: Tensor) -> Tensor:
        given = magnitudes.cpu()
        found = []
        for path, session, first in sessions:
            image = (given if first else given.transpose(0, 1)).contiguous().numpy()
            result = session.run(None, {session.get_inputs()[0].name: image})[0]
            if result.shape != image.shape or result.dtype != image.dtype:
                raise invalid(path, f"it gives {list(result.shape)} for {list(image.shape)}")
            stem = torch.from_numpy(result)
            found.append(stem if first else stem.transpose(0, 1))
        return torch.stack(found).to(magnitudes.device)

    return estimate


def _batch_first(path: Path, shape: tuple[int | None, ...]) -> bool:
    """Whether a network takes ``[windows, 2, 512, 1024]``; the other published form is ``[2, windows, ...]``."""
    if len(shape) != 4 or shape[2:] != (FRAMES, BINS) or 2 not in shape[:2]:
        raise invalid(path, f"its input {list(shape)} isn't Spleeter's [2, windows, {FRAMES}, {BINS}]")
    return shape[0] != 2
