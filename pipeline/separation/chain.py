"""The steps after vocals and instrumental: backing vocals, reverb and noise come off the lead, each as a stem.

A model that removes something from a vocal removes some of the voice, too, and where there is nothing to remove, only
that. So each step is measured, and left out where it would do more harm than good. What is kept and what is taken
always sum to the input of the step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from understudy.audio.k_weighting import energies
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.spectrogram import Grid, analyse
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.separation.blockwise import BLOCK, map_blocks
from understudy.pipeline.values import stored

SINGS = -30.0
"""dB that the loudest second of a vocal stem must reach, against the song's own loudest second, to hold singing.

Measured on stems that strong models made of real songs: sung ones reach -3 to -9 dB, the vocal stem of an instrumental
is digital silence, and a stem of an instrument that isn't in the song reaches -35 dB."""

LEFT = -12.0
"""dB of the voice that a step must leave."""

_SECONDS = 0.046
_NOTHING = -120.0


@dataclass(frozen=True)
class Step:
    """`kept` and `taken`: the stems that it makes of a vocal. `least`: ``own`` of the taken stem, in dB, below which
    there was nothing to take. `harm`: the most that may be taken of the ``voice``, in dB.

    ``own`` is the energy of the taken stem in those bins of the spectrum where it is louder than what is kept, against
    that of the vocal. It distinguishes sound that was there from parts of the voice that a model removes by mistake: a
    harmony has tones of its own, reverb is alone after the notes, noise between the words. `benchmarks/chain.py`
    measures it on sung material with known truth, removed by simulated models with errors: - a harmony at -6 dB has -8
    of its own, one at -12 dB -14, at -18 dB -20; a second voice in unison little (-15 to
      -19 at -6 dB, -25 to -30 at -12): it stays with the lead unless it is nearly as loud.
    - reverb at -12 dB has -18 to -23, at -18 dB -25 to -33; noise at -40 dB -42.
    - of a dry voice, a model with 20 dB of SDR takes less than -50 of its own, one with 14 dB -16, one with 10 dB -12.
    Real models took -3 dB of backing off a duet, and -1.4 of reverb off a song that is nearly all reverb. The limit of
    the lead is the highest: what is removed by mistake is mixed back and audible as the original singer.

    ``voice`` and ``left`` are the energies of what is taken and of what is kept where the vocal's frames are loudest
    (within 20 dB of their peak), against the vocal's own. The same two real splits have -3 and -1.3 dB of voice and
    leave -3 and -9; a step that leaves less than `LEFT` took the voice itself, and one that takes more than there was
    isn't aligned with it. Noise has less, -30 even at -20 dB, and a model with errors -13 to -22.
    """

    name: str
    kept: str
    taken: str
    least: float
    harm: float
    nothing: str
    too_much: str


STEPS = {
    step.name: step
    for step in (
        Step("lead", "lead", "backing", -15.0, 1.0, "no backing vocals were found", "no lead was found"),
        Step("dereverb", "dry", "reverb", -26.0, 1.0, "no reverb was found", "the voice would have gone with it"),
        Step(
            "denoise", "dry", "noise", -45.0, -20.0, "no noise was found", "some of the voice would have gone with it"
        ),
    )
}
"""In order of work."""

_WORDS = {"backing": "Backing vocals", "reverb": "Reverb", "noise": "Noise"}
_KEPT = ("lead", "dry", "vocals")
_TAKEN = ("backing", "reverb", "noise", "instrumental", "other")


@stored
@dataclass(frozen=True)
class StepReport:
    """What a step found and did. `skipped`: why it was left out, None where it wasn't. `taken`, `own`, `voice`, `left`:
    the figures of `Step` in dB, None where nothing was measured. `told`: the same as a sentence."""

    step: str
    skipped: str | None
    taken: float | None
    own: float | None
    voice: float | None
    left: float | None
    told: str


@stored
@dataclass(frozen=True)
class TakenOff:
    """The two stems that a step makes of a vocal, and what it did; they sum to the vocal."""

    kept: AudioFile
    taken: AudioFile
    step: StepReport


def used(step: Step, stems: Collection[str]) -> str | None:
    """The stem of a model that a step uses: the one that it keeps or else the one that it takes away; None if the model
    isn't suitable for the step."""
    return next((stem for stem in (step.kept, *_KEPT, step.taken, *_TAKEN) if stem in stems), None)


def kept_by(step: Step, context: Context, sound: AudioFile, stems: Mapping[str, AudioFile], name: str) -> AudioFile:
    """`sound` after the model: the stem that it keeps or, of a model that only gives what it takes away, the
    difference, as the file `name` in `context.folder`."""
    stem = used(step, stems)
    if stem is None:
        raise ValueError(f"nothing in {', '.join(stems)} is of use in the step {step.name}")
    if stem in (step.kept, *_KEPT):
        return stems[stem]
    parts = {"sound": sound, "taken": stems[stem]}
    return map_blocks(context, parts, (name,), lambda given: {name: given["sound"] - given["taken"]})[name]


