"""The steps after vocals and instrumental: backing vocals, reverb and noise come off the lead, each as a stem.

A model that takes something off a vocal takes some of the voice, too. Where there is nothing to take, that is all it
does; so each step is measured, and left out where it would do more harm than good. What is kept and what is taken
always sum to what the step was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio.context import Context
from audio.errors import UnderstudyError
from audio.k_weighting import energies
from audio.samples import Audio, AudioSource, Samples
from audio.stored import AudioFile, write_blocks
from pipeline.separation.spectrogram import Grid, analyse
from pipeline.separation.together import BLOCK, together

SINGS = -30.0
"""dB that the loudest second of a vocal stem must reach, against the song's own loudest second, to hold singing."""

_SECONDS = 0.046
_NOTHING = -120.0


@dataclass(frozen=True)
class Step:
    """`kept` and `taken`: the stems that it makes of a vocal. `least`: dB of what is truly taken, against the vocal,
    below which there was nothing to take. `harm`: dB of the voice that may go with it."""

    name: str
    kept: str
    taken: str
    least: float
    harm: float
    found_nothing: str
    too_much: str


STEPS = {
    step.name: step
    for step in (
        Step("lead", "lead", "backing", -20.0, -3.0, "no backing vocals were found", "no lead was found"),
        Step("dereverb", "dry", "reverb", -30.0, -1.0, "no reverb was found", "it would take the voice away"),
        Step("denoise", "dry", "noise", -50.0, -12.0, "no noise was found", "it would take the voice away"),
    )
}
_KEPT = ("lead", "dry", "vocals")
_TAKEN = ("backing", "reverb", "noise", "instrumental", "other")


def fits(step: Step, stems: tuple[str, ...]) -> bool:
    """Whether a model that gives those stems can do the step."""
    return any(stem in (step.kept, step.taken, *_KEPT, *_TAKEN) for stem in stems)


def kept_by(step: Step, context: Context, sound: AudioSource, stems: Mapping[str, AudioSource], name: str) -> AudioFile:
    """What the model leaves of `sound`, as the file `name` in `context.folder`: the stem that it keeps or, of a model
    that only gives what it takes away, the rest."""
    kept = next((stems[stem] for stem in (step.kept, *_KEPT) if stem in stems), None)
    if kept is not None:
        return together(context, {name: kept}, (name,), lambda parts: parts)[name]
    taken = next((stems[stem] for stem in (step.taken, *_TAKEN) if stem in stems), None)
    if taken is None:
        raise UnderstudyError("separator-unfit", f"A model of the step {step.name} gives {', '.join(stems)}.", "")
    return together(
        context, {"sound": sound, "taken": taken}, (name,), lambda parts: {name: parts["sound"] - parts["taken"]}
    )[name]


def sings(context: Context, song: AudioSource, vocals: AudioSource) -> bool:
    """Whether anybody sings in `vocals`, a stem of `song`."""
    of_song, of_vocals = (_loudest_second(power) for power in energies((song, vocals), context).diagonal(0, 1, 2).T)
    return of_vocals > 0 and decibels(of_vocals / of_song) >= SINGS


def _loudest_second(power: np.ndarray) -> float:
    if power.size == 0:
        return 0.0
    length = min(10, power.size)
    return float(np.convolve(power, np.ones(length) / length, "valid").max())


def taken_off(context: Context, step: Step, sound: AudioSource, kept: AudioSource) -> dict[str, Any]:
    """The stems of `sound`, of which a model left `kept`: files named after the step's stems in `context.folder`, and
    ``step``, what was found and done. Where the step would do harm, all of `sound` is kept."""
    grid = Grid.of(sound.rate, _SECONDS, sound.rate / 2)
    sums = np.zeros(4)

    def parted(parts: Mapping[str, Samples]) -> Mapping[str, Samples]:
        nonlocal sums
        taken = parts["sound"] - parts["kept"]
        sums += _powers(parts["sound"], parts["kept"], taken, grid)
        return {step.kept: parts["kept"], step.taken: taken}

    stems = together(context, {"sound": sound, "kept": kept}, (step.kept, step.taken), parted)
    whole, taken, own, voice = sums
    figures = {"taken": _round(taken, whole), "own": _round(own, whole), "harm": _round(voice, whole)}
    reason = None
    if figures["own"] < step.least:
        reason = step.found_nothing
    elif figures["harm"] > step.harm:
        reason = step.too_much
    if reason is not None:
        return {**untouched(context, step, sound, reason), "step": {**_told(step, reason), **figures}}
    return {**stems, "step": {**_told(step, None), **figures}}


def untouched(context: Context, step: Step, sound: AudioSource, reason: str) -> dict[str, Any]:
    """As `taken_off`, with nothing taken off for that `reason`."""
    for stem in (step.kept, step.taken):
        (context.folder / f"{stem}.npy").unlink(missing_ok=True)
    blocks = (sound.read(start, min(start + BLOCK, sound.frames)) for start in range(0, sound.frames, BLOCK))
    silence = (
        Audio.silence(sound.channels, min(BLOCK, sound.frames - start), sound.rate)
        for start in range(0, sound.frames, BLOCK)
    )
    return {
        step.kept: write_blocks(context.folder / f"{step.kept}.npy", sound.rate, sound.channels, blocks),
        step.taken: write_blocks(context.folder / f"{step.taken}.npy", sound.rate, sound.channels, silence),
        "step": _told(step, reason),
    }


def _told(step: Step, reason: str | None) -> dict[str, Any]:
    return {"step": step.name, "skipped": reason}


def _powers(sound: Samples, kept: Samples, taken: Samples, grid: Grid) -> np.ndarray:
    """Energies: of the sound, of what was taken, of it where it is louder than what was kept, and of it where the
    sound is loudest, which is where the voice is."""
    whole, left, gone = (_power(samples, grid) for samples in (sound, kept, taken))
    loud = whole > 0.01 * whole.max(axis=1, keepdims=True, initial=0)
    return np.array([whole.sum(), gone.sum(), gone[gone > left].sum(), gone[loud].sum()], np.float64)


def _power(samples: Samples, grid: Grid) -> np.ndarray:
    spectrum = analyse(samples, grid)
    return np.asarray((spectrum.real**2 + spectrum.imag**2).sum(axis=0), np.float32)


def decibels(ratio: float) -> float:
    """Of a ratio of powers."""
    return max(_NOTHING, 10 * float(np.log10(ratio))) if ratio > 0 else _NOTHING


def _round(part: float, whole: float) -> float:
    return round(decibels(part / whole) if whole > 0 else _NOTHING, 1)
