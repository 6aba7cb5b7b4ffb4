"""The configuration file of a zero-shot singing model, in the form that seed-vc and YingMusic-SVC publish.

Its fields are of three kinds: sizes, which are read; choices, of which one is supported; and what concerns training
alone. A field that is in none of these lists may change what the network computes, so it is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from understudy.disk import reading
from understudy.errors import UnderstudyError


@dataclass(frozen=True)
class Mel:
    """The mel bands of a model: `rate` in Hz; `fft` and `hop` in samples; the number of `bands`."""

    rate: int
    fft: int
    hop: int
    bands: int


SINGING = Mel(44100, 2048, 512, 128)
SPEECH = Mel(22050, 1024, 256, 80)  # as many frames a second
RATE, HOP, BANDS = SINGING.rate, SINGING.hop, SINGING.bands

_LARGEST = 1 << 18  # bytes of a configuration
_CHOICES: dict[str, object] = {
    "preprocess_params.spect_params.fmin": 0,
    "preprocess_params.spect_params.fmax": "None",
    "model_params.dit_type": "DiT",
    "model_params.vocoder.type": "bigvgan",
    "model_params.speech_tokenizer.type": "whisper",
    "model_params.speech_tokenizer.name": "openai/whisper-small",
    "model_params.length_regulator.is_discrete": False,
    "model_params.length_regulator.vector_quantize": False,
    "model_params.length_regulator.n_codebooks": 1,
    "model_params.DiT.style_condition": True,
    "model_params.DiT.target": "mel",
    "model_params.DiT.content_codebooks": 1,
    "model_params.DiT.is_causal": False,
    "model_params.DiT.zero_prompt_speech_token": False,
    "model_params.DiT.time_as_token": False,
    "model_params.DiT.style_as_token": False,
    "model_params.DiT.add_resblock_in_transformer": False,
}
_VOCODERS = {SINGING: "nvidia/bigvgan_v2_44khz_128band_512x", SPEECH: "nvidia/bigvgan_v2_22khz_80band_256x"}
_SIZES = {
    "model_params.style_encoder.dim": "style",
    "model_params.length_regulator.channels": "channels",
    "model_params.length_regulator.in_channels": "content",
    "model_params.length_regulator.f0_condition": "pitched",
    "model_params.length_regulator.n_f0_bins": "f0_bins",
    "model_params.length_regulator.sampling_ratios": "layers_of_regulator",
    "model_params.length_regulator.use_style_residual": "pitched_style",
    "model_params.length_regulator.residual_alpha": "pitched_style_most",
    "model_params.DiT.hidden_dim": "width",
    "model_params.DiT.num_heads": "heads",
    "model_params.DiT.depth": "depth",
    "model_params.DiT.uvit_skip_connection": "skips",
    "model_params.DiT.long_skip_connection": "long_skip",
}
_OPTIONAL = {"pitched_style": False, "pitched_style_most": 0.0, "skips": False, "long_skip": False}
_WAVENET = {"hidden_dim": "width", "num_layers": "layers", "kernel_size": "kernel"}
_ELSEWHERE = (  # read apart from these lists, or of training alone
    "log_dir", "save_freq", "log_interval", "save_interval", "device", "epochs", "batch_size", "batch_length",
    "max_len", "pretrained_model", "pretrained_encoder", "load_only_params", "loss_params",
    "model_params.reg_loss_type", "model_params.timbre_shifter", "model_params.DAC", "model_params.wavenet",
    "model_params.style_encoder.campplus_path", "model_params.length_regulator.content_codebook_size",
    "model_params.length_regulator.quantizer_dropout", "model_params.DiT.class_dropout_prob",
    "model_params.DiT.final_layer_type", "model_params.DiT.f0_condition",
    "model_params.DiT.block_size", "model_params.DiT.content_dim", "model_params.DiT.content_codebook_size",
    "model_params.DiT.content_type", "model_params.DiT.n_f0_bins",
)  # fmt: skip


@dataclass(frozen=True)
class WaveNetSizes:
    """Sizes of the network behind the transformer, as wide as it. `kernel`: odd."""

    width: int
    layers: int
    kernel: int


@dataclass(frozen=True)
class Configuration:
    """Sizes of the networks. `content`: values of a content frame; `channels`: of the length regulator; `pitched`:
    whether it is told the pitch, in `f0_bins` steps; `style`: values of the style vector; `width`, `heads`, `depth`: of
    the transformer; `skips`: whether its later layers also get the output of its earlier ones (U-ViT), `long_skip`:
    whether what follows it also gets its input; `wavenet`: what follows it, None for two linear layers.
    `pitched_style`: whether the style moves with the pitch (YingMusic-SVC), by at most `pitched_style_most` of its own
    RMS."""

    mel: Mel
    content: int
    channels: int
    layers_of_regulator: int
    pitched: bool
    f0_bins: int
    style: int
    width: int
    heads: int
    depth: int
    skips: bool
    long_skip: bool
    wavenet: WaveNetSizes | None
    pitched_style: bool
    pitched_style_most: float


def read_configuration(path: Path) -> Configuration:
    """The configuration in the YAML file at `path`.

    Raises `UnderstudyError` ``model-unsuitable``, which names the field, for a model of another kind or of a newer
    form, and what opening the file raises.
    """
    with reading(path), path.open("rb") as file:
        text = file.read(_LARGEST + 1)
    try:
        given = dict(_fields(yaml.safe_load(text))) if len(text) <= _LARGEST else {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        given = {}
    if not any(name.startswith("model_params.DiT.") for name in given):
        _unsuitable(path, "it is no configuration of a zero-shot singing model")
    sizes: dict[str, Any] = {}
    mel = SPEECH if given.get("preprocess_params.sr") == SPEECH.rate else SINGING
    choices = _CHOICES | _choices_of(mel)
    for name, value in given.items():
        if name in choices:
            if value != choices[name]:
                _unsuitable(path, f"{name} is {value!r}, and only {choices[name]!r} is supported")
        elif name in _SIZES:
            sizes[_SIZES[name]] = value
        elif not any(name == unused or name.startswith(unused + ".") for unused in _ELSEWHERE):
            _unsuitable(path, f"it has the unknown field {name}")
    sizes = _OPTIONAL | sizes
    lacking = [name for name in _SIZES if _SIZES[name] not in sizes]
    lacking += [name for name in ("preprocess_params.sr", "model_params.DiT.f0_condition") if name not in given]
    if lacking:
        _unsuitable(path, f"it lacks the field {lacking[0]}")
    if given["model_params.DiT.f0_condition"] != sizes["pitched"]:
        _unsuitable(path, "model_params.DiT.f0_condition and that of model_params.length_regulator differ")
    return _checked(path, sizes, mel, _wavenet(path, given))


def _choices_of(mel: Mel) -> dict[str, object]:
    spectrum = {"n_fft": mel.fft, "win_length": mel.fft, "hop_length": mel.hop, "n_mels": mel.bands}
    return {
        "preprocess_params.sr": mel.rate,
        "model_params.vocoder.name": _VOCODERS[mel],
        "model_params.DiT.in_channels": mel.bands,
        **{f"preprocess_params.spect_params.{name}": value for name, value in spectrum.items()},
    }


def _wavenet(path: Path, given: dict[str, Any]) -> WaveNetSizes | None:
    last = given.get("model_params.DiT.final_layer_type", "mlp")
    if last == "mlp":
        return None
    dilation = given.get("model_params.wavenet.dilation_rate", 1)
    found = {size: given.get(f"model_params.wavenet.{name}") for name, size in _WAVENET.items()}
    sizes = {name: value for name, value in found.items() if type(value) is int and 0 < value <= 8192}
    if (
        last != "wavenet"
        or dilation != 1
        or len(sizes) < len(found)
        or sizes["layers"] > 64
        or sizes["kernel"] % 2 == 0
    ):
        _unsuitable(path, f"model_params.DiT.final_layer_type is {last!r} with {found}, dilation {dilation!r}")
    return WaveNetSizes(**sizes)


def _checked(path: Path, sizes: dict[str, Any], mel: Mel, wavenet: WaveNetSizes | None) -> Configuration:
    ratios = sizes["layers_of_regulator"]
    if not isinstance(ratios, list) or not 0 < len(ratios) <= 16 or any(ratio != 1 for ratio in ratios):
        _unsuitable(path, f"model_params.length_regulator.sampling_ratios is {ratios!r}")
    sizes["layers_of_regulator"] = len(ratios)
    for name, size in sizes.items():
        boolean, fraction = name in ("skips", "long_skip", "pitched", "pitched_style"), name == "pitched_style_most"
        fits = (
            isinstance(size, bool)
            if boolean
            else isinstance(size, int | float) and not isinstance(size, bool) and 0 <= size <= 1
            if fraction
            else type(size) is int and 0 < size <= 8192
        )
        if not fits:
            _unsuitable(path, f"{name} is {size!r}")
    if sizes["pitched_style"] and not sizes["pitched"]:
        _unsuitable(path, "its style depends on the pitch, which it isn't told")
    if wavenet and wavenet.width != sizes["width"]:
        _unsuitable(path, f"model_params.wavenet.hidden_dim is {wavenet.width}, unlike that of model_params.DiT")
    configuration = Configuration(mel=mel, wavenet=wavenet, **sizes)
    if configuration.width % configuration.heads or configuration.width // configuration.heads % 2:
        _unsuitable(path, f"a width of {configuration.width} can't be divided among {configuration.heads} heads")
    return configuration


def _fields(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested dictionaries by their dotted names."""
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _unsuitable(path: Path, why: str) -> NoReturn:
    raise UnderstudyError(
        "model-unsuitable",
        f"The configuration {path.name} can't be used: {why}.",
        "Supported are the singing models of seed-vc (config_dit_mel_seed_uvit_whisper_base_f0_44k.yml) and of "
        "YingMusic-SVC, and seed-vc's speech model (config_dit_mel_seed_uvit_whisper_small_wavenet.yml). Get both the "
        "model and its configuration from one of them.",
    )
