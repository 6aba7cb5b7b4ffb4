"""A step of RVC training against the public reference's: parity, speed, files.

    python benchmarks/rvc_training.py parity --reference DIR [--kinds v2-48k v1-32k-nof0 ...]
    python benchmarks/rvc_training.py speed --reference DIR [--kinds v2-48k] [--batch 2 4] [--rounds 2]
    python benchmarks/rvc_training.py files --reference DIR [--kinds v2-48k ...]

DIR is a checkout of RVC-Project/Retrieval-based-Voice-Conversion-WebUI; its networks, losses and spectrograms are
imported, and its training step is run as its trainer runs it. Every run is a process of its own: one side needs 4 GB.

parity: both sides get the reference's initial weights, one batch (clips of 200 and 180 frames), the same segments and
noise, and make three steps. Columns, for step 0 and step 2: the greatest relative difference of the five losses, and of
the two gradient norms; the relative difference of the whole gradient; the SNR of the decoded sound in dB. Last, the
difference of the weights after three steps in relation to their change, but for the biases of the attention's keys:
their true gradient is 0, and AdamW turns the rounding into full steps.

speed: seconds and CPU seconds of a step and peak memory (RSS) in MB, each also in relation to the reference. The sides
alternate, and the fastest step counts. `reference, kept memory` is the reference with glibc set to keep freed memory.

files: G_ and D_ files and finished voices, written by one side and read by the other. Columns: whether our weights
equal those in the reference's files; after a step of ours and a resume of the reference from our files, the greatest
relative difference of the next step's losses, and the difference of its update; whether a voice of ours is read back.
The reference reads strictly.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from tests.support.training_batches import random_batch  # noqa: E402
from understudy.voices.rvc.architecture import Architecture, mel_bands, published, segment_frames  # noqa: E402
from understudy.voices.rvc.architecture import spectrum_bins as bins_at  # noqa: E402
from understudy.voices.rvc.checkpoint import config_list, read_checkpoint, write_pth  # noqa: E402
from understudy.voices.rvc.training.batch import Batch, Draws, draw  # noqa: E402
from understudy.voices.rvc.training.networks import Base, export, weights  # noqa: E402
from understudy.voices.rvc.training.pretrained import read_base, write_pair  # noqa: E402
from understudy.voices.rvc.training.step import BETAS, EPSILON, new_state, step  # noqa: E402
from understudy.voices.training.settings import TrainingSettings  # noqa: E402

KINDS = [f"{v}-{r}k{p}" for v in ("v1", "v2") for r in (32, 40, 48) for p in ("", "-nof0")]
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
RATE = 1e-4
LOSSES = ("discriminator", "adversarial", "features", "mel", "kl", "grad_d", "grad_g")


def architecture_of(kind: str) -> Architecture:
    version, rate, *rest = kind.split("-")
    return published(version, int(rate[:-1]) * 1000, not rest)


def material(a: Architecture, number: int, rows: int) -> tuple[Batch, Draws]:
    batch = random_batch(a, tuple(200 - 20 * (row % 2) for row in range(rows)), seed=1)
    return batch, draw(batch, a, segment_frames(a), 1, number)


class Reference:
    """The reference's networks, optimisers and step."""

    def __init__(self, a: Architecture, reference: Path) -> None:
        sys.path.append(str(reference))
        os.chdir(reference)
        from infer.module import commons, models
        from train import losses, mel_processing

        self.a, self.commons, self.losses, self.mel = a, commons, losses, mel_processing
        torch.manual_seed(0)
        size = {"v1": "256", "v2": "768"}[a.version]
        config = config_list(a)
        config[1] = segment_frames(a)
        make = getattr(models, f"SynthesizerTrnMs{size}NSFsid" + ("" if a.f0 else "_nono"))
        self.generator = make(*config, is_half=False)
        self.discriminator = getattr(models, "MultiPeriodDiscriminator" + ("V2" if a.version == "v2" else ""))()
        self.optimizers = [
            torch.optim.AdamW(network.parameters(), RATE, betas=BETAS, eps=EPSILON)
            for network in (self.generator, self.discriminator)
        ]

    def step(self, batch: Batch, draws: Draws, record: dict[str, Any]) -> dict[str, float]:
        a, net_g, net_d = self.a, self.generator, self.discriminator
        optimizer_g, optimizer_d = self.optimizers
        frames = segment_frames(a)
        size = 2 * (bins_at(a.sample_rate) - 1)
        mels = (size, mel_bands(a.sample_rate), a.sample_rate)
        net_g.train()
        net_d.train()
        pitch = (batch.coarse, batch.f0) if a.f0 else ()
        with injected(draws):
            sound, start, _, mask, (_, z_p, m_p, logs_p, _, logs_q) = net_g(
                batch.content, batch.lengths, *pitch, batch.spectrogram, batch.lengths, batch.speaker
            )
        mel = self.mel.spec_to_mel_torch(batch.spectrogram, *mels, 0.0, None)
        wanted = self.commons.slice_segments(mel, start, frames)
        heard = self.mel.mel_spectrogram_torch(sound.squeeze(1), *mels, a.hop, size, 0.0, None)
        wave = self.commons.slice_segments(batch.sound, start * a.hop, frames * a.hop)

        of_real, of_fake, _, _ = net_d(wave, sound.detach())
        loss_d, _, _ = self.losses.discriminator_loss(of_real, of_fake)
        optimizer_d.zero_grad()
        loss_d.backward()
        grad_d = self.commons.clip_grad_value_(net_d.parameters(), None)
        if "gradient" in record:
            record["gradient"] += [p.grad.clone() for p in net_d.parameters()]
        optimizer_d.step()

        of_real, of_fake, maps_real, maps_fake = net_d(wave, sound)
        loss_mel = torch.nn.functional.l1_loss(wanted, heard) * 45
        loss_kl = self.losses.kl_loss(z_p, logs_q, m_p, logs_p, mask)
        loss_fm = self.losses.feature_loss(maps_real, maps_fake)
        loss_gen, _ = self.losses.generator_loss(of_fake)
        optimizer_g.zero_grad()
        (loss_gen + loss_fm + loss_mel + loss_kl).backward()
        grad_g = self.commons.clip_grad_value_(net_g.parameters(), None)
        if "gradient" in record:
            record["gradient"] += [p.grad.clone() for p in net_g.parameters()]
        optimizer_g.step()
        record["sound"] = sound.detach()
        found = (loss_d.item(), loss_gen.item(), loss_fm.item(), loss_mel.item(), loss_kl.item(), grad_d, grad_g)
        return dict(zip(LOSSES, found, strict=True))

    def weights(self) -> dict[str, dict[str, Tensor]]:
        return {"g": self.generator.state_dict(), "d": self.discriminator.state_dict()}


