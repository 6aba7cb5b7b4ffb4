"""What the check of consent recordings refuses, of each kind of deception, and how many honest recordings.

    python -m benchmarks.consent MATERIAL --speakers 1998 2414 3005
    python -m benchmarks.consent MATERIAL --speakers 1688 2033 2609 --fit   # the weights of `splicing`

MATERIAL has a folder for each speaker with recordings (``NAME.flac`` or ``.wav``) and what they say (``NAME.txt``). The
voice of a speaker is its first two recordings; the others are attempts, cut to at most eight seconds, and the phrase is
what they say. So the phrases are real sentences, not those that a challenge makes up; they are harder, because their
words are shorter. Kinds:

- honest: the speaker says the phrase; honest, room: the same in a small room (RT60 0.35 s), a tilted microphone, noise
  at 25 dB SNR, mp3. Refused ones count as errors.
- other words: the speaker says another phrase (a replay of an older answer is that, too).
- other speaker: somebody else says the phrase.
- imitation: somebody else says the phrase, converted to the voice by the engine ``instant``, without watermark, pitch
  moved to the voice's; half of them with index rate 1.
- cut: 14 to 20 words of the speaker from different recordings that the library doesn't have, put together with
  cross-fades of 10 or 25 ms or with room noise between them, level matched.

`--blocklist`: the distributions of similarities of recordings to voice prints, of the same and of other people.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import fftconvolve, lfilter

import understudy as us
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices import speaker
from understudy.voices.consent import phrase, splicing
from understudy.voices.consent.phrase import RATE, Samples, Spoken
from understudy.voices.consent.recording import SHORTEST, Known, examine

LONGEST = 8.0  # seconds of an attempt


@dataclass(frozen=True)
class Attempt:
    """A recording of `speaker` and what it says, and where."""

    speaker: str
    text: str
    sound: Samples
    said: list[Spoken]


@dataclass(frozen=True)
class Trial:
    """`kind`, the `voice` that it is tried against, the phrase that was asked for, and the recording."""

    kind: str
    voice: str
    text: str
    sound: Samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=Path)
    parser.add_argument("--speakers", nargs="+", required=True)
    parser.add_argument("--attempts", type=int, default=8, help="most attempts of a speaker")
    parser.add_argument("--cuts", type=int, default=6, help="cut phrases for each speaker")
    parser.add_argument("--imitations", type=int, default=3, help="imitations of each speaker")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--blocklist", action="store_true")
    arguments = parser.parse_args()
    folders = [arguments.material / name for name in arguments.speakers]
    voices = {folder.name: [_sound(file) for file in _files(folder)[:2]] for folder in folders}
    if arguments.blocklist:
        similarities(voices, {folder.name: [_sound(file) for file in _files(folder)[2:]] for folder in folders})
        return
    attempts = [attempt for folder in folders for attempt in islice(attempts_of(folder), arguments.attempts)]
    chance = random.Random(0)
    if arguments.fit:
        fit(attempts, list(cuts(attempts, voices, arguments.cuts, chance)))
        return
    with tempfile.TemporaryDirectory() as folder:
        made = [*plain(attempts, chance), *cuts(attempts, voices, arguments.cuts, chance)]
        names = dict.fromkeys(trial.kind for trial in made)
        kinds = [[trial for trial in made if trial.kind == name] for name in names]
        imitated = imitations(attempts, voices, arguments.imitations, Path(folder), chance)
        # by turns, so that a run that is stopped has some of each kind
        turns = chain.from_iterable(zip_longest(*kinds, imitated))
        judge((trial for trial in turns if trial is not None), voices, Context(Path(folder)))


def judge(trials: Iterable[Trial], voices: dict[str, list[Samples]], context: Context) -> None:
    """Print each trial's outcome, and how many of each kind were refused, and why."""
    known = {name: Known.of([Audio(one[None], RATE) for one in sounds]) for name, sounds in voices.items()}
    reasons: dict[str, list[str]] = {}
    for trial in trials:
        answer = examine(context, Audio(trial.sound[None], RATE), trial.text, known[trial.voice])
        code = "" if answer.refusal is None else answer.refusal.code.removeprefix("consent-recording-")
        reasons.setdefault(trial.kind, []).append(code)
        print(f"{trial.kind}, {trial.voice}: {code or 'accepted'} {dict(answer.figures)}", file=sys.stderr, flush=True)
    print(f"{'kind':16} {'trials':>6} {'refused':>8}  by")
    for kind, codes in reasons.items():
        refused = [code for code in codes if code]
        why = ", ".join(f"{code} {refused.count(code)}" for code in dict.fromkeys(sorted(refused)))
        print(f"{kind:16} {len(codes):6} {len(refused) / len(codes):8.1%}  {why}")


