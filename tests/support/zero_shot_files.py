"""Small random models of the engine zero-shot, in the form in which the real ones are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from understudy.models import Weights
from understudy.voices.zero_shot.configuration import Configuration, read_configuration
from understudy.voices.zero_shot.content import ContentEncoder
from understudy.voices.zero_shot.diffusion import Converter
from understudy.voices.zero_shot.style import StyleEncoder
from understudy.voices.zero_shot.vocoder import Sizes, Vocoder

CONFIGURATION: dict[str, Any] = {
    "log_dir": "./runs",
    "preprocess_params": {
        "sr": 44100,
        "spect_params": {
            "n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 128, "fmin": 0, "fmax": "None",
        },
    },
    "model_params": {
        "dit_type": "DiT",
        "vocoder": {"type": "bigvgan", "name": "nvidia/bigvgan_v2_44khz_128band_512x"},
        "speech_tokenizer": {"type": "whisper", "name": "openai/whisper-small"},
        "style_encoder": {"dim": 192, "campplus_path": "campplus_cn_common.bin"},
        "length_regulator": {
            "channels": 16, "is_discrete": False, "in_channels": 64, "content_codebook_size": 8,
            "sampling_ratios": [1, 1], "vector_quantize": False, "n_codebooks": 1, "f0_condition": True,
            "n_f0_bins": 256,
        },
        "DiT": {
            "hidden_dim": 32, "num_heads": 2, "depth": 3, "in_channels": 128, "style_condition": True,
            "final_layer_type": "mlp", "target": "mel", "content_dim": 16, "f0_condition": True, "is_causal": False,
            "long_skip_connection": False, "time_as_token": False, "style_as_token": False,
            "uvit_skip_connection": True,
        },
    },
}  # fmt: skip


SPEECH: dict[str, Any] = {
    "length_regulator.f0_condition": False, "DiT.f0_condition": False, "DiT.in_channels": 80,
    "DiT.final_layer_type": "wavenet", "DiT.long_skip_connection": True,
    "wavenet": {"hidden_dim": 32, "num_layers": 3, "kernel_size": 5, "dilation_rate": 1, "p_dropout": 0.2},
    "vocoder.name": "nvidia/bigvgan_v2_22khz_80band_256x",
}  # fmt: skip


def random_state(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Weights that keep the values inside the network of the order of 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        random = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = 0.5 + random.abs()
        elif tensor.ndim < 2:
            gain = name.endswith("weight") and tensor.ndim == 1
            state[name] = 1 + 0.1 * random if gain else 0.1 * random
        else:
            state[name] = random / tensor[0].numel() ** 0.5
    return state


def with_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same network's weights as its training keeps them: a length and a direction of each convolution."""
    found = {}
    for name, tensor in state.items():
        if tensor.ndim == 3:
            stem = name.removesuffix("weight")
            found[f"{stem}weight_g"] = tensor.flatten(1).norm(dim=1)[:, None, None]
            found[f"{stem}weight_v"] = 3 * tensor
        else:
            found[name] = tensor
    return found


def write_configuration(path: Path, **changes: Any) -> Configuration:
    """`changes`: values by dotted names inside ``model_params``; with those of `SPEECH` the model is one of 22 kHz."""
    tree = yaml.safe_load(yaml.safe_dump(CONFIGURATION))
    for name, value in changes.items():
        *above, last = name.split(".")
        part = tree["model_params"]
        for key in above:
            part = part[key]
        part[last] = value
    if tree["model_params"]["vocoder"]["name"] == SPEECH["vocoder.name"]:
        tree["preprocess_params"] = {
            "sr": 22050, "spect_params": {"n_fft": 1024, "win_length": 1024, "hop_length": 256, "n_mels": 80},
        }  # fmt: skip
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return read_configuration(path)


def write_models(folder: Path, speech: bool = False) -> dict[str, Weights]:
    """All files of the engine in `folder`, by their names in the catalogue."""
    configuration = write_configuration(folder / "seed-vc-singing.yml", **(SPEECH if speech else {}))
    state = random_state(Converter(configuration), 1)
    net: dict[str, dict[str, Tensor]] = {"cfm": {}, "length_regulator": {}}
    for name, tensor in state.items():
        part, _, inner = name.partition(".")
        net[part][f"module.{inner}"] = tensor
    net["cfm"]["module.estimator.input_pos"] = torch.arange(8)  # a buffer that nothing needs
    torch.save({"net": net, "epoch": 3}, folder / "seed-vc-singing.pth")
    whisper = {f"encoder.{name}": tensor for name, tensor in random_state(ContentEncoder(64, 1), 2).items()}
    torch.save({"dims": {"n_audio_layer": 1}, "model_state_dict": whisper}, folder / "whisper-small.pt")
    torch.save(random_state(StyleEncoder(), 3), folder / "campplus_cn_common.bin")
    upsampling = (8, 8, 4, 4, 4, 4) if speech else (16, 8, 4, 4, 4, 4)
    vocoder = random_state(Vocoder(Sizes(64, upsampling, (3,), configuration.mel.bands)), 4)
    torch.save({"generator": with_weight_norm(vocoder)}, folder / "bigvgan-44k.pt")
    beside = (Weights(folder / "seed-vc-singing.yml", "0" * 64),)
    files = {
        "zero-shot-speech" if speech else "zero-shot": "seed-vc-singing.pth",
        "whisper-small": "whisper-small.pt",
        "campplus": "campplus_cn_common.bin",
        "bigvgan-22k" if speech else "bigvgan-44k": "bigvgan-44k.pt",
    }
    return {
        name: Weights(folder / file, f"{number:x}" * 64, beside if file.endswith(".pth") else ())
        for number, (name, file) in enumerate(files.items(), 8 if speech else 1)
    }