@contextmanager
def injected(draws: Draws) -> Iterator[None]:
    """torch's random numbers replaced by `draws`, in the order in which the reference asks for them."""
    normal = iter([draws.posterior, *([] if draws.source is None else [draws.source.unsqueeze(2)])])
    uniform = iter([draws.segments, torch.zeros(len(draws.segments), 1)])

    def randn_like(wanted: Tensor) -> Tensor:
        found = next(normal)
        assert found.shape == wanted.shape
        return found

    with patch.object(torch, "randn_like", randn_like), patch.object(torch, "rand", lambda *_, **__: next(uniform)):
        yield


class Ours:
    def __init__(self, a: Architecture, folder: Path) -> None:
        initial = torch.load(folder / "initial.pt", weights_only=True)
        self.state = new_state(a, TrainingSettings(learning_rate=RATE), base=Base(a, initial["g"], initial["d"]))

    def step(self, batch: Batch, draws: Draws, record: dict[str, Any]) -> dict[str, float]:
        def keep(gradients: list[Tensor]) -> None:
            record["gradient"] += [gradient.clone() for gradient in gradients[:-1]]  # the last is the loss

        def heard(_: Any, __: Any, sound: Tensor) -> None:
            record["sound"] = sound.detach().float()

        hook = self.state.generator.dec.register_forward_hook(heard)
        found = step(self.state, batch, draws, average=keep if "gradient" in record else None)
        hook.remove()
        return {name: getattr(found, name) for name in LOSSES}

    def weights(self) -> dict[str, dict[str, Tensor]]:
        return {"g": weights(self.state.generator), "d": weights(self.state.discriminator)}