def plain(attempts: Sequence[Attempt], chance: random.Random) -> Iterator[Trial]:
    """Honest attempts, other words, other speakers."""
    for number, one in enumerate(attempts):
        yield Trial("honest", one.speaker, one.text, one.sound)
        yield Trial("honest, room", one.speaker, one.text, in_a_room(one.sound, number))
        another = chance.choice([other for other in attempts if other.text != one.text])
        yield Trial("other words", one.speaker, another.text, one.sound)
        names = sorted({other.speaker for other in attempts} - {one.speaker})
        yield Trial("other speaker", chance.choice(names), one.text, one.sound)


def cuts(
    attempts: Sequence[Attempt], voices: dict[str, list[Samples]], count: int, chance: random.Random
) -> Iterator[Trial]:
    """Phrases put together from words of the speaker."""
    for name in voices:
        pieces = [(number, word) for number, one in enumerate(attempts) if one.speaker == name for word in one.said]
        sounds = {number: one.sound for number, one in enumerate(attempts)}
        for number in range(count):
            yield Trial("cut", name, *put_together(pieces, sounds, number, chance))


def put_together(
    pieces: Sequence[tuple[int, Spoken]], sounds: dict[int, Samples], number: int, chance: random.Random
) -> tuple[str, Samples]:
    """Words from different recordings in a row: the text and the sound. `number` chooses how they are joined."""
    usable = [(place, word) for place, word in pieces if 0.08 < word.stop - word.start < 0.9]
    chosen: list[tuple[int, Spoken]] = []
    for turn in range(chance.randint(14, 20)):
        fitting = [one for one in usable if (len(one[1].word) >= 5) == (turn % 2 == 0)] or usable
        chosen.append(chance.choice([one for one in fitting if not chosen or one[0] != chosen[-1][0]] or fitting))
    fade = round((0.01, 0.01, 0.025)[number % 3] * RATE)
    tone = quietest(sounds[chosen[0][0]])
    parts = [sounds[place][round(word.start * RATE) : round(word.stop * RATE)] for place, word in chosen]
    level = float(np.median([rms(part) for part in parts]))
    result = tone
    for (place, word), part in zip(chosen, parts, strict=True):
        start, stop = max(0, round(word.start * RATE) - fade // 2), round(word.stop * RATE) + fade // 2
        result = faded(result, sounds[place][start:stop] * np.float32(level / rms(part)), fade)
        if number % 3 == 1:
            gap = round(chance.uniform(0.04, 0.15) * RATE)
            result = faded(result, np.tile(tone, 1 + gap // len(tone))[: gap + fade], fade)
    return " ".join(word.word for _, word in chosen), faded(result, tone, fade)


def imitations(
    attempts: Sequence[Attempt], voices: dict[str, list[Samples]], count: int, folder: Path, chance: random.Random
) -> Iterator[Trial]:
    """Attempts of others, converted by the engine ``instant``."""
    session = us.Session(voices=folder / "voices", cache=folder / "cache")
    for name, sounds in voices.items():
        session.voices.add(name, [(sound, RATE) for sound in sounds], consent="granted")

    def median(name: str) -> float:
        reach = session.voices.get(name).manifest.pitch_range
        return 200.0 if reach is None else reach.median

    for turn in range(count):
        for name in voices:
            one = chance.choice([other for other in attempts if other.speaker != name])
            higher = round(12 * np.log2(median(name) / median(one.speaker)))
            settings: dict[str, object] = {"transpose": int(higher), "conversion.index_rate": (0.5, 1.0)[turn % 2]}
            unmarked = {"provenance.watermark": False, "provenance.sign": False}
            made = session.convert((one.sound, RATE), voice=name, settings=settings | unmarked)
            sound = soxr.resample(made.audio.read()[0], made.audio.rate, RATE)
            yield Trial("imitation", name, one.text, np.asarray(sound, np.float32))


def fit(attempts: Sequence[Attempt], trials: Sequence[Trial]) -> None:
    """Logistic regression of places between words of honest against cut recordings; prints the constants."""
    from sklearn.linear_model import LogisticRegression

    rooms = [(one.text, in_a_room(one.sound, number)) for number, one in enumerate(attempts)]
    honest = [splicing.features(one.sound, one.said) for one in attempts]
    honest += [splicing.features(sound, phrase.spoken(text, sound)) for text, sound in rooms]
    cut = [splicing.features(one.sound, phrase.spoken(one.text, one.sound)) for one in trials]
    rows = np.concatenate([*honest, *cut])
    made = np.concatenate([np.zeros(sum(map(len, honest))), np.ones(sum(map(len, cut)))])
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit((rows - mean) / deviation, made)
    for name, values in (("MEAN", mean), ("DEVIATION", deviation), ("WEIGHTS", model.coef_[0])):
        print(f"{name}: {' '.join(f'{value:.3g}' for value in values)}")
    print(f"BIAS: {float(model.intercept_[0]):.4f}")


def similarities(voices: dict[str, list[Samples]], others: dict[str, list[Samples]]) -> None:
    """Print which share of recordings is as similar to a print as a threshold, of the same and of other people."""
    prints = {name: speaker.together(np.stack([_embedding(one) for one in sounds])) for name, sounds in voices.items()}
    same: list[float] = []
    other: list[float] = []
    for name, sounds in others.items():
        for embedding in map(_embedding, sounds):
            for listed, one in prints.items():
                (same if listed == name else other).append(speaker.similarity(embedding, one))
    print(f"{len(same)} recordings of the people listed, {len(other)} of others")
    for threshold in (0.7, 0.72, 0.75, 0.78, 0.8, 0.82, 0.85):
        missed, wrong = np.mean(np.array(same) < threshold), np.mean(np.array(other) >= threshold)
        print(f"threshold {threshold}: missed {missed:.1%}, refused by mistake {wrong:.2%}")


def attempts_of(folder: Path) -> Iterator[Attempt]:
    """The recordings after the first two, up to the last word within `LONGEST`; those with words that the dictionary
    doesn't have, with fewer than eight words, or too short for an answer, are left out."""
    for file in _files(folder)[2:]:
        text, sound = file.with_suffix(".txt").read_text("utf-8").strip().lower(), _sound(file)
        try:
            said = [word for word in phrase.spoken(text, sound) if word.stop < LONGEST]
        except KeyError:
            continue
        if len(said) >= 8 and said[-1].stop >= SHORTEST:
            stop = round((said[-1].stop + 0.05) * RATE)
            yield Attempt(folder.name, " ".join(word.word for word in said), sound[:stop], said)


def in_a_room(sound: Samples, seed: int) -> Samples:
    noise = np.random.default_rng(seed)
    count = round(0.35 * RATE)
    tail = noise.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: RATE // 200] = 0
    wet = fftconvolve(sound, tail)[: len(sound)]
    wet = sound + 0.7 * wet * rms(sound) / rms(wet)
    wet = lfilter([1, -0.35 if seed % 2 else 0.35], [1], wet)
    wet = wet + noise.standard_normal(len(wet)) * rms(wet) * 10 ** (-25 / 20)
    file = io.BytesIO()
    soundfile.write(file, (0.5 * wet / np.abs(wet).max()).astype(np.float32), RATE, format="MP3")
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0][: len(sound)])


def quietest(sound: Samples) -> Samples:
    """The quietest tenth of a second."""
    starts = range(0, len(sound) - RATE // 10, RATE // 40)
    start = min(starts, key=lambda at: rms(sound[at : at + RATE // 10]))
    return sound[start : start + RATE // 10]


def faded(first: Samples, second: Samples, count: int) -> Samples:
    """`second` after `first`, with a cross-fade of `count` samples."""
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    middle = first[-count:] * (1 - ramp) + second[:count] * ramp
    return np.concatenate([first[:-count], middle, second[count:]])


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def _embedding(sound: Samples) -> speaker.Embedding:
    return speaker.embed(Audio(sound[None, : round(LONGEST * RATE)], RATE))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".flac", ".wav"))


def _sound(file: Path) -> Samples:
    sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    return np.asarray(soxr.resample(mono, rate, RATE) if rate != RATE else mono, np.float32)


if __name__ == "__main__":
    main()
