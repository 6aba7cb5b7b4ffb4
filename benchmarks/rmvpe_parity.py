"""RMVPE against the public reference implementation: accuracy with the same random weights, and speed.

    python -m benchmarks.rmvpe_parity --reference DIR [--seconds 60] [--song 180] [--precision float32 bfloat16]

DIR is a checkout of RVC's WebUI (it holds infer/rmvpe.py, which needs librosa). The weights are random but for the last
layer, which is fitted to singing of known pitch, so that the network finds pitches and the voicing threshold matters.
Prints the signal-to-noise ratio of the salience, the difference of f0 in cents on frames voiced on both sides, and the
frames that differ in voicing; the same for a song tracked in windows against the whole song at once; and seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.pitch import RANGES, RATE, sing
from tests.support.rmvpe_files import random_weights, write_pt
from understudy.audio.pitch import PitchSettings, track
from understudy.audio.pitch.rmvpe import tracker
from understudy.audio.pitch.rmvpe.mel import log_mel
from understudy.audio.pitch.rmvpe.network import Network, build
from understudy.audio.pitch.rmvpe.tracker import decode
from understudy.audio.pitch.rmvpe.weights import Weights, read_weights
from understudy.audio.samples import Audio
from understudy.context import Context

F0 = NDArray[np.floating]


def singing(seconds: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A song of all four singers in turn at 16 kHz, and its f0 every 10 ms."""
    sounds, truths = [], []
    for number in range(int(np.ceil(seconds / 10))):
        low, high = list(RANGES.values())[number % 4]
        sound, f0 = sing(low, high, 10, seed + number)
        sounds.append(sound * 0.3)
        truths.append(f0[:: RATE // 100])
    import soxr

    mono = soxr.resample(np.concatenate(sounds), RATE, 16000).astype(np.float32)[: int(seconds * 16000)]
    return mono, np.append(np.concatenate(truths), 0)[: len(mono) // 160 + 1]


def fitted(weights: Weights, seed: int) -> Weights:
    """`weights` with a last layer fitted to the pitch of singing (ridge regression)."""
    sound, truth = singing(40, seed)
    network = build(weights)
    with torch.inference_mode():
        features = network._features(log_mel(torch.from_numpy(sound)))
        hidden = network.recurrent(features[None])[0][0][: len(truth)].double()
    cents = 1997.3794084376191 + 20 * np.arange(360)
    true_cents = 1200 * np.log2(np.maximum(truth, 1e-3) / 10)[:, None]
    target = torch.from_numpy(-7 + 10 * np.exp(-0.5 * ((cents - true_cents) / 60) ** 2) * (truth > 0)[:, None])
    middle = hidden.mean(0)
    centred = hidden - middle
    solution = torch.linalg.solve(
        centred.T @ centred + 1e-3 * len(truth) * centred.var() * torch.eye(512, dtype=torch.float64),
        centred.T @ (target - target.mean(0)),
    )
    return weights | {
        "fc.1.weight": solution.T.float().contiguous(),
        "fc.1.bias": (target.mean(0) - middle @ solution).float(),
    }


def reference_module(folder: Path) -> ModuleType:
    logging.disable(logging.INFO)
    sys.path.insert(0, str(folder))
    path = next(path for path in (folder / "infer/rmvpe.py", folder / "infer/lib/rmvpe.py") if path.is_file())
    spec = importlib.util.spec_from_file_location("reference_rmvpe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decibels(ours: F0, theirs: F0) -> float:
    return float(10 * np.log10(np.sum(theirs**2.0) / max(1e-30, np.sum((ours - theirs) ** 2.0))))


def compared(ours: F0, theirs: F0) -> str:
    both = (ours > 0) & (theirs > 0)
    cents = np.abs(1200 * np.log2(ours[both] / theirs[both])) if both.any() else np.zeros(1)
    return (
        f"f0 median {np.median(cents):.5f}, 99.9 % within {np.quantile(cents, 0.999):.4f}, most {cents.max():.4f} cents"
        f" on {both.sum()} frames; voicing differs in {np.sum((ours > 0) != (theirs > 0))} of {len(ours)}"
    )


def seconds_of(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description="RMVPE against the public reference implementation.")
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--song", type=float, default=180, help="seconds of the song for the windows, 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as folder:
        path = write_pt(Path(folder) / "rmvpe.pt", fitted(random_weights(0), 100))
        theirs = reference_module(arguments.reference).RMVPE(str(path), is_half=False, device="cpu")
        weights = read_weights(path)
        ours = {name: build(weights, "cpu", getattr(torch, name)) for name in arguments.precision}
        accuracy(ours, theirs, arguments.seconds)
        if arguments.song:
            windows(path, theirs, arguments.song, arguments.precision)
        speed(path, theirs, arguments.seconds, arguments.rounds, arguments.precision)


def accuracy(networks: dict[str, Network], theirs: Any, seconds: float) -> None:
    sound, truth = singing(seconds, 7)
    mel = theirs.extract_mel(torch.from_numpy(sound))
    own_mel = log_mel(torch.from_numpy(sound))
    print(f"log mel: {decibels(own_mel.T.numpy(), mel[0].numpy()):.1f} dB")
    salience = theirs.mel2hidden(mel)[0].numpy()
    f0 = theirs.infer_from_audio(sound)
    voiced = f0 > 0
    right = np.abs(1200 * np.log2(np.maximum(f0, 1) / np.maximum(truth, 1)))[(truth > 0) & voiced] < 50
    print(f"reference: {voiced.mean():.1%} voiced, {right.mean():.1%} of them within 50 cents of the true pitch")
    for name, network in networks.items():
        own = network(own_mel).numpy()
        tracked, certainty = decode(own)
        print(
            f"{name}: salience {decibels(own, salience):.1f} dB; {compared(np.where(certainty > 0.03, tracked, 0), f0)}"
        )


def track_own(path: Path, sound: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
    """f0 every 10 ms, as the reference answers."""
    tracker._PRECISION = precision
    settings = PitchSettings(tracker="rmvpe", low=40, high=2000, repair=False)
    return track(Context(Path(".")), Audio.of(sound, 16000), settings, path).f0[::2]


def windows(path: Path, theirs: Any, seconds: float, precisions: list[str]) -> None:
    sound, _ = singing(seconds, 50)
    # `track` scales every song alike; the reference gets the same
    from understudy.audio.pitch.tracking import _level_gain

    f0 = theirs.infer_from_audio(sound * np.float32(_level_gain(Context(Path(".")), Audio.of(sound, 16000))))
    f0 = np.where((f0 >= 40) & (f0 <= 2000), f0, 0)
    for name in precisions:
        own = track_own(path, sound, name)
        print(f"{seconds:.0f} s in windows, {name}, against the reference at once: {compared(own, f0)}")
        seams = np.arange(round(tracker.WINDOW * 100), len(f0), round(tracker.WINDOW * 100))
        near = (seams[:, None] + np.arange(-10, 11)).clip(0, len(f0) - 1).ravel()
        print(f"   within 0.1 s of the {len(seams)} seams: {compared(own[near], f0[near])}")


def speed(path: Path, theirs: Any, seconds: float, rounds: int, precisions: list[str]) -> None:
    sound, _ = singing(seconds, 7)
    works: dict[str, Callable[[], Any]] = {"reference": lambda: theirs.infer_from_audio(sound)}
    for name in precisions:
        works[name] = partial(track_own, path, sound, name)
        works[name]()  # load it
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    for name, taken in times.items():
        wall, cpu = (min(column) for column in zip(*taken, strict=True))
        print(f"{seconds:.0f} s of sound, {name}: {wall:.2f} s wall, {cpu:.2f} s CPU")


if __name__ == "__main__":
    main()