def run(side: str, kind: str, folder: Path, reference: Path, rows: int, steps: int, record: bool) -> None:
    a = architecture_of(kind)
    runner = Ours(a, folder) if side == "ours" else Reference(a, reference)
    if side == "initial":
        torch.save(runner.weights(), folder / "initial.pt")
        return
    found = []
    for number in range(steps):
        batch, draws = material(a, number, rows)
        kept: dict[str, Any] = {"gradient": []} if record and number == 0 else {}
        begun, cpu = time.perf_counter(), time.process_time()
        losses = runner.step(batch, draws, kept)
        spent = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
        found.append({"losses": losses, **spent})
        if record:
            torch.save(kept, folder / f"{side}-{number}.pt")
    if record:
        torch.save(runner.weights(), folder / f"{side}-end.pt")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / f"{side}.json").write_text(json.dumps({"steps": found, "peak": peak}))


def child(side: str, kind: str, folder: Path, arguments: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Run one side in a process of its own and read what it found."""
    command = [sys.executable, __file__, "run", "--reference", str(arguments.reference), "--kinds", kind]
    command += ["--side", side, "--folder", str(folder), "--threads", str(arguments.threads)]
    for name, value in more.items():
        if name != "environment":
            command += [f"--{name}", str(value)]
    subprocess.run(command, check=True, env=os.environ | more.get("environment", {}), cwd=ROOT)
    path = folder / f"{side}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def relative(wanted: list[Tensor], found: list[Tensor]) -> float:
    """Norm of the difference of two lists of tensors in relation to the norm of the first."""
    error = sum(float((w.double() - f.double()).square().sum()) for w, f in zip(wanted, found, strict=True))
    return float((error / sum(float(w.double().square().sum()) for w in wanted)) ** 0.5)


def parity(arguments: argparse.Namespace) -> None:
    columns = ["losses 0", "norms 0", "gradient 0", "dB 0", "losses 2", "norms 2", "dB 2", "weights 3"]
    print(f"{'kind':12} " + " ".join(f"{column:>10}" for column in columns))
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            child("initial", kind, folder, arguments)
            sides = [child(side, kind, folder, arguments, record=1) for side in ("reference", "ours")]
            figures = []
            for number in (0, 2):
                wanted, found = (side["steps"][number]["losses"] for side in sides)
                apart = {key: abs(found[key] / wanted[key] - 1) for key in LOSSES}
                figures += [
                    f"{max(v for k, v in apart.items() if ('grad' in k) == norms):10.1e}" for norms in (False, True)
                ]
                kept = [torch.load(folder / f"{side}-{number}.pt", weights_only=True) for side in ("reference", "ours")]
                if number == 0:
                    figures.append(f"{relative(kept[0]['gradient'], kept[1]['gradient']):10.1e}")
                error = relative([kept[0]["sound"]], [kept[1]["sound"]])
                figures.append(f"{-20 * torch.log10(torch.tensor(max(error, 1e-9))):10.1f}")
            figures.append(f"{changed(folder):10.1e}")
        print(f"{kind:12} " + " ".join(figures), flush=True)


def changed(folder: Path) -> float:
    begin, wanted, found = (
        torch.load(folder / f"{name}.pt", weights_only=True) for name in ("initial", "reference-end", "ours-end")
    )
    names = [(net, name) for net in "gd" for name in wanted[net] if not name.endswith("conv_k.bias")]
    return relative(
        [wanted[net][name] - begin[net][name] for net, name in names],
        [found[net][name] - begin[net][name] for net, name in names],
    )


def speed(arguments: argparse.Namespace) -> None:
    sides: dict[str, dict[str, str]] = {"reference": {}, "reference, kept memory": KEPT_MEMORY, "ours": {}}
    print(f"{'kind':8} {'batch':>5}  {'side':24} {'seconds, ratio':>15} {'CPU s, ratio':>13} {'MB, ratio':>14}")
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            child("initial", kind, folder, arguments)
            for rows in arguments.batch:
                best = {side: [float("inf")] * 3 for side in sides}
                for _ in range(arguments.rounds):
                    for side, environment in sides.items():
                        found = child(
                            side.split(",")[0], kind, folder, arguments, batch=rows, steps=arguments.steps,
                            environment=environment,
                        )  # fmt: skip
                        spent = [min(one[what] for one in found["steps"]) for what in ("seconds", "cpu")]
                        best[side] = [min(pair) for pair in zip(best[side], [*spent, found["peak"]], strict=True)]
                first = best["reference"]
                for side, figures in best.items():
                    seconds, cpu, peak = (f"{v:.2f} {v / f:6.3f}" for v, f in zip(figures, first, strict=True))
                    print(f"{kind:8} {rows:5}  {side:24} {seconds:>15} {cpu:>13} {peak:>14}", flush=True)


def files(arguments: argparse.Namespace) -> None:
    """Each side writes, the other reads, and both then make the same step."""
    print(f"{'kind':12} {'base':>10} {'losses':>10} {'update':>10} {'voice':>6}")
    for kind in arguments.kinds:
        a = architecture_of(kind)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            theirs = Reference(a, arguments.reference)
            from train import utils

            # the reference's files are a base for us
            names = folder / "G_reference.pth", folder / "D_reference.pth"
            for path, network, optimizer in zip(
                names, (theirs.generator, theirs.discriminator), theirs.optimizers, strict=True
            ):
                utils.save_checkpoint(network, optimizer, RATE, 1, str(path))
            state = new_state(a, TrainingSettings(learning_rate=RATE), base=read_base(*names, a))
            read = all(
                torch.equal(wanted[name], found[name])
                for wanted, found in (
                    (theirs.generator.state_dict(), weights(state.generator)),
                    (theirs.discriminator.state_dict(), weights(state.discriminator)),
                )
                for name in wanted
            )
            # after one step of ours, the reference goes on from our files
            batch, draws = material(a, 0, arguments.batch[0])
            step(state, batch, draws)
            names = folder / "G_2333333.pth", folder / "D_2333333.pth"
            write_pair(state, *names, epoch=1, learning_rate=RATE)
            for path, network, optimizer in zip(
                names, (theirs.generator, theirs.discriminator), theirs.optimizers, strict=True
            ):
                network.load_state_dict(torch.load(path, weights_only=True)["model"])  # strictly
                utils.load_checkpoint(str(path), network, optimizer)
                torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1.0, last_epoch=0)
            batch, draws = material(a, 1, arguments.batch[0])
            before = {name: tensor.clone() for name, tensor in weights(state.generator).items()}
            wanted = theirs.step(batch, draws, {})
            found = step(state, batch, draws)
            apart = max(abs(getattr(found, key) / wanted[key] - 1) for key in LOSSES)
            ends, ours = theirs.generator.state_dict(), weights(state.generator)
            names_g = [name for name in ends if not name.endswith("conv_k.bias")]
            moved = relative(
                [ends[name] - before[name] for name in names_g], [ours[name] - before[name] for name in names_g]
            )
            # a finished voice of ours in the reference's network, and of theirs in ours
            write_pth(export(state.generator), folder / "voice.pth")
            del theirs.generator.enc_q
            theirs.generator.load_state_dict(torch.load(folder / "voice.pth", weights_only=True)["weight"])  # strictly
            back = read_checkpoint(folder / "voice.pth").architecture == a
            print(f"{kind:12} {'equal' if read else 'differs':>10} {apart:10.1e} {moved:10.1e} {back!s:>6}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["parity", "speed", "files", "run"])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=KINDS)
    parser.add_argument("--batch", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=3, help=argparse.SUPPRESS)
    parser.add_argument("--record", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.reference = arguments.reference.resolve()
    arguments.kinds = arguments.kinds or (["v2-48k"] if arguments.what == "speed" else KINDS)
    if arguments.what == "parity":
        parity(arguments)
    elif arguments.what == "speed":
        speed(arguments)
    elif arguments.what == "files":
        files(arguments)
    else:
        rows = arguments.batch[0]
        run(
            arguments.side, arguments.kinds[0], arguments.folder, arguments.reference, rows, arguments.steps,
            bool(arguments.record),
        )  # fmt: skip


if __name__ == "__main__":
    main()
