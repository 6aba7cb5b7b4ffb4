"""The converter: what is sung and at which pitch, and how a voice sounds, to the mel bands of that voice singing it.

    content features, f0 -> length regulator -> condition per mel frame
    noise -> a step of the diffusion transformer, again and again -> log mel

The transformer (W. Peebles and S. Xie 2023, "Scalable Diffusion Models with Transformers") is trained by flow matching
(Y. Lipman et al. 2023): it gives the direction from noise to sound at a time 0..1, and Euler steps follow it. In front
of the frames to be sung stand those of a prompt, i.e. of recordings of the voice: the transformer continues them.
Classifier-free guidance (J. Ho and T. Salimans 2022) goes further in the direction in which prompt, style and condition
move the result. The design and the names of the tensors are those of seed-vc (S. Liu 2024, arXiv 2411.09943), with the
pitched style of YingMusic-SVC (arXiv 2512.04793).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from understudy.models.precision import Precision
from understudy.voices.zero_shot.configuration import Configuration
from understudy.voices.zero_shot.wavenet import ModulatedNorm, WaveNet
from understudy.voices.zero_shot.weights import fitted, read_tensors, unsuitable

F0_LOW, F0_HIGH = 50.0, 1100.0  # Hz, of the bins of pitch

_TIMES = 256  # values of the embedding of time


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).clamp_min(1e-6).sqrt()


def _stretched(x: Tensor, frames: int) -> Tensor:
    """``[T, C]`` to ``[frames, C]`` by repeating or leaving out frames."""
    return functional.interpolate(x.T[None], size=frames, mode="nearest")[0].T


class LengthRegulator(nn.Module):
    """Content features and f0 to one condition per mel frame."""

    def __init__(self, c: Configuration) -> None:
        super().__init__()
        self._bins, self._most = c.f0_bins, c.pitched_style_most
        self.content_in_proj = nn.Linear(c.content, c.channels)
        self.pitched, self.pitched_style = c.pitched, c.pitched_style
        if c.pitched:
            self.f0_embedding = nn.ParameterDict({"weight": nn.Parameter(torch.empty(c.f0_bins, c.channels))})
        layers: list[nn.Module] = []
        for _ in range(c.layers_of_regulator):
            layers += [nn.Conv1d(c.channels, c.channels, 3, padding=1), nn.GroupNorm(1, c.channels), nn.Mish()]
        self.model = nn.Sequential(*layers, nn.Conv1d(c.channels, c.channels, 1))
        if c.pitched_style:
            self.f0_to_style_proj = nn.Linear(c.channels, c.style)
            self.f02style_mlp = nn.Sequential(nn.Linear(2 * c.style, c.style), nn.Mish(), nn.Linear(c.style, c.style))

    def forward(self, content: Tensor, f0: Tensor, style: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """`content` ``[T, content]`` and `f0` ``[S]`` (Hz, 0 = unvoiced) stand for the same time, whatever their
        rates; `style` ``[style]``. Returns the condition ``[frames, channels]`` and the style of each frame
        ``[frames, style]``."""
        x = _stretched(self.content_in_proj(content), frames)
        if self.pitched:
            pitch = _stretched(self.f0_embedding["weight"][pitch_bins(f0, self._bins)], frames)
            x = x + pitch
        condition = self.model(x.T[None])[0].T
        styles = style.expand(frames, -1)
        if self.pitched_style:
            moved = self.f02style_mlp(torch.cat([styles, self.f0_to_style_proj(pitch)], -1)).tanh()
            moved = moved * (self._most * _rms(style) / _rms(moved).mean()).clamp_max(1)
            styles = styles + moved * _stretched((f0 > 0).float()[:, None], frames)
        return condition, styles


def pitch_bins(f0: Tensor, bins: int) -> Tensor:
    """The number of the bin, 1..`bins` - 1, of each pitch; bins are as wide as each other on the mel scale
    (O'Shaughnessy, 1987) and unvoiced frames have the first."""
    low, high = (1127 * math.log1p(hertz / 700) for hertz in (F0_LOW, F0_HIGH))
    scale = (bins - 2) / (high - low)
    mel = 1127 * (1 + f0 / 700).log()
    return (mel * scale - (low * scale - 1)).round().long().clamp(1, bins - 1)


class _Scaled(nn.Module):
    """RMS norm (B. Zhang and R. Sennrich 2019) with a scale and a shift that depend on the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project_layer, self.norm = nn.Linear(width, 2 * width), nn.RMSNorm(width, eps=1e-5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.project_layer(time).chunk(2, -1)
        y: Tensor = scale * self.norm(x.float()) + shift
        return y


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.wqkv, self.wo = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        heads = self.wqkv(x).view(*x.shape[:2], 3, self._heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, T, values]
        mixed = functional.scaled_dot_product_attention(_turned(q, turns), _turned(k, turns), v)
        y: Tensor = self.wo(mixed.transpose(1, 2).flatten(2))
        return y


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = -(-(8 * width // 3) // 256) * 256
        self.w1, self.w3 = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w2(functional.silu(self.w1(x)) * self.w3(x))
        return y


class _Layer(nn.Module):
    def __init__(self, c: Configuration, receives: bool) -> None:
        super().__init__()
        self.attention, self.attention_norm = _Attention(c.width, c.heads), _Scaled(c.width)
        self.feed_forward, self.ffn_norm = _FeedForward(c.width), _Scaled(c.width)
        self.skip_in_linear = nn.Linear(2 * c.width, c.width) if receives else None

    def forward(self, x: Tensor, time: Tensor, turns: Tensor, earlier: list[Tensor]) -> Tensor:
        if self.skip_in_linear is not None:
            x = self.skip_in_linear(torch.cat([x, earlier.pop()], -1)).float()
        x = x + self.attention(self.attention_norm(x, time), turns)
        y: Tensor = x + self.feed_forward(self.ffn_norm(x, time))
        return y


class _Transformer(nn.Module):
    def __init__(self, c: Configuration) -> None:
        super().__init__()
        middle = c.depth // 2
        self._emitting = middle if c.skips else 0
        self.layers = nn.ModuleList(_Layer(c, c.skips and number > middle) for number in range(c.depth))
        self.norm = _Scaled(c.width)

    def forward(self, x: Tensor, time: Tensor, turns: Tensor, tick: Callable[[], None]) -> Tensor:
        earlier: list[Tensor] = []  # outputs of the first half, of which the second half takes the latest first
        for number, layer in enumerate(self.layers):
            x = layer(x, time, turns, earlier)
            if number < self._emitting:
                earlier.append(x)
            tick()
        y: Tensor = self.norm(x, time)
        return y


class Estimator(nn.Module):
    """The diffusion transformer."""

    def __init__(self, c: Configuration) -> None:
        super().__init__()
        self._head_values, self._bands, self._style = c.width // c.heads, c.mel.bands, c.style
        self.cond_projection = nn.Linear(c.channels, c.width)
        self.cond_x_merge_linear = nn.Linear(2 * c.mel.bands + c.width + c.style, c.width)
        self.t_embedder = _time_embedding(c.width)
        self.transformer = _Transformer(c)
        self.skip_linear = nn.Linear(c.width + c.mel.bands, c.width) if c.long_skip else None
        self.wavenet = WaveNet(c.wavenet) if c.wavenet else None
        if c.wavenet:
            self.t_embedder2 = _time_embedding(c.wavenet.width)
            self.conv1, self.res_projection = (nn.Linear(c.width, c.wavenet.width) for _ in range(2))
            self.final_layer = ModulatedNorm(c.wavenet.width)
            self.conv2 = nn.Conv1d(c.wavenet.width, c.mel.bands, 1)
        else:
            self.final_mlp = nn.Sequential(nn.Linear(c.width, c.width), nn.SiLU(), nn.Linear(c.width, c.mel.bands))

    def known(self, given: Given | None, frames: int) -> Tensor:
        """What all steps add to the first layer's input ``[frames, width]``; for None, of nothing given."""
        weight, bias = self.cond_x_merge_linear.weight[:, self._bands :], self.cond_x_merge_linear.bias
        if given is None:
            nothing = weight.new_zeros(frames, weight.shape[1])
            nothing[:, self._bands : -self._style] = self.cond_projection.bias
            return functional.linear(nothing, weight, bias)
        prompt = functional.pad(given.prompt.T, (0, 0, 0, frames - given.prompt.shape[1]))
        inputs = [prompt, self.cond_projection(given.condition), given.styles]
        return functional.linear(torch.cat(inputs, -1), weight, bias)

    def forward(self, x: Tensor, known: Tensor, time: Tensor, tick: Callable[[], None] = lambda: None) -> Tensor:
        """The direction ``[B, frames, bands]`` at `time` (0..1) from `x` ``[frames, bands]``, for each of `known`
        ``[B, frames, width]``."""
        values = _time_values(time)
        embedded = self.t_embedder["mlp"](values)
        tokens = functional.linear(x, self.cond_x_merge_linear.weight[:, : self._bands]) + known
        tokens = self.transformer(tokens, embedded, _turns(len(x), self._head_values, x.device), tick)
        if self.skip_linear is not None:
            tokens = self.skip_linear(torch.cat([tokens, x.expand(len(known), -1, -1)], -1))
        if self.wavenet is None:
            direct: Tensor = self.final_mlp(tokens)
            return direct
        y = self.wavenet(self.conv1(tokens).mT, self.t_embedder2["mlp"](values), tick).mT
        y = self.final_layer(y + self.res_projection(tokens), embedded)
        direction: Tensor = self.conv2(y.mT).mT
        return direction


def _time_embedding(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(_TIMES, width), nn.SiLU(), nn.Linear(width, width))})


