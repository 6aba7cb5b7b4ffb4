"""Networks that the package audio-separator builds: for files of its registry that no other family here reads.

The package's own loops write files and can't be cancelled, so only its networks are used, in float32; windows, overlap
and memory are ours. Its Roformers and MDX23C networks are run, those with a checkpoint and a YAML; its VR, MDX-Net and
Demucs models are all read by the other families.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from copy import deepcopy
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.models.catalogue import published
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.packages import require_package
from understudy.pipeline.separation.families.checked_config import (
    CheckedConfig,
    configured_stems,
    read_checked,
    section,
)
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.layout import OVERLAP, edges_faded
from understudy.pipeline.separation.network import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLASSES = "audio_separator.separator.architectures.mdxc_separator"


def in_registry(name: str) -> bool:
    """Whether a file of that name is a Roformer or an MDX23C network in audio-separator's registry: as far as the
    catalogue has it, or in the installed version."""
    model = published(name)
    if model is not None and model.architecture in ("roformer", "mdx23c"):
        return True
    if find_spec("audio_separator") is None:
        return False
    groups = json.loads((files("audio_separator") / "models.json").read_text("utf-8"))
    return any(
        name in entry
        for group in ("roformer_download_list", "mdx23c_download_list")
        for entry in groups.get(group, {}).values()
    )


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network gives, by its configuration. Raises ``model-companion`` and ``model-invalid``."""
    return read_checked(weights, "audio-separator", _checked)[1]


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, whose YAML is among the companions; float32 whatever the `precision`.

    Raises `UnderstudyError`: ``package-missing`` without audio-separator; ``model-companion``; ``model-invalid`` where
    the package can't build the network or its weights are not finite.
    """
    import torch

    configuration, names, rate, window = read_checked(weights, "audio-separator", _checked)
    network = _built(weights.path, configuration, device)
    if not all(bool(torch.isfinite(value).all()) for value in network.parameters()):
        raise invalid(weights.path, "it holds numbers that are not finite")

    def separate(windows: Tensor) -> Tensor:
        """``[batch, 2, window]`` -> ``[batch, stems, 2, window]``."""
        found: Tensor = network(windows)
        found = found[:, None] if found.ndim == 3 else found  # without a dimension of stems where there is one
        if found.shape != (windows.shape[0], len(names), *windows.shape[1:]):
            raise invalid(weights.path, f"it gives {list(found.shape)} where {len(names)} stems are named")
        return found.float()

    return Network(
        stems=names,
        rate=rate,
        window=window,
        step=round(window * (1 - OVERLAP)),
        fade=edges_faded(window),
        separate=separate,
        device=device,
        cautions=(f"{weights.path.name} was computed by the package audio-separator, in float32.",),
        size=sum(value.numel() * value.element_size() for value in network.parameters()),
        working=window << 11,
    )


def _checked(configuration: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...], int, int]:
    """The configuration with what is used of it here: stems, sample rate, frames per window. Raises `ValueError`."""
    audio, model, inference = (CheckedConfig(section(configuration, name)) for name in ("audio", "model", "inference"))
    rate = audio.number("sample_rate", 8000, 192_000, model.number("sample_rate", 8000, 192_000, 44_100))
    hop = model.number("stft_hop_length", 1, 1 << 16, audio.number("hop_length", 1, 1 << 16, 512))
    frames = inference.number("dim_t", 2, 1 << 16, audio.number("dim_t", 2, 1 << 16, 801))
    return configuration, configured_stems(section(configuration, "training")), rate, hop * (frames - 1)


def _built(path: Path, configuration: Mapping[str, Any], device: str) -> nn.Module:
    import torch

    classes = require_package(_CLASSES)
    logger = logging.getLogger("understudy.audio_separator")
    logger.setLevel(logging.CRITICAL)  # what fails is said in the error
    common = {
        "logger": logger,
        "log_level": logging.CRITICAL,
        "torch_device": torch.device(device),
        "torch_device_cpu": torch.device("cpu"),
        "model_name": path.stem,
        "model_path": str(path),
        "model_data": _with_tuples(configuration),
        "sample_rate": 44_100,
    }
    try:
        loader = classes.MDXCSeparator(common, {})
    except (Exception, SystemExit) as error:  # whatever the package makes of the file; it ends the process on some
        raise invalid(path, f"audio-separator can't load it ({type(error).__name__}: {str(error)[:200]})") from error
    network: nn.Module = loader.model_run
    return network.eval().requires_grad_(False)


def _with_tuples(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the tuples that the package's networks insist on, and the sections that it expects."""
    found = deepcopy(dict(configuration))
    model = found.get("model")
    if isinstance(model, dict):
        found["model"] = {name: tuple(value) if isinstance(value, list) else value for name, value in model.items()}
    for name in ("training", "inference", "audio"):
        found.setdefault(name, {})
    return found
