"""Measures what the steps of the separation chain report on singing whose parts are known. The thresholds in
`pipeline/separation/chain.py` are based on this table.

    python benchmarks/chain.py

A synthetic voice with harmonies, a second voice in unison, reverb or noise at several levels is separated by simulated
models: the true parts, and Wiener masks with noise on their logits that also remove a share of the voice. The last
column says whether and why the step would be skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import signals
from understudy.audio.samples import Audio, Samples
from understudy.audio.spectrogram import Grid, analyse, resynthesize
from understudy.context import Context
from understudy.pipeline.separation.chain import STEPS, Step, taken_off

RATE = 44100
GRID = Grid.of(RATE, 0.093, RATE / 2)
LEVELS = {
    "harmony": (0, -6, -12, -18, -24, -30),
    "unison": (0, -6, -12, -18),
    "reverb": (6, 0, -6, -12, -18, -24, -30, -40),
    "noise": (-20, -30, -40, -50, -60),
}


def main() -> None:
    print(f"{'material':32} {'model':18} {'taken':>7} {'own':>7} {'voice':>7} {'left':>7}  dB; skipped because")
    voice = sung()
    with TemporaryDirectory() as folder:
        for name, step, taken in _material(voice):
            for model, kept in _models(voice, taken, step):
                measured = taken_off(Context(Path(folder)), step, Audio(voice + taken, RATE), Audio(kept, RATE)).step
                figures = " ".join(f"{getattr(measured, figure):7.1f}" for figure in ("taken", "own", "voice", "left"))
                print(f"{name:32} {model:18} {figures}  {measured.skipped or ''}", flush=True)


def _material(voice: Samples) -> Iterator[tuple[str, Step, Samples]]:
    """Name, step, and the sound that the step should remove."""
    for step in STEPS.values():
        yield f"dry, {step.name}", step, np.zeros_like(voice)
    for name, sound in (("a third above", sung(4, 5)), ("a fourth below", sung(-5, 6))):
        for level in LEVELS["harmony"]:
            yield f"harmony {name}, {level} dB", STEPS["lead"], _at(sound, voice, level)
    for level in LEVELS["unison"]:
        yield f"unison, {level} dB", STEPS["lead"], _at(sung(0.12, 7), voice, level)
    for seconds in (0.5, 2.0):
        for level in LEVELS["reverb"]:
            yield f"reverb {seconds} s, {level} dB", STEPS["dereverb"], _at(_reverb(voice, seconds), voice, level)
    noise = np.random.default_rng(0).standard_normal(voice.shape).astype(np.float32)
    for level in LEVELS["noise"]:
        yield f"noise, {level} dB", STEPS["denoise"], _at(noise, voice, level)


def _models(voice: Samples, taken: Samples, step: Step) -> Iterator[tuple[str, Samples]]:
    yield "true parts", voice
    share = 0.001 if step.name == "denoise" else 0.01
    for floor, error in ((share, 1.0), (0.03, 1.0), (0.03, 2.0), (0.1, 2.0)):
        yield f"{100 * floor:g} %, error {error:g}", simulated(voice, taken, floor, error)


def sung(shift: float = 0.0, seed: int = 0) -> Samples:
    notes = [
        signals.Note(None if note.pitch is None else note.pitch + shift, note.seconds, note.vowel, note.onset)
        for note in signals.PHRASE * 3
    ]
    sound, _ = signals.singing(notes, RATE, seed=seed)
    return np.repeat(sound.samples, 2, axis=0).astype(np.float32)


def simulated(voice: Samples, taken: Samples, floor: float, error: float) -> Samples:
    """What a simulated model keeps: a Wiener mask from the true parts that removes the share `floor` of the voice, with
    noise of standard deviation `error` on its logits, correlated between neighbouring bins."""
    powers = [np.sum(np.abs(analyse(sound, GRID)) ** 2, axis=0) for sound in (voice, taken)]
    tiny = 1e-9 * powers[0].max()
    logits = np.log(powers[0] + tiny) - np.log(powers[1] + floor * powers[0] + tiny)
    disturbed = gaussian_filter(np.random.default_rng(0).standard_normal(logits.shape), 2)
    mask = 1 / (1 + np.exp(-(logits + error * disturbed / disturbed.std())))
    return resynthesize(analyse(voice + taken, GRID) * mask.astype(np.float32), GRID, voice.shape[1])


def _reverb(voice: Samples, seconds: float) -> Samples:
    """The reverb alone, with a decay time (60 dB) of `seconds`."""
    count = round(1.2 * seconds * RATE)
    tail = np.random.default_rng(1).standard_normal((2, count)) * 10 ** (-3 * np.arange(count) / (seconds * RATE))
    tail[:, : round(0.02 * RATE)] = 0
    return np.stack([fftconvolve(one, response)[: one.size] for one, response in zip(voice, tail, strict=True)])


def _at(sound: Samples, voice: Samples, decibels: float) -> Samples:
    gain = np.sqrt(np.sum(voice.astype(float) ** 2) / np.sum(sound.astype(float) ** 2)) * 10 ** (decibels / 20)
    return (sound * gain).astype(np.float32)


if __name__ == "__main__":
    main()
