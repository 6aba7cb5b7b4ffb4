"""From sound to mel bands and back: BigVGAN v2 (S. Lee et al. 2023, "BigVGAN: A Universal Neural Vocoder with
Large-Scale Training").

    log mel -> convolution -> for each stage: upsampling, then the mean of residual blocks of several kernel sizes
            -> activation -> convolution -> sound

Its activation is periodic (snake: x + sin²(ax) / b), computed at twice the rate between two low-pass filters, so that
its overtones don't alias.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.voices.zero_shot.configuration import SINGING, Mel
from understudy.voices.zero_shot.weights import Tensors, fitted, read_tensors, unsuitable

_DILATIONS = (1, 3, 5)
_TAPS = 12  # of the low-pass filters; the indexes below are for 12
_FLOOR = 1e-5  # of a mel band


def log_mel(sound: Tensor, mel: Mel = SINGING) -> Tensor:
    """Natural logarithms of mel bands ``[bands, N // hop]`` of a mono sound ``[N >= fft / 2]``; frame t stands for the
    samples from hop t to hop (t + 1), around whose middle its window lies."""
    beside = (mel.fft - mel.hop) // 2
    padded = functional.pad(sound[None], (beside, beside), "reflect")[0]
    window = torch.hann_window(mel.fft, device=sound.device)
    spectrum = torch.stft(padded, mel.fft, mel.hop, window=window, center=False, return_complex=True)
    magnitude = (torch.view_as_real(spectrum).square().sum(-1) + 1e-9).sqrt()
    return (torch.from_numpy(_mel_bands(mel)).to(sound.device) @ magnitude).clamp_min(_FLOOR).log()


@cache
def _mel_bands(mel: Mel) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Triangles of unit area on Slaney's mel scale: ``[bands, fft // 2 + 1]``."""
    from librosa.filters import mel as triangles

    return np.ascontiguousarray(triangles(sr=mel.rate, n_fft=mel.fft, n_mels=mel.bands), dtype=np.float32)


@cache
def _low_pass() -> list[float]:
    """A windowed sinc that halves the band, sum 1: Kaiser's window for a transition of 0.6 of the band."""
    half = _TAPS // 2
    attenuation = 2.285 * (half - 1) * math.pi * 4 * 0.3 + 7.95  # dB; Kaiser's rule
    beta = 0.1102 * (attenuation - 8.7)  # for more than 50 dB
    taps = np.kaiser(_TAPS, beta) * np.sinc((np.arange(_TAPS) - half + 0.5) / 2)
    return [float(tap) for tap in taps / taps.sum()]


class _Activation(nn.Module):
    """Snake at twice the rate, ``[1, C, T]`` to the same.

    Of the doubled signal, even and odd samples stay apart: each sees every other tap of the filter that makes it, and
    meets every other tap of the filter that halves the rate again. No signal of the double length is made."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act = nn.ParameterDict({name: nn.Parameter(torch.empty(channels)) for name in ("alpha", "beta")})

    def forward(self, x: Tensor) -> Tensor:
        taps, frames = _low_pass(), x.shape[-1]
        padded = functional.pad(x, (3, 3), "replicate")
        even = _weighted([(2 * taps[11 - 2 * n], padded[..., n : n + frames]) for n in range(6)])
        odd = _weighted([(2 * taps[10 - 2 * n], padded[..., n + 1 : n + 1 + frames]) for n in range(6)])
        even, odd = self._snake(even), self._snake(odd)
        # beyond its ends the doubled signal keeps its first sample, which is even, and its last, which is odd
        first, last = even[..., :1].expand(-1, -1, 3), odd[..., -1:].expand(-1, -1, 3)
        odds = torch.cat([first, odd, last], -1)
        evens = torch.cat([first[..., :2], even, last], -1)
        pairs = ((odds, 0), (evens, 1))
        return _weighted([(taps[2 * n + at], phase[..., n : n + frames]) for n in range(6) for phase, at in pairs])

    def _snake(self, x: Tensor) -> Tensor:
        frequency, depth = self.act["alpha"].exp()[:, None], 1 / (self.act["beta"].exp()[:, None] + 1e-9)
        return x.add_((x * frequency).sin_().square_().mul_(depth))


def _weighted(terms: list[tuple[float, Tensor]]) -> Tensor:
    """The sum of the tensors times their weights."""
    total = terms[0][1] * terms[0][0]
    for weight, tensor in terms[1:]:
        total.add_(tensor, alpha=weight)
    return total


class _Block(nn.Module):
    """Three pairs of convolutions, each beside a shortcut; the first of a pair is dilated."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        reach = kernel // 2
        self.convs1 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, 1, d * reach, d) for d in _DILATIONS)
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, 1, reach) for _ in _DILATIONS)
        self.activations = nn.ModuleList(_Activation(channels) for _ in range(2 * len(_DILATIONS)))

    def forward(self, x: Tensor, tick: Callable[[], None]) -> Tensor:
        for number, (first, second) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            y = first(self.activations[2 * number](x))
            x = x + second(self.activations[2 * number + 1](y))
            tick()
        return x


