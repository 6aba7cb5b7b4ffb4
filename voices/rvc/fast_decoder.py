"""`FastDecoder`: `Decoder` on a CPU, in half the time (a third in bfloat16) and in little memory at any length.

The differences from the plain form:
- Each stage works in pieces that stay in the CPU's cache, with exactly the context on both sides that the later stages
  need: together they equal the whole, to rounding, and no large buffer is allocated.
- Activations are [N, channels], samples first.
- Pieces are distributed among threads, each of which computes alone. So no thread waits for others in every operation
  (which on a busy machine takes several times as long), and the bytes do not depend on the number of threads.
- The convolutions take their fastest form (`fast_convolution`), in float32 or bfloat16. The residual path stays
  float32, so that bfloat16's rounding errors do not add up there.

A block of sound is computed depth first: `_sound` takes the outputs wanted of the last layer, works out which samples
each stage must make for them (`_needed`), makes those of its own stage, and calls itself for the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Barrier, Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.audio.windows import ordered_map
from understudy.voices.rvc.decoder import LAST_SLOPE, SLOPE, Decoder, ResidualBlock
from understudy.voices.rvc.fast_convolution import fastest

PIECE = 400_000
"""Values of an activation in one piece: in v2 48k, 1.3 s at the first stage and 0.26 s from the second one on."""


@dataclass(frozen=True)
class Span:
    """Samples `start`..`stop` of a signal."""

    start: int
    stop: int

    def wider(self, side: int) -> Span:
        return Span(self.start - side, self.stop + side)

    def within(self, outer: Span) -> Span:
        return Span(max(outer.start, self.start), min(outer.stop, self.stop))

    def cut(self, x: Tensor, first: int) -> Tensor:
        """These samples of `x` [N, ...], which begins at sample `first`."""
        return x[self.start - first : self.stop - first]


class Stage:
    """One upsampling with the residual blocks after it. `stride`: samples of sound per sample of this stage's output.
    `reach`: samples on both sides that an output of the residual blocks depends on."""

    def __init__(
        self,
        up: nn.ConvTranspose1d,
        noise: nn.Conv1d | None,
        blocks: list[ResidualBlock],
        stride: int,
        precision: torch.dtype,
    ) -> None:
        self.rate, self.kernel, self.padding = up.stride[0], up.kernel_size[0], int(up.padding[0])
        self.channels = up.out_channels
        self.weight = up.weight.unsqueeze(2).to(precision)
        self.bias = None if up.bias is None else up.bias.to(precision)
        self.noise = noise
        self.blocks = [[(fastest(a, precision), fastest(b, precision)) for a, b in block.pairs()] for block in blocks]
        self.stride = stride
        self.reach = max(sum(_side(a) + _side(b) for a, b in block.pairs()) for block in blocks)

    def inputs(self, outputs: Span) -> Span:
        """The input samples on which `outputs` of the upsampling depend.

        A transposed convolution adds input i times its kernel at the outputs ``i * rate - padding`` and the
        ``kernel - 1`` after it; solved for i, that gives the first and the last input that reach `outputs`.
        """
        first = -((self.kernel - 1 - self.padding - outputs.start) // self.rate)
        return Span(first, (outputs.stop - 1 + self.padding) // self.rate + 1)

    def upsampled(self, x: Tensor, first: int, outputs: Span) -> Tensor:
        """`outputs` of the upsampling, float32 and contiguous, from [N, channels] that begin at sample `first`."""
        # [N, channels] viewed as an image [1, channels, 1, N] in channels-last order: no copy, and the fast kernels
        image = F.leaky_relu(x, SLOPE).to(self.weight.dtype)[None, None].permute(0, 3, 1, 2)
        y = F.conv_transpose2d(image, self.weight, self.bias, stride=(1, self.rate))[0, :, 0].t()
        return outputs.cut(y, first * self.rate - self.padding).to(torch.float32, memory_format=torch.contiguous_format)

    def averaged(self, x: Tensor) -> Tensor:
        """The mean of the residual blocks' outputs for `x` [N, channels], with zeros beyond its ends."""
        total = torch.zeros_like(x)
        for block in self.blocks:
            y = x
            for first, second in block:
                y = y + second(first(y))  # the layers may be bfloat16; y stays float32
            total += y
        return total / len(self.blocks)