def _time_values(time: Tensor) -> Tensor:
    """Cosines and sines of the time at frequencies from 1000 down to 0.1: ``[256]``."""
    half = _TIMES // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=time.device, dtype=torch.float32) / half)
    angle = 1000 * time * frequencies
    return torch.cat([angle.cos(), angle.sin()])


def _turns(frames: int, values: int, device: torch.device) -> Tensor:
    """Rotary positions (J. Su et al. 2021, "RoFormer"): the complex number by which each pair of a head's values is
    turned, ``[frames, values // 2]``."""
    frequencies = 1 / (10000 ** (torch.arange(0, values, 2, device=device).float() / values))
    angles = torch.outer(torch.arange(frames, device=device).float(), frequencies)
    return torch.polar(torch.ones_like(angles), angles)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


@dataclass(frozen=True, eq=False)
class Given:
    """What a passage is sung by: the log mel `prompt` ``[bands, P]`` of the voice's recordings, and `condition`
    ``[P + T, channels]`` and `styles` ``[P + T, style]`` of the prompt and of the T frames to be sung."""

    prompt: Tensor
    condition: Tensor
    styles: Tensor


class Converter(nn.Module):
    """`depth`: layers of the transformer and the WaveNet, i.e. ticks of a step."""

    def __init__(self, c: Configuration) -> None:
        super().__init__()
        self.depth = c.depth + (c.wavenet.layers if c.wavenet else 0)
        self.length_regulator = LengthRegulator(c)
        self.cfm = nn.ModuleDict({"estimator": Estimator(c)})

    def sing(
        self,
        given: Given,
        noise: Tensor,
        steps: int,
        guidance: float,
        precision: Precision = "float32",
        tick: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """The log mel ``[bands, T]`` of the frames after the prompt.

        `noise` ``[bands, T]``: standard normal. `steps`: of Euler's method, each as long as the others. `guidance`: how
        far to go beyond the direction that follows from what is given, 0 not at all, which takes half the time.
        `precision`: of the matrix products. `tick` is called after every layer and may raise."""
        estimator = self.cfm["estimator"]
        assert isinstance(estimator, Estimator)
        frames, prompt = len(given.condition), given.prompt.shape[1]
        known = [estimator.known(given, frames)] + ([estimator.known(None, frames)] if guidance else [])
        x = functional.pad(noise.T, (0, 0, prompt, 0))  # [frames, bands]
        times = torch.linspace(0, 1, steps + 1, device=noise.device)
        time = times[0]
        reduced = precision != "float32"
        for step in (times[1:] - times[:-1]).unbind():
            with torch.autocast(noise.device.type, getattr(torch, precision) if reduced else None, enabled=reduced):
                direction = estimator(x, torch.stack(known), time, tick).float()
            ahead = direction[0] if not guidance else (1 + guidance) * direction[0] - guidance * direction[1]
            x = x + step * ahead
            x[:prompt] = 0
            time = time + step
        return x[prompt:].T


def load_converter(path: Path, configuration: Configuration) -> Converter:
    """The model at `path`, whose sizes are in `configuration`. Raises `UnderstudyError` ``model-unsuitable`` for
    another network, and what `read_tensors` raises."""
    what = "the zero-shot singing model that its configuration describes"
    tensors = {name.replace(".module.", ".", 1): tensor for name, tensor in read_tensors(path, "net").items()}
    for name, there in (
        ("cfm.estimator.wavenet.cond_layer.conv.conv.weight", configuration.wavenet is not None),
        ("length_regulator.f0_embedding.weight", configuration.pitched),
        ("length_regulator.f0_to_style_proj.weight", configuration.pitched_style),
    ):
        if (name in tensors) != there:
            raise unsuitable(path, what, f"{name} is {'missing' if there else 'in it and not in the configuration'}")
    return fitted(path, lambda: Converter(configuration), tensors, what)