@dataclass(frozen=True)
class Sizes:
    """`channels`: after the first convolution; each stage halves them. `upsampling`: kernel of each stage, twice its
    factor. `kernels`: of the residual blocks of a stage. `bands`: of its mel."""

    channels: int
    upsampling: tuple[int, ...]
    kernels: tuple[int, ...]
    bands: int = SINGING.bands

    @property
    def margin(self) -> int:
        """Frames on both sides that change a frame's sound, by what each layer hears."""
        frames, samples = 3.0, 1  # of the first convolution
        for kernel in self.upsampling:
            samples *= kernel // 2  # per frame
            pairs = sum((d + 1) * (max(self.kernels) // 2) + 2 * _TAPS // 2 for d in _DILATIONS)
            frames += (pairs + kernel) / samples
        return math.ceil(frames + (_TAPS // 2 + 3) / samples)


class Vocoder(nn.Module):
    """`margin`: frames on both sides that change a frame's sound."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels, self._kernels, self.margin = sizes.channels, len(sizes.kernels), sizes.margin
        self.conv_pre = nn.Conv1d(sizes.bands, channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for kernel in sizes.upsampling:
            up = nn.ConvTranspose1d(channels, channels // 2, kernel, kernel // 2, padding=kernel // 4)
            self.ups.append(nn.ModuleList([up]))
            channels //= 2
            self.resblocks.extend(_Block(channels, size) for size in sizes.kernels)
        self.activation_post = _Activation(channels)
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(self, mel: Tensor, tick: Callable[[], None] = lambda: None) -> Tensor:
        """The sound ``[hop T]``, -1..1, of a log mel ``[bands, T]`` as `log_mel` gives it. `tick` is called after every
        pair of convolutions and may raise."""
        x = self.conv_pre(mel[None])
        for stage, up in enumerate(self.ups):
            for layer in up.children():
                x = layer(x)
            blocks = self.resblocks[stage * self._kernels : (stage + 1) * self._kernels]
            x = sum(block(x, tick) for block in blocks) / self._kernels
        sound: Tensor = self.conv_post(self.activation_post(x))[0, 0].clamp(-1, 1)
        return sound


def load_vocoder(path: Path, mel: Mel = SINGING) -> Vocoder:
    """The BigVGAN v2 at `path` for these mel bands. Raises `UnderstudyError` ``model-unsuitable`` for another network,
    and what `read_tensors` raises."""
    tensors = read_tensors(path, "generator")
    what = f"the vocoder BigVGAN v2 of {mel.rate / 1000:g} kHz, {mel.bands} bands and a hop of {mel.hop}"
    sizes = _sizes(tensors)
    if sizes is None or "conv_post.bias" in tensors:
        raise unsuitable(path, what, "it is a model of another kind")
    hop = math.prod(kernel // 2 for kernel in sizes.upsampling)
    if (hop, sizes.bands) != (mel.hop, mel.bands):
        raise unsuitable(path, what, f"it has {sizes.bands} bands and a hop of {hop}")
    return fitted(path, lambda: Vocoder(sizes), tensors, what)


def _sizes(tensors: Tensors) -> Sizes | None:
    """The sizes by the shapes of a few tensors; all others are compared afterwards."""

    def shapes(pattern: str) -> list[torch.Size]:
        found = {int(match[1]): tensors[name].shape for name in tensors if (match := re.fullmatch(pattern, name))}
        return [found[number] for number in sorted(found)]

    first = [tensors["conv_pre.weight"].shape] if "conv_pre.weight" in tensors else []
    ups, blocks = shapes(r"ups\.(\d+)\.0\.weight"), shapes(r"resblocks\.(\d+)\.convs1\.0\.weight")
    every = [*first, *ups, *blocks]
    if not first or not ups or not blocks or len(blocks) % len(ups) or any(len(s) != 3 or max(s) > 8192 for s in every):
        return None
    kernels = tuple(shape[2] for shape in blocks[: len(blocks) // len(ups)])
    if first[0][0] % (1 << len(ups)) or any(kernel % 2 == 0 for kernel in kernels):
        return None
    return Sizes(first[0][0], tuple(shape[2] for shape in ups), kernels, first[0][1])
