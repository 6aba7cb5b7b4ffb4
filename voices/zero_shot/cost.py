"""What singing costs on a CPU, told before it begins: the multiplications of the networks, over how fast this machine
multiplies matrices."""

from __future__ import annotations

import time

from understudy.voices.zero_shot.configuration import HOP, RATE, Configuration
from understudy.voices.zero_shot.engine import LONGEST
from understudy.voices.zero_shot.singing import PROMPT

_VOCODER = 1.74e9  # multiplications per frame of BigVGAN v2 as published
_SLOWER = 1.15  # the transformer's time over that of its products, as measured
_SLOWER_VOCODER = 1.7  # that of the vocoder, with its activations and margins


def multiplications(c: Configuration, steps: int, guided: bool) -> float:
    """Of a second of singing, in passages of full length, each behind a full prompt; the vocoder as published."""
    prompt = round(PROMPT * RATE / HOP)
    inner = -(-(8 * c.width // 3) // 256) * 256
    layers = c.depth * (4 * c.width**2 + 3 * c.width * inner + 2 * (LONGEST + prompt) * c.width)
    layers += (c.depth - 1) // 2 * 2 * c.width**2 if c.skips else 0
    if c.wavenet:
        layers += c.wavenet.layers * 2 * (c.wavenet.kernel + 1) * c.wavenet.width**2
    frames = RATE / HOP
    passes = steps * (2 if guided else 1) * (LONGEST + prompt) / LONGEST
    return frames * (_SLOWER * passes * layers + _SLOWER_VOCODER * _VOCODER)


def multiplications_a_second() -> float:
    """How fast this machine multiplies matrices of the transformer's size now; takes a quarter of a second."""
    import torch

    a, b = torch.ones(1024, 768), torch.ones(768, 2048)
    fastest = 0.0
    begin = time.monotonic()
    while time.monotonic() - begin < 0.25 or not fastest:
        before = time.monotonic()
        torch.mm(a, b)
        fastest = max(fastest, a.numel() * b.shape[1] / max(time.monotonic() - before, 1e-9))
    return fastest
