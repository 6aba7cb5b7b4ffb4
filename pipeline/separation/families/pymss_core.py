"""Networks that the package pymss-core builds: SCNet, Bandit (both versions), Apollo, and the Roformers that the family
`roformer` doesn't read: with PoPE, HyperACE, conformers or shared biases. Windows, overlap and memory are ours; the
networks run in float32. A checkpoint with the YAML that was published with it.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.checked_config import (
    CheckedConfig,
    configured_stems,
    read_checked,
    section,
)
from understudy.pipeline.separation.families.tensors import invalid, read_tensors, stored_tensors
from understudy.pipeline.separation.layout import OVERLAP, edges_faded
from understudy.pipeline.separation.network import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

_CLASSES = {  # kind: module of pymss_core.modules, class
    "scnet": ("scnet", "SCNet"),
    "bandit": ("bandit.core.model", "MultiMaskMultiSourceBandSplitRNNSimple"),
    "bandit_v2": ("bandit_v2.bandit", "Bandit"),
    "apollo": ("look2hear.apollo", "Apollo"),
    "bs_roformer": ("bs_roformer", "BSRoformer"),
    "mel_band_roformer": ("bs_roformer", "MelBandRoformer"),
    "bs_conformer": ("bs_roformer", "BSConformer"),
    "mel_band_conformer": ("bs_roformer", "MelBandConformer"),
    "hyperace": ("bs_roformer", "BSRoformerHyperACE"),
}
_LABELS = ("type", "model_type", "architecture")  # of a configuration that name the kind
_TRAINING = (  # settings of Roformers that change nothing after training
    "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes", "multi_stft_hop_size",
    "multi_stft_normalized", "multi_stft_window_fn", "linear_transformer_depth", "linear_conformer_depth",
    "use_torch_checkpoint", "dim_freqs_in", "sage_attention", "conv_dropout",
)  # fmt: skip
_LARGEST = 8192
"""No published setting is larger but lengths and rates; it bounds what an untrusted configuration can build."""
_MOST_LAYERS = 64
HYPERACE = "mask_estimators.0.segm.backbone.stem.dwconv.weight"
"""A tensor that a Roformer with HyperACE has more than one without; their configurations are alike."""


@dataclass(frozen=True)
class _Configuration:
    """`kind`: which network. `settings`: its constructor's arguments. `channels`: that it takes at once. `window`:
    frames that it was trained on, a multiple of `hop`. `normalised`: it expects songs of deviation 1."""

    kind: str
    settings: Mapping[str, Any]
    stems: tuple[str, ...]
    rate: int
    channels: int
    hop: int
    window: int
    normalised: bool


def kind_of(configuration: Mapping[str, Any]) -> str | None:
    """Which of these networks is configured like this; None where it is none, or one that another family reads."""
    model, v2 = section(configuration, "model"), section(configuration, "kwargs")
    if {"in_channels", "stems"} <= v2.keys():
        return "bandit_v2"
    if {"in_channel", "stems", "band_specs"} <= model.keys():
        return "bandit"
    if {"sr", "win", "feature_dim", "layer"} <= model.keys():
        return "apollo"
    if {"band_SR", "band_stride", "band_kernel"} <= model.keys() or {"dims", "num_dplayer"} <= model.keys():
        return "scnet"
    shape = "bs" if "freqs_per_bands" in model else "mel_band"
    if "time_conformer_depth" in model or "freq_conformer_depth" in model:
        return f"{shape}_conformer"
    if model.get("use_pope") or model.get("use_shared_bias"):
        return f"{shape}_roformer"
    return None


def stems(weights: Weights) -> tuple[str, ...]:
    """The stems that the network gives, by its configuration. Raises ``model-companion`` and ``model-invalid``."""
    return read_checked(weights, "pymss_core", _configuration).stems


def load(weights: Weights, device: str, precision: Precision) -> Network:
    """The network in ``weights.path``, whose YAML is among the companions; float32 whatever the `precision`.

    Raises `UnderstudyError`: ``model-companion``, ``model-invalid``, and what reading untrusted files raises.
    """
    configuration = read_checked(weights, "pymss_core", _configuration)
    kind = configuration.kind
    if kind == "bs_roformer" and HYPERACE in stored_tensors(weights.path):
        kind = "hyperace"
    try:
        network = _built(kind, configuration.settings)
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, ArithmeticError, RuntimeError) as error:
        raise invalid(weights.path, f"its configuration is of no such network: {_line(error)}") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    tensors = read_tensors(weights.path, expected, (".num_batches_tracked",))
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False, assign=True)
    network.eval().requires_grad_(False).to(device)
    return _network(weights, network, configuration, device, configuration.window)


def _network(weights: Weights, network: nn.Module, configuration: _Configuration, device: str, window: int) -> Network:
    import torch

    names, channels = configuration.stems, configuration.channels
    warnings.filterwarnings("ignore", "A window was not provided")  # SCNet's published networks have none

    def separate(windows: Tensor) -> Tensor:
        """``[batch, 2, window]`` -> ``[batch, stems, 2, window]``."""
        try:
            found: Tensor = network(windows.reshape(-1, channels, window))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:
            raise invalid(weights.path, f"its settings don't fit together: {_line(error)}") from error
        if found.numel() != len(names) * windows.numel():
            raise invalid(weights.path, f"it gives {list(found.shape)} where {len(names)} stems are named")
        found = found.float().reshape(windows.shape[0], 2 // channels, len(names), channels, window)
        return found.transpose(1, 2).reshape(windows.shape[0], len(names), 2, window)

    half = window // 2 // configuration.hop * configuration.hop
    return Network(
        stems=names,
        rate=configuration.rate,
        window=window,
        step=round(window * (1 - OVERLAP)),
        fade=edges_faded(window),
        separate=separate,
        device=device,
        normalise="deviation" if configuration.normalised else "none",
        size=sum(value.nbytes for value in network.parameters()),
        working=window << 11,
        shorter=(lambda: _network(weights, network, configuration, device, half)) if half >= 1 << 15 else None,
    )


def _configuration(configuration: Mapping[str, Any]) -> _Configuration:
    model = section(configuration, "model")
    kind = kind_of(configuration) or ("bs_roformer" if "freqs_per_bands" in model else "mel_band_roformer")
    own = section(configuration, "kwargs") if kind == "bandit_v2" else model
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in own.items()
        if name not in _LABELS and not ("roformer" in kind and name in _TRAINING)
    }
    _check_sizes(settings)
    audio, inference, values = (
        CheckedConfig(section(configuration, "audio")),
        section(configuration, "inference"),
        CheckedConfig(own),
    )
    rate = audio.number(
        "sample_rate", 8000, 192_000, values.number("fs", 8000, 192_000, values.number("sr", 8000, 192_000, 44_100))
    )
    names = configured_stems(section(configuration, "training"))
    if kind == "scnet":
        channels = values.number("audio_channels", 1, 2, 2)
    elif kind == "bandit":
        channels = values.number("in_channel", 1, 2)
    else:
        channels = 2 if "former" in kind and values.flag("stereo", False) else 1
    hop = values.number("stft_hop_length", 1, 1 << 16, 512)
    return _Configuration(
        kind=kind,
        settings=settings,
        stems=names,
        rate=rate,
        channels=channels,
        hop=hop,
        window=audio.number("chunk_size", 1 << 12, 1 << 24, 11 * rate) // hop * hop,
        normalised=CheckedConfig(inference).flag("normalize", False),
    )


def _check_sizes(settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` for settings that no published network comes near."""
    for name, value in settings.items():
        numbers = value if isinstance(value, tuple) else (value,)
        most = _MOST_LAYERS if "depth" in name or "layer" in name or "modules" in name else _LARGEST
        most = (
            192_000
            if name in ("sr", "fs", "sample_rate") or "fft" in name or "length" in name or "hop" in name
            else most
        )
        if any(isinstance(number, int | float) and abs(number) > most for number in numbers):
            raise ValueError(f"{name} is {str(value)[:40]!r}, where {most} is the most")


def _built(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """The network with random weights. Raises `ValueError` naming settings that it doesn't have."""
    module, name = _CLASSES[kind]
    made = getattr(import_module(f"pymss_core.modules.{module}"), name)
    known = {
        parameter
        for base in made.__mro__[:-1]
        if "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters
    }
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"its settings {', '.join(unknown)} are not known")
    network: nn.Module = made(**settings)
    if kind == "hyperace":
        network.set_mask_mode("full")  # type: ignore[operator]
    return network


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
