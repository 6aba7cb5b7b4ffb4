"""Content features: the encoder of Whisper (A. Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak
Supervision").

    sound at 16 kHz -> 30 s of 80 log-mel bands, 100 frames a second -> two convolutions, the second halves the frames
                    -> positions -> transformer layers -> a norm -> 50 frames a second

The encoder hears 30 s at a time; a shorter sound is followed by silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.zero_shot.weights import Tensors, fitted, read_tensors, unsuitable

RATE = 16000
HOP = 320  # samples of a content frame
LONGEST = 30 * RATE  # samples that are heard at once

_BANDS, _FFT, _MEL_HOP = 80, 400, 160
_FRAMES = LONGEST // HOP
_HEAD = 64  # values of an attention head in every Whisper
_HUGGING_FACE = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^embed_positions\.weight$", "positional_embedding"),
        (r"^layers\.(\d+)\.self_attn\.q_proj\.", r"blocks.\1.attn.query."),
        (r"^layers\.(\d+)\.self_attn\.k_proj\.", r"blocks.\1.attn.key."),
        (r"^layers\.(\d+)\.self_attn\.v_proj\.", r"blocks.\1.attn.value."),
        (r"^layers\.(\d+)\.self_attn\.out_proj\.", r"blocks.\1.attn.out."),
        (r"^layers\.(\d+)\.self_attn_layer_norm\.", r"blocks.\1.attn_ln."),
        (r"^layers\.(\d+)\.fc1\.", r"blocks.\1.mlp.0."),
        (r"^layers\.(\d+)\.fc2\.", r"blocks.\1.mlp.2."),
        (r"^layers\.(\d+)\.final_layer_norm\.", r"blocks.\1.mlp_ln."),
        (r"^layer_norm\.", "ln_post."),
    )
)


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = (part(x).unflatten(-1, (-1, _HEAD)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(*heads)  # [B, heads, T, 64]
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.attn_ln = _Attention(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        y: Tensor = x + self.mlp(self.mlp_ln(x))
        return y


class ContentEncoder(nn.Module):
    """`width`: values of a content frame."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(_BANDS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(torch.empty(_FRAMES, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, sound: Tensor, tick: Callable[[], None] = lambda: None) -> Tensor:
        """`sound`: float32 mono at 16 kHz ``[N <= 480000]``. Returns ``[N // 320 + 1, width]`` (at most 1500 frames);
        frame t stands for the samples from 320 t. `tick` is called after every layer and may raise."""
        frames = min(len(sound) // HOP + 1, _FRAMES)
        x = functional.gelu(self.conv1(log_mel(sound)[None]))
        x = functional.gelu(self.conv2(x)).transpose(1, 2) + self.positional_embedding
        for block in self.blocks:
            x = block(x)
            tick()
        y: Tensor = self.ln_post(x)[0, :frames]
        return y


def log_mel(sound: Tensor) -> Tensor:
    """Whisper's input ``[80, 3000]`` for a sound ``[N <= 480000]`` at 16 kHz: decimal logarithms of mel bands, at most
    8 below the loudest, about -1..1."""
    padded = functional.pad(sound.float(), (0, LONGEST - len(sound)))
    window = torch.hann_window(_FFT, device=sound.device)
    spectrum = torch.stft(padded, _FFT, _MEL_HOP, window=window, return_complex=True)[:, :-1]
    bands = torch.from_numpy(_mel_bands()).to(sound.device) @ spectrum.abs().square()
    level = bands.clamp_min(1e-10).log10()
    return (level.clamp_min(level.max() - 8) + 4) / 4


@cache
def _mel_bands() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Triangles of unit area on Slaney's mel scale: ``[80, 201]``."""
    from librosa.filters import mel

    return np.ascontiguousarray(mel(sr=RATE, n_fft=_FFT, n_mels=_BANDS), dtype=np.float32)


def load_content_encoder(path: Path) -> ContentEncoder:
    """The encoder of the Whisper model at `path`, in OpenAI's format or in that of transformers.

    Raises `UnderstudyError` ``model-unsuitable`` for another network, and what `read_tensors` raises."""
    what = "Whisper (its encoder)"
    tensors = _encoder(read_tensors(path, "model_state_dict"))
    if "conv1.weight" not in tensors or tensors["conv1.weight"].ndim != 3:
        raise unsuitable(path, what, "it is a model of another kind")
    width = tensors["conv1.weight"].shape[0]
    layers = len({name.split(".")[1] for name in tensors if re.match(r"blocks\.\d+\.", name)})
    if not 0 < width <= 8192 or width % _HEAD or not 0 < layers <= 64:
        raise unsuitable(path, what, f"it has {layers} layers of {width} values")
    return fitted(path, lambda: ContentEncoder(width, layers), tensors, what)


def _encoder(tensors: Tensors) -> Tensors:
    """The encoder's tensors under OpenAI's names."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        inner = name.removeprefix("model.")
        if inner.startswith("encoder."):
            inner = inner.removeprefix("encoder.")
            for pattern, new in _HUGGING_FACE:
                inner = pattern.sub(new, inner)
            found[inner] = tensor
    return found