def sings(context: Context, song: AudioSource, vocals: AudioSource) -> bool:
    """Whether `vocals`, a stem of `song`, holds singing."""
    of_song, of_vocals = (_loudest_second(power) for power in energies((song, vocals), context).diagonal(0, 1, 2).T)
    return of_vocals > 0 and decibels(of_vocals / of_song) >= SINGS


def _loudest_second(power: np.ndarray) -> float:
    if power.size == 0:
        return 0.0
    length = min(10, power.size)
    return float(np.convolve(power, np.ones(length) / length, "valid").max())


def taken_off(context: Context, step: Step, sound: AudioSource, kept: AudioSource) -> TakenOff:
    """The stems of `sound`, of which a model left `kept`: files named after the step's stems in `context.folder`. Where
    the step would do harm, all of `sound` is kept."""
    grid = Grid.of(sound.rate, _SECONDS, sound.rate / 2)
    sums = np.zeros(6)

    def parted(parts: Mapping[str, Samples]) -> Mapping[str, Samples]:
        nonlocal sums
        taken = parts["sound"] - parts["kept"]
        sums += _powers(parts["sound"], parts["kept"], taken, grid)
        return {step.kept: parts["kept"], step.taken: taken}

    stems = map_blocks(context, {"sound": sound, "kept": kept}, (step.kept, step.taken), parted)
    whole, loud, taken, own, voice, left = sums
    figures = {"taken": _round(taken, whole), "own": _round(own, whole), "voice": _round(voice, loud)}
    figures["left"] = _round(left, loud)
    reason = None
    if figures["own"] < step.least:
        reason = step.nothing
    elif figures["voice"] > step.harm or figures["left"] < LEFT:
        reason = step.too_much
    if reason is not None:
        return replace(untouched(context, step, sound, reason), step=_report(step, reason, figures))
    return TakenOff(stems[step.kept], stems[step.taken], _report(step, None, figures))


def untouched(context: Context, step: Step, sound: AudioSource, reason: str) -> TakenOff:
    """As `taken_off`, with nothing taken off for that `reason`."""
    for stem in (step.kept, step.taken):
        (context.folder / f"{stem}.npy").unlink(missing_ok=True)
    blocks = (sound.read(start, min(start + BLOCK, sound.frames)) for start in range(0, sound.frames, BLOCK))
    silence = (
        Audio.silence(sound.channels, min(BLOCK, sound.frames - start), sound.rate)
        for start in range(0, sound.frames, BLOCK)
    )
    return TakenOff(
        write_blocks(context.folder / f"{step.kept}.npy", sound.rate, sound.channels, blocks),
        write_blocks(context.folder / f"{step.taken}.npy", sound.rate, sound.channels, silence),
        _report(step, reason),
    )


def _report(step: Step, reason: str | None, figures: Mapping[str, float] | None = None) -> StepReport:
    what = _WORDS[step.taken]
    measured = figures or dict.fromkeys(("taken", "own", "voice", "left"))
    if reason is not None:
        sentence = f"{what}: not taken off the vocal, {reason}."
    else:
        sentence = f"{what}: taken off the vocal, {measured['taken']:.0f} dB against it."
    return StepReport(step.name, reason, **measured, told=sentence.replace(" -", " −"))


def _powers(sound: Samples, kept: Samples, taken: Samples, grid: Grid) -> np.ndarray:
    """Six energies over the spectrum: the sound, the sound where it is loud, the taken part, the taken part where it is
    louder than the kept one, and the taken and the kept part where the sound is loud."""
    whole, left, gone = (_power(samples, grid) for samples in (sound, kept, taken))
    loud = whole > 0.01 * whole.max(axis=1, keepdims=True, initial=0)
    parts = (whole, whole[loud], gone, gone[gone > left], gone[loud], left[loud])
    return np.array([part.sum(dtype=np.float64) for part in parts])


def _power(samples: Samples, grid: Grid) -> np.ndarray:
    spectrum = analyse(samples, grid)
    return np.asarray((spectrum.real**2 + spectrum.imag**2).sum(axis=0), np.float32)


def decibels(ratio: float) -> float:
    """Of a ratio of powers."""
    return max(_NOTHING, 10 * float(np.log10(ratio))) if ratio > 0 else _NOTHING


def _round(part: float, whole: float) -> float:
    return round(decibels(part / whole) if whole > 0 else _NOTHING, 1)
