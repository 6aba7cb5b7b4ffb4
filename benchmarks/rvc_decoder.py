"""Time of an RVC voice's decoder by stage, and its share of the machine's matrix rate.

    python benchmarks/rvc_decoder.py [--kinds v2-48k v1-48k ...] [--seconds 10] [--rounds 3] [--threads N]

First the matrix rate of a core, float32 and bfloat16: the product of two 1024 x 1024 matrices, the fastest of many.
Then, per kind of model and stage, the operations of the direct convolutions (multiplications and additions), and the
floor: the core seconds that they would take at that rate for one second of sound. Then, per second of sound, the
variants of the decoder, the fastest of `--rounds` each:

- `plain`: `Decoder`, over everything at once, like the reference;
- `plain, pieces`: the same on windows of 100 frames with 24 frames of context on both sides;
- `direct float32`, `direct bfloat16`: `FastDecoder` without minimal filtering;
- `float32`, `bfloat16`: `FastDecoder` as it is used.

Columns: wall and CPU seconds, of these the system seconds, thousands of page faults, CPU seconds of each stage (with
one thread), the share of the matrix rate, SNR in dB against `plain`. Weights and latents are random and scaled so that
the output is not silent. Minimal filtering needs fewer operations than are counted here: its share can exceed 100 %.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.rvc_files import random_weights, real  # noqa: E402
from tests.support.snr import snr  # noqa: E402
from understudy.voices.rvc import fast_convolution  # noqa: E402
from understudy.voices.rvc.architecture import Architecture  # noqa: E402
from understudy.voices.rvc.decoder import Decoder, harmonic_source  # noqa: E402
from understudy.voices.rvc.fast_decoder import FastDecoder  # noqa: E402
from understudy.voices.rvc.synthesizer import fold  # noqa: E402

KINDS = {
    "v2-48k": ("v2", 48000),
    "v1-48k": ("v1", 48000),
    "v2-40k": ("v2", 40000),
    "v1-32k": ("v1", 32000),
    "v2-32k": ("v2", 32000),
}
WINDOW, CONTEXT = 100, 24
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def matrix_rate(precision: torch.dtype) -> float:
    """Operations per second of one core's time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(2, 1024, 1024).to(precision)
    best = float("inf")
    for _ in range(40):
        start = time.thread_time()
        torch.mm(a, b)
        best = min(best, time.thread_time() - start)
    torch.set_num_threads(threads)
    return 2 * 1024**3 / best


def operations(architecture: Architecture) -> list[float]:
    """Operations of each stage for one second of sound; the convolutions before and after count to the nearest."""
    rates, kernels = architecture.upsample_rates, architecture.upsample_kernels
    found = []
    for i, (rate, kernel) in enumerate(zip(rates, kernels, strict=True)):
        channels = architecture.upsample_channels >> (i + 1)
        samples = 100 * prod(rates[: i + 1])
        blocks = zip(architecture.resblock_kernels, architecture.resblock_dilations, strict=True)
        taps = sum(2 * taps * len(dilations) for taps, dilations in blocks)
        products = samples * (taps * channels**2 + 2 * channels * channels * kernel / rate)
        products += samples * channels * max(1, 2 * prod(rates[i + 1 :])) * architecture.f0
        found.append(2 * products)
    found[0] += 2 * 100 * 7 * architecture.latent_channels * architecture.upsample_channels
    found[-1] += 2 * architecture.sample_rate * 7 * (architecture.upsample_channels >> len(rates))
    return found


def in_windows(decoder: Decoder, hop: int) -> Form:
    def decode(z: Tensor, source: Tensor, g: Tensor) -> Tensor:
        sounds = []
        for start in range(0, z.shape[2], WINDOW):
            low, high = max(0, start - CONTEXT), min(start + WINDOW + CONTEXT, z.shape[2])
            sound = decoder(z[:, :, low:high], source[:, :, low * hop : high * hop], g)
            sounds.append(sound[:, :, (start - low) * hop :][:, :, : WINDOW * hop])
        return torch.cat(sounds, dim=2)

    return decode


