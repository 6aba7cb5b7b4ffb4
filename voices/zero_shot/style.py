"""The style vector of a voice: CAM++ (H. Wang et al. 2023, "CAM++: A Fast and Efficient Network for Speaker
Verification Using Context-Aware Masking").

    sound at 16 kHz -> 80 log-mel bands, 100 frames a second, without their mean -> 2-D convolutions (head)
        -> a convolution that halves the frames -> three blocks of densely connected layers
        -> mean and deviation over time -> style vector

Every layer of a block is masked by what it hears on average, over all of the sound and over each 100 frames.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.zero_shot.weights import fitted, read_tensors

RATE = 16000
STYLE = 192  # values of the published model's style vector
LEAST = RATE // 2  # samples from which a style can be told

_BANDS = 80
_FRAME, _HOP, _FFT = 400, 160, 512
_SEGMENT = 100  # frames of the shorter average
_GROWTH, _BOTTLENECK = 32, 128  # channels that a layer adds, and inside it
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each block
_EPSILON = 1e-5


class _Norm(nn.Module):
    """Batch norm with the statistics of the training. `affine`: whether it has a scale and a shift of its own."""

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.running_mean, self.running_var = (nn.Parameter(torch.empty(channels)) for _ in range(2))
        self.weight, self.bias = (nn.Parameter(torch.empty(channels)) if affine else None for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=_EPSILON)


def _named(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def _activation(channels: int) -> nn.Sequential:
    return _named(batchnorm=_Norm(channels), relu=nn.ReLU())


class _Residual(nn.Module):
    """Two 2-D convolutions beside a shortcut, ``[B, C, bands, T]``; `stride` along the bands."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = _Norm(channels), _Norm(channels)
        down = (nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), _Norm(channels)) if stride > 1 else ()
        self.shortcut = nn.Sequential(*down)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        z: Tensor = (y + self.shortcut(x)).relu()
        return z


class _Head(nn.Module):
    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.layer1, self.layer2 = (nn.Sequential(_Residual(channels, 2), _Residual(channels, 1)) for _ in range(2))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False)
        self.bn1, self.bn2 = _Norm(channels), _Norm(channels)
        self.width = channels * _BANDS // 8

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x[:, None])).relu()  # [B, C, bands, T]
        x = self.bn2(self.conv2(self.layer2(self.layer1(x)))).relu()
        return x.flatten(1, 2)


class _Masked(nn.Module):
    """A convolution whose output is weighted by the averages around it."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(_BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = functional.avg_pool1d(x, _SEGMENT, _SEGMENT, ceil_mode=True).repeat_interleave(_SEGMENT, -1)
        around = x.mean(-1, keepdim=True) + near[..., : x.shape[-1]]
        y: Tensor = self.linear_local(x) * self.linear2(self.linear1(around).relu()).sigmoid()
        return y


class _Dense(nn.Module):
    """Adds `_GROWTH` channels to what it gets."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1, self.linear1 = _activation(channels), nn.Conv1d(channels, _BOTTLENECK, 1, bias=False)
        self.nonlinear2, self.cam_layer = _activation(_BOTTLENECK), _Masked(dilation)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))], dim=1)


class StyleEncoder(nn.Module):
    """`style`: values of the vector."""

    def __init__(self, style: int = STYLE) -> None:
        super().__init__()
        self.head, channels = _Head(), 128
        first = nn.Conv1d(self.head.width, channels, 5, stride=2, padding=2, bias=False)
        parts: dict[str, nn.Module] = {"tdnn": _named(linear=first, nonlinear=_activation(channels))}
        for number, (layers, dilation) in enumerate(_BLOCKS, 1):
            dense = {f"tdnnd{i + 1}": _Dense(channels + i * _GROWTH, dilation) for i in range(layers)}
            channels += layers * _GROWTH
            down = nn.Conv1d(channels, channels // 2, 1, bias=False)
            parts[f"block{number}"] = _named(**dense)
            parts[f"transit{number}"] = _named(nonlinear=_activation(channels), linear=down)
            channels //= 2
        self.xvector = _named(**parts, out_nonlinear=_activation(channels))
        last = nn.Conv1d(2 * channels, style, 1, bias=False)
        self.dense = _named(linear=last, nonlinear=_named(batchnorm=_Norm(style, affine=False)))

    def forward(self, sound: Tensor) -> Tensor:
        """`sound`: float32 mono at 16 kHz ``[N >= LEAST]``, -1..1. Returns ``[style]``."""
        bands = log_bands(sound)
        x = self.xvector(self.head((bands - bands.mean(0)).T[None]))  # [1, C, T]
        statistics = torch.cat([x.mean(-1), x.std(-1)], -1)
        y: Tensor = self.dense(statistics[..., None])[0, :, 0]
        return y


def log_bands(sound: Tensor) -> Tensor:
    """Kaldi's filter bank of a sound ``[N >= 400]`` at 16 kHz: natural logarithms ``[1 + (N - 400) // 160, 80]``."""
    frames = sound.float().unfold(0, _FRAME, _HOP)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    window = torch.hann_window(_FRAME, periodic=False, device=sound.device) ** 0.85
    power = torch.fft.rfft((frames - 0.97 * before) * window, _FFT).abs().square()
    bands: Tensor = power[:, :-1] @ torch.from_numpy(_mel_bands()).to(sound.device)
    return bands.clamp_min(torch.finfo(torch.float32).eps).log()


@cache
def _mel_bands() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Triangles of unit height on the mel scale (O'Shaughnessy, 1987) from 20 Hz to 8 kHz: ``[256, 80]``."""
    hertz = np.arange(_FFT // 2) * RATE / _FFT
    low, high, mel = (1127 * np.log1p(np.asarray(value) / 700) for value in (20, RATE / 2, hertz))
    edges = np.linspace(low, high, _BANDS + 2)
    rise = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rise, fall)), np.float32)


def load_style_encoder(path: Path) -> StyleEncoder:
    """The CAM++ at `path`. Raises `UnderstudyError` ``model-unsuitable`` for another network, and what `read_tensors`
    raises."""
    found = read_tensors(path)
    # one release has the last layer inside the trunk
    tensors = {name.replace("xvector.dense.", "dense.", 1): tensor for name, tensor in found.items()}
    return fitted(path, StyleEncoder, tensors, "the style encoder CAM++")