class FastDecoder:
    """Shares the parameters of `decoder`, which must not change any more. Inference only."""

    def __init__(self, decoder: Decoder, precision: torch.dtype = torch.float32) -> None:
        """`precision`: float32 or bfloat16."""
        self.decoder = decoder
        self.stages: list[Stage] = []
        stages = list(decoder.stages())
        stride = 1
        for up, noise, blocks in reversed(stages):
            self.stages.insert(0, Stage(up, noise, blocks, stride, precision))
            stride *= up.stride[0]
        self.hop = stride  # samples of sound per latent frame

    def __call__(self, z: Tensor, source: Tensor | None, g: Tensor) -> Tensor:
        """As `Decoder.forward`."""
        rows = [(z[i : i + 1], None if source is None else source[i : i + 1], g[i : i + 1]) for i in range(len(z))]
        return torch.cat([torch.cat(list(self.blocks(*row)), dim=2) for row in rows])

    @torch.inference_mode()
    def blocks(self, z: Tensor, source: Tensor | None, g: Tensor) -> Iterator[Tensor]:
        """The sound in order, in blocks [1, 1, n] of about 1.3 s, computed on as many threads as torch may use.

        Parameters as in `Decoder.forward`, with a batch of one: `z` [1, 192, T].
        """
        x = (self.decoder.conv_pre(z) + self.decoder.cond(g))[0].t()
        song = Span(0, z.shape[2] * self.hop)
        size = self._size(self.stages[0])
        parts = [Span(start, start + size).within(song) for start in range(0, song.stop, size)]
        workers = torch.get_num_threads()
        pool = _alone(workers) if workers > 1 else None
        yield from ordered_map(lambda part: self._part(x, part, source, song), parts, workers, pool)

    @torch.inference_mode()
    def _part(self, x: Tensor, part: Span, source: Tensor | None, song: Span) -> Tensor:
        return torch.cat(list(self._sound(0, x, 0, part, source, song)), dim=2)

    @staticmethod
    def _size(stage: Stage) -> int:
        """Samples of sound for which `stage` makes `PIECE` values."""
        return max(1, PIECE // stage.channels) * stage.stride

    def _sound(
        self, index: int, x: Tensor, first: int, wanted: Span, source: Tensor | None, song: Span
    ) -> Iterator[Tensor]:
        """The samples `wanted` of the sound.

        `x` [N, channels]: the input of stage `index`, from sample `first` on, as far as `wanted` depends on it.
        `song`: all samples of the sound; nothing beyond it is computed, so that its ends see zeros as in `Decoder`.
        """
        if index == len(self.stages):
            sound = self._last(x)
            yield wanted.cut(sound, first)[None, None]
            return
        stage = self.stages[index]
        size = self._size(stage)
        for start in range(wanted.start, wanted.stop, size):
            part = Span(start, start + size).within(wanted)
            there = Span(0, song.stop // stage.stride)  # all samples at this stage's rate
            out = self._needed(index, part).within(there)  # what the later stages need of this one
            made = out.wider(stage.reach).within(there)  # with what its own residual blocks need beside
            taken = stage.inputs(made).within(Span(0, there.stop // stage.rate))
            y = stage.upsampled(taken.cut(x, first), taken.start, made)
            if stage.noise is not None and source is not None:
                y += self._source(stage.noise, source, made)
            yield from self._sound(index + 1, out.cut(stage.averaged(y), made.start), out.start, part, source, song)

    def _needed(self, index: int, sound: Span) -> Span:
        """The outputs of stage `index` that the samples `sound` depend on."""
        needed = sound.wider(_side(self.decoder.conv_post))
        for stage in reversed(self.stages[index + 1 :]):
            needed = stage.inputs(needed.wider(stage.reach))
        return needed

    def _source(self, noise: nn.Conv1d, source: Tensor, outputs: Span) -> Tensor:
        """The source [1, 1, N] as it is added to the samples `outputs` of a stage: [outputs, channels]."""
        stride, kernel, padding = noise.stride[0], noise.kernel_size[0], int(noise.padding[0])
        seen = Span(outputs.start * stride - padding, (outputs.stop - 1) * stride - padding + kernel)
        there = seen.within(Span(0, source.shape[2]))
        assert self.decoder.m_source is not None
        bent = self.decoder.m_source(source[:, :, there.start : there.stop])
        bent = F.pad(bent, (there.start - seen.start, seen.stop - there.stop))  # zeros beyond the ends
        return F.conv1d(bent, noise.weight, noise.bias, stride)[0].t()

    def _last(self, x: Tensor) -> Tensor:
        """The sound [N] from the last stage's output [N, channels]."""
        image = F.leaky_relu(x, LAST_SLOPE)[None, None].permute(0, 3, 1, 2)
        weight = self.decoder.conv_post.weight.unsqueeze(2)
        return torch.tanh(F.conv2d(image, weight, padding=(0, _side(self.decoder.conv_post)))).flatten()


def _side(convolution: nn.Conv1d) -> int:
    """Samples on each side that an output of a length-preserving convolution depends on."""
    return convolution.dilation[0] * (convolution.kernel_size[0] - 1) // 2


_STARTING = Lock()


def _alone(threads: int) -> ThreadPoolExecutor:
    """A pool of `threads` threads, in each of which torch computes single-threaded."""
    with _STARTING:
        return _started(threads)


@cache
def _started(threads: int) -> ThreadPoolExecutor:
    # torch.set_num_threads sets the number for the calling thread and the default for threads that have not read it
    # yet. So all threads of the pool start and read theirs now, and the default is restored afterwards.
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "decoder", _compute_alone)
    all_there = Barrier(threads)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    torch.set_num_threads(before)
    return pool


def _compute_alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()