def measured(
    form: Form, inputs: tuple[Tensor, Tensor, Tensor], stages: Sequence[object]
) -> tuple[dict[str, float], Tensor]:
    """Seconds by name, and the sound. `stages`: those of a `FastDecoder`, to be timed one by one."""
    spent = dict.fromkeys((f"stage {i + 1}" for i in range(len(stages))), 0.0)

    def clocked(name: str, work: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def timed(*arguments: object) -> Tensor:
            start = time.thread_time()
            result = work(*arguments)
            spent[name] += time.thread_time() - start
            return result

        return timed

    with ExitStack() as patches, torch.inference_mode():
        for i, stage in enumerate(stages):
            for name in ("upsampled", "averaged"):
                patches.enter_context(patch.object(stage, name, clocked(f"stage {i + 1}", getattr(stage, name))))
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        sound = form(*inputs)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "wall": wall,
        "CPU": after.ru_utime - before.ru_utime + system,
        "system": system,
        "faults": (after.ru_minflt - before.ru_minflt) / 1000,
        **spent,
    }, sound


def decoder_of(architecture: Architecture) -> Decoder:
    decoder = Decoder(architecture)
    weights = fold(random_weights(architecture, seed=3))
    decoder.load_state_dict({name[4:]: weight.float() for name, weight in weights.items() if name.startswith("dec.")})
    return decoder.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["v2-48k"])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rates = {precision: matrix_rate(precision) for precision in (torch.float32, torch.bfloat16)}
    print(
        f"{torch.get_num_threads()} threads; per core",
        *(f"{str(p)[6:]} {r / 1e9:.0f} GFLOP/s" for p, r in rates.items()),
    )
    for kind in arguments.kinds:
        architecture = real(*KINDS[kind])  # type: ignore[arg-type]
        work = operations(architecture)
        print(f"\n{kind}: {sum(work) / 1e9:.0f} GFLOP per second of sound, by stage", *(f"{w / 1e9:.1f}" for w in work))
        print("  floor, seconds:", *(f"{str(p)[6:]} {sum(work) / r:.3f}" for p, r in rates.items()))
        decoder = decoder_of(architecture)
        direct: Any = patch.object(fast_convolution, "CIRCLES", {torch.float32: {}, torch.bfloat16: {}})
        with direct:
            plainer = {p: FastDecoder(decoder, p) for p in rates}
        fast = {p: FastDecoder(decoder, p) for p in rates}
        forms: dict[str, tuple[Form, torch.dtype]] = {
            "plain": (decoder, torch.float32),
            "plain, pieces": (in_windows(decoder, architecture.hop), torch.float32),
            **{f"direct {str(p)[6:]}": (plainer[p], p) for p in rates},
            **{str(p)[6:]: (fast[p], p) for p in rates},
        }
        random = torch.Generator().manual_seed(1)
        frames = round(100 * arguments.seconds)
        z = torch.randn(1, architecture.latent_channels, frames, generator=random)
        g = torch.randn(1, architecture.speaker_channels, 1, generator=random)
        f0 = 220 * torch.exp(0.05 * torch.sin(torch.arange(frames) / 10))[None]
        noise = torch.randn(1, frames * architecture.hop, generator=random)
        inputs = (z, harmonic_source(f0, architecture.hop, architecture.sample_rate, noise), g)
        best: dict[str, dict[str, float]] = {}
        ratios: dict[str, float] = {}
        expected = None
        for _ in range(arguments.rounds):
            for name, (form, _precision) in forms.items():
                found, sound = measured(form, inputs, form.stages if isinstance(form, FastDecoder) else [])
                expected = sound if expected is None else expected
                ratios[name] = snr(expected, sound)
                if name not in best or found["CPU"] < best[name]["CPU"]:
                    best[name] = found
        for name, found in best.items():
            share = sum(work) * arguments.seconds / rates[forms[name][1]] / found["CPU"]
            near = "" if name == "plain" else f"; {ratios[name]:.1f} dB"
            parts = ", ".join(f"{part} {value / arguments.seconds:.3f}" for part, value in found.items())
            print(f"  {name:16} {parts}; {100 * share:.0f} % of the matrix rate{near}", flush=True)


if __name__ == "__main__":
    main()
