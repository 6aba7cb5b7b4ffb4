"""Whether a recording proves consent: the right words, the voice's own speaker, said now and by nobody's machine.

Each check looks for one way to deceive. What they catch and what they miss, on which material: docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from understudy.audio.samples import Audio, AudioSource
from understudy.audio.watermark.detection import detect
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import speaker
from understudy.voices.consent import phrase, splicing, synthesis
from understudy.voices.consent.phrase import RATE, Spoken

SHORTEST, LONGEST = 4.0, 60.0  # seconds
QUIETEST = 10 ** (-60 / 20)  # RMS of a recording in which somebody speaks
RIGHT = 0.75
"""Least share of the compared words that must be heard."""
ROOMS = (0.25, 0.5)
"""Reverberation times in seconds of simulated rooms."""
ALIKE = 0.73
"""Least similarity to the voice's recordings."""
COPIED = 0.8
"""Likeness of waveforms from which a word counts as cut from one of the voice's recordings, for half of the words."""

Samples = NDArray[np.float32]

_AGAIN = "Ask for a new phrase and read it aloud yourself, without a pause, close to the microphone, in a quiet room."


@dataclass(frozen=True)
class Answer:
    """What was found in a recording. `refusal`: what is wrong with it; `figures`: what was measured until then."""

    refusal: UnderstudyError | None
    figures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Known:
    """The voice's own recordings, as answers are compared with them: mono at `RATE`, and their embeddings, as they are
    and as they would sound in rooms: an answer is rarely recorded where the recordings were."""

    sounds: tuple[Samples, ...]
    embeddings: tuple[speaker.Embedding, ...]

    @staticmethod
    def of(own: Sequence[AudioSource]) -> Known:
        """Raises ``speaker-encoder-missing`` and ``nobody-heard``."""
        sounds = tuple(_mono(one) for one in own)
        embeddings = [
            speaker.together(np.concatenate([speaker.partials(_in_a_room(one, seconds)) for one in sounds]))
            for seconds in (0.0, *ROOMS)
        ]
        return Known(sounds, tuple(embeddings))

    def similarity(self, sound: AudioSource) -> float:
        """The greatest similarity of the speaker, 0..1."""
        embedding = speaker.embed(sound)
        return max(speaker.similarity(embedding, one) for one in self.embeddings)


def examine(context: Context, sound: AudioSource, wanted: str, known: Known) -> Answer:
    """Check the recording `sound` of the phrase `wanted` by the speaker of the voice's recordings `known`.

    The refusals, in the order in which they are looked for: ``consent-recording-short``, ``-long``, ``-silent``,
    ``-wrong-words``, ``-another-speaker``, ``-marked`` (our own watermark), ``-copied`` (from the voice's recordings),
    ``-synthetic``, ``-spliced``. Raises ``speaker-encoder-missing`` and ``package-missing`` where it can't check.
    """
    figures: dict[str, float] = {"seconds": round(sound.frames / sound.rate, 2)}
    if not SHORTEST <= figures["seconds"] <= LONGEST:
        kind = "short" if figures["seconds"] < SHORTEST else "long"
        what = (
            f"The recording has {figures['seconds']:.1f} s; reading the phrase takes {SHORTEST:.0f} to {LONGEST:.0f} s."
        )
        return _refused(kind, what, figures)
    mono = _mono(sound)
    if float(np.sqrt(np.mean(mono.astype(np.float64) ** 2))) < QUIETEST:
        return _refused("silent", "Nobody is heard in the recording.", figures)
    said = phrase.spoken(wanted, mono)
    compared = [word for word in said if word.heard is not None]
    figures["words"] = round(sum(word.heard == word.word for word in compared) / max(1, len(compared)), 3)
    context.progress(0.2)
    if figures["words"] < RIGHT:
        missed = next((word.word for word in compared if word.heard != word.word), phrase.words_of(wanted)[0])
        what = f"The recording says other words than the phrase, or can't be understood, for example at {missed!r}."
        return _refused("wrong-words", what, figures)

    similarity = known.similarity(sound)
    figures["similarity"] = round(similarity, 3)
    context.progress(0.5)
    if similarity < ALIKE:
        return _refused("another-speaker", "Somebody else speaks than in the voice's recordings.", figures)

    if detect(sound, context.part(0.5, 0.8)) is not None:
        return _refused("marked", "The recording carries Understudy's watermark: a program made it.", figures)

    figures["copied"] = round(float(np.median([_likeness(mono, word, known.sounds) for word in compared])), 3)
    context.progress(0.85)
    if figures["copied"] >= COPIED:
        return _refused("copied", "The words were cut from the voice's own recordings.", figures)

    figures["made_again"] = round(synthesis.likeness_when_made_again(mono), 3)
    if figures["made_again"] >= synthesis.THRESHOLD:
        return _refused("synthetic", "The recording was made or changed by a program that imitates voices.", figures)

    figures["joins"] = round(splicing.joins(mono, said), 3)
    if figures["joins"] >= splicing.THRESHOLD:
        return _refused("spliced", "The words don't follow each other as in speech: they were put together.", figures)
    return Answer(None, figures)


def _in_a_room(sound: Samples, seconds: float) -> Audio:
    """`sound` with reverberation of noise that decays by 60 dB within so many seconds, 4 dB softer than itself."""
    count = round(seconds * RATE)
    if not count:
        return Audio(sound[None], RATE)
    tail = np.random.default_rng(count).standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: RATE // 200] = 0
    wet = fftconvolve(sound, tail)[: len(sound)]
    gain = 0.6 * float(np.linalg.norm(sound)) / max(1e-9, float(np.linalg.norm(wet)))
    return Audio(np.asarray((sound + gain * wet)[None], np.float32), RATE)


def _refused(kind: str, what: str, figures: Mapping[str, float]) -> Answer:
    return Answer(UnderstudyError(f"consent-recording-{kind}", what, _AGAIN), figures)


def _mono(source: AudioSource) -> Samples:
    mono = source.read(0, source.frames).mono().samples[0]
    return np.asarray(soxr.resample(mono, source.rate, RATE, quality="HQ") if source.rate != RATE else mono, np.float32)


def _likeness(mono: Samples, word: Spoken, own: Sequence[Samples]) -> float:
    """The greatest correlation of the word's waveform with any place in the recordings, 0..1."""
    part = mono[round(word.start * RATE) : round(word.stop * RATE)].astype(np.float64)
    norm = float(np.linalg.norm(part))
    found = 0.0
    for recording in own:
        whole = recording.astype(np.float64)
        if len(whole) < len(part) or norm == 0:
            continue
        product = fftconvolve(whole, part[::-1], mode="valid")
        energy = np.cumsum(np.concatenate([[0.0], whole**2]))
        energy = energy[len(part) :] - energy[: -len(part)]
        found = max(found, float(np.max(np.abs(product) / (norm * np.sqrt(np.maximum(energy, 1e-6))))))
    return found
