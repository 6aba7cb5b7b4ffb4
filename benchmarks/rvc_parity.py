"""Our synthesizer of RVC voices against the public reference implementation.

    python benchmarks/rvc_parity.py --reference DIR [--kinds v2-48k v1-32k-nof0 ...] [--frames 50 200 1000]
        [--precision bfloat16] [--zero-only]

DIR is a checkout of RVC-Project/Retrieval-based-Voice-Conversion-WebUI; its classes are imported and run. Every kind of
model gets the reference's own random initialisation, perturbed so that no part stays zero (gains, biases, tables of
relative positions, the flow's shifts), scaled so that the sound has an RMS of about 0.1, and rounded to float16. The
weights are written to a `.pth` file and read by `load_checkpoint`.

Columns: SNR in dB of our sound against the reference's with all random numbers zero; RMS and peak of the reference's
sound; the SNR with the same seed; and that of the latent frames z that the decoder gets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from understudy.voices.rvc import load_checkpoint
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.checkpoint import Checkpoint, config_list, write_pth

RATES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # upsample rates and kernels
    "v1-32k": ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v1-40k": ((10, 10, 2, 2), (16, 16, 4, 4)),
    "v1-48k": ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    "v2-24k": ((10, 6, 2, 2), (20, 12, 4, 4)),
    "v2-32k": ((10, 8, 2, 2), (20, 16, 4, 4)),
    "v2-40k": ((10, 10, 2, 2), (16, 16, 4, 4)),
    "v2-48k": ((12, 10, 2, 2), (24, 20, 4, 4)),
}
KINDS = [kind + pitch for kind in RATES for pitch in ("", "-nof0")]
RMS = 0.1


def architecture_of(kind: str) -> Architecture:
    version, rate, *rest = kind.split("-")
    rates, kernels = RATES[f"{version}-{rate}"]
    return Architecture("v1" if version == "v1" else "v2", not rest, int(rate[:-1]) * 1000, rates, kernels)


def reference(architecture: Architecture, models: Any) -> torch.nn.Module:
    """The reference's network with weights as the head of this file describes."""
    torch.manual_seed(0)
    size = {"v1": "256", "v2": "768"}[architecture.version]
    make = getattr(models, f"SynthesizerTrnMs{size}NSFsid" + ("" if architecture.f0 else "_nono"))
    network = make(*config_list(architecture), is_half=False).eval()
    del network.enc_q
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_((4 if ".ups." in name else 1.5) * (1 + 0.2 * torch.rand_like(parameter)))
            elif name.endswith((".bias", ".beta", ".gamma")):
                parameter.add_(0.02 * torch.randn_like(parameter))
            elif "emb_rel" in name:
                parameter.mul_(2.0)
            elif ".post.weight" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
            elif name == "dec.m_source.l_linear.weight":
                parameter.fill_(3.0)
        network.dec.conv_post.weight.mul_(0.001)  # so small that the last tanh is linear
        sound = latent_and_sound(network, architecture, *material(architecture, 50))[1]
        network.dec.conv_post.weight.mul_(RMS / sound.std())
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return network


def material(architecture: Architecture, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Content, coarse pitch and f0 of a glide with vibrato and unvoiced stretches."""
    generator = torch.Generator().manual_seed(frames)
    content = torch.randn(1, frames, architecture.content_channels, generator=generator)
    time = torch.arange(frames) / 100
    f0 = 220 * torch.exp(0.4 * torch.sin(time) + 0.03 * torch.sin(2 * torch.pi * 5.5 * time))
    f0[(time % 0.7) < 0.12] = 0
    coarse = 1 + (255 - 1) * (torch.log1p(f0 / 700) - 0.069) / (0.944 - 0.069)
    return content, coarse.round().clamp(1, 255).long()[None], f0[None]


@torch.no_grad()
def latent_and_sound(
    network: Any, architecture: Architecture, content: Tensor, coarse: Tensor, f0: Tensor
) -> tuple[Tensor, Tensor]:
    lengths, speaker = torch.tensor([content.shape[1]]), torch.tensor([7])
    pitch = (coarse, f0) if architecture.f0 else ()
    sound, _, (z, *_) = network.infer(content, lengths, *pitch, speaker)
    return z, sound


@contextmanager
def zero_draws() -> Iterator[None]:
    def zeros(*shape: Any, device: Any = None, **_: Any) -> Tensor:
        return torch.zeros(*shape, device=device)

    with (
        patch.object(torch, "randn", zeros),
        patch.object(torch, "rand", zeros),
        patch.object(torch, "randn_like", torch.zeros_like),
    ):
        yield


def snr(expected: Tensor, found: Tensor) -> float:
    """In dB, without the constant offset of the expected sound."""
    found, expected = found.double() - expected.double().mean(), expected.double() - expected.double().mean()
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--frames", nargs="+", type=int, default=[50, 200, 1000])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--zero-only", action="store_true", help="leave the runs with the same seed out")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sys.path.append(str(arguments.reference))
    from infer.module import models

    columns = ["zero", "rms", "peak", *([] if arguments.zero_only else ["seeded", "z"])]
    print(f"{'kind':12} {'frames':>6} " + " ".join(f"{column:>7}" for column in columns))
    worst = float("inf")
    for kind in arguments.kinds:
        architecture = architecture_of(kind)
        network = reference(architecture, models)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "voice.pth"
            stored = {name: tensor.half() for name, tensor in network.state_dict().items()}
            write_pth(Checkpoint(architecture, stored), path)
            ours = load_checkpoint(path, precision=arguments.precision).synthesizer
        for frames in arguments.frames:
            content, coarse, f0 = material(architecture, frames)
            given = coarse if architecture.f0 else None, f0 if architecture.f0 else None, torch.tensor([7])
            with zero_draws():
                still = latent_and_sound(network, architecture, content, coarse, f0)[1]
                zero = snr(still, ours.infer(content, *given))
            worst = min(worst, zero)
            figures = f"{zero:7.1f} {still.std():7.3f} {still.abs().max():7.3f}"
            if not arguments.zero_only:
                torch.manual_seed(frames)
                z, sound = latent_and_sound(network, architecture, content, coarse, f0)
                torch.manual_seed(frames)
                seeded = snr(sound, ours.infer(content, *given))
                torch.manual_seed(frames)
                latent = snr(z, ours.latent(content, given[0], given[2], torch.randn(z.shape)))
                worst = min(worst, seeded)
                figures += f" {seeded:7.1f} {latent:7.1f}"
            print(f"{kind:12} {frames:6} {figures}", flush=True)
    print(f"lowest: {worst:.1f} dB")


if __name__ == "__main__":
    main()
