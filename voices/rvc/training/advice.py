"""`advice`: what further recordings would help a voice most.

What is trained on is compared with what is to be sung: pitch, softness, and the hiss of s, f and sh.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.resample import resample
from understudy.audio.samples import AudioSource
from understudy.voices.rvc.training.evaluation import Clip, Evaluation
from understudy.voices.transpose import note

Floats = NDArray[np.float64]
Sung = Iterable[tuple[AudioSource, PitchTrack]]

_ENOUGH = 20.0  # seconds in a range of pitch from which on more hardly help
_BAND = 4.0  # semitones of such a range
_MUCH = 180.0  # seconds of voice from which on the amount isn't the first thing to mend
_RATE = 16000  # Hz at which sounds are looked at


@dataclass(frozen=True, eq=False)
class _Coverage:
    """`notes`: MIDI numbers of all voiced frames, `seconds` together; `spread`: dB between soft and loud voiced sound;
    `hiss`: share of the sounding frames that are unvoiced and lie above 3 kHz."""

    notes: Floats
    seconds: float
    spread: float
    hiss: float


def advice(training: Sung, clips: Sequence[Clip], evaluation: Evaluation | None = None) -> list[str]:
    """What recordings would help most, as sentences, the most helpful first; empty if nothing is lacking.

    `training`: sounds that are trained on, each with its pitch; iterated once. `clips`: what is to be sung.
    `evaluation`: of the chosen checkpoint.
    """
    performances = [clip.performance for clip in clips]
    has = _coverage(training)
    asked = _coverage([(each.vocals, each.pitch.transposed(each.transpose)) for each in performances])
    found = [*_pitch(has, asked), *_kinds(has, asked)]
    if evaluation is not None and evaluation.means().get("noise", 0) > 6:
        found.append((1.0, "Recordings with less noise: the voice sounds noisier than what it sings from."))
    return [sentence for _, sentence in sorted(found, key=lambda pair: -pair[0])]


def _pitch(has: _Coverage, asked: _Coverage) -> Iterator[tuple[float, str]]:
    """(how much it helps, sentence) for every range of pitch that is asked for and lacking."""
    if not len(asked.notes):
        return
    low, high = np.percentile(asked.notes, [3, 97])
    middle = float(np.median(has.notes)) if len(has.notes) else float(np.median(asked.notes))
    per_note = has.seconds / max(1, len(has.notes))
    for start, stop in pairwise(np.linspace(low, high, max(1, round((high - low) / _BAND)) + 1)):
        share = float(np.mean((asked.notes >= start) & (asked.notes <= stop)))
        owned = float(np.sum((has.notes >= start - 0.5) & (has.notes <= stop + 0.5))) * per_note
        lacking = _ENOUGH - owned
        if lacking >= 5 and share >= 0.05:
            centre = (start + stop) / 2
            kind = "high" if centre > middle + 3 else "low" if centre < middle - 3 else "middle"
            first, last = (note(440 * 2 ** ((edge - 69) / 12)) for edge in (start, stop))
            yield (
                lacking * share,
                f"{lacking:.0f} more seconds of {kind} notes, {first} to {last}: there are {owned:.0f} s.",
            )


def _kinds(has: _Coverage, asked: _Coverage) -> Iterator[tuple[float, str]]:
    if has.seconds < _MUCH:
        yield (
            4 * (1 - has.seconds / _MUCH),
            f"More singing of any kind: there are {has.seconds:.0f} s of voice, and up to some 10 minutes more helps.",
        )
    if has.seconds and asked.seconds and has.spread < asked.spread - 6:
        yield (
            1.0,
            f"Softer and louder singing: loud and soft sound lie {has.spread:.0f} dB apart, in songs "
            f"{asked.spread:.0f} dB and more.",
        )
    if has.seconds and asked.hiss > 0.01 and has.hiss < asked.hiss / 4:
        yield 2.0, "Singing with words: there is hardly any s, f or sh."


def _coverage(sung: Sung) -> _Coverage:
    f0, levels, highs, voiced, seconds = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)], [np.zeros(0, bool)], 0.0
    for source, pitch in sung:
        f0.append(pitch.f0[pitch.voiced].astype(np.float64))
        seconds += len(f0[-1]) * pitch.hop
        sound = resample(source.read().mono(), _RATE).samples[0].astype(np.float64)
        frames = len(sound) // 320  # of 20 ms
        blocks = sound[: frames * 320].reshape(frames, 320)
        power = np.abs(np.fft.rfft(blocks * np.hanning(320), axis=1)) ** 2
        at = np.minimum(np.round((np.arange(frames) + 0.5) * 0.02 / pitch.hop).astype(int), max(0, pitch.frames - 1))
        levels.append(10 * np.log10(np.mean(blocks**2, axis=1) + 1e-12))
        highs.append(power[:, 60:].sum(axis=1) / (power.sum(axis=1) + 1e-12))  # 3 kHz and up
        voiced.append(pitch.voiced[at] if pitch.frames else np.zeros(frames, bool))
    notes = 69 + 12 * np.log2(np.concatenate(f0) / 440)
    level, high, sings = np.concatenate(levels), np.concatenate(highs), np.concatenate(voiced)
    if not sings.any():
        return _Coverage(notes, seconds, 0.0, 0.0)
    soft, loud = np.percentile(level[sings], [10, 95])
    hiss = np.mean((~sings & (high > 0.5))[level > loud - 35])
    return _Coverage(notes, seconds, float(loud - soft), float(hiss))
