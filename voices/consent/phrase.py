"""The phrase of a challenge, and whether a recording says it.

The phrase is made of random words of everyday English, so that nobody has a recording of it. Each of them is then
recognised against other words: the recogniser (Huggins-Daines et al., "PocketSphinx", ICASSP 2006) gets a grammar in
which every place of the sentence may hold the right word or one of seven others. It finds the right one by chance in an
eighth of the places, so that a recording of something else can't pass, and what it says is a count and not a
likelihood, which would depend on microphone and room.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from understudy.packages import package_missing

RATE = 16000  # Hz, of the recogniser
FRAMES = 100  # of the recogniser, a second
SENTENCES = 2
OTHERS = 7  # words beside the right one in each place
LEAST_PHONES = 4  # shorter words tell too little

_PAUSE = 30  # frames
_FORM = ("adjectives", "nouns", "verbs", "adjectives", "nouns", "places", "adjectives", "nouns")
_WITH_ARTICLE = ("adjectives",)

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Spoken:
    """A word of the phrase in a recording: `start` and `stop` in seconds, `heard`: what was recognised there, None for
    a word that isn't compared with others."""

    word: str
    start: float
    stop: float
    heard: str | None


def made_up() -> str:
    """A phrase that nobody has heard before: two sentences of 2^46 each."""
    choose = secrets.SystemRandom().choice
    sentences = []
    for _ in range(SENTENCES):
        words = []
        for kind in _FORM:
            words += [*(["the"] if kind in _WITH_ARTICLE else []), choose(_words()[kind])]
        sentences.append(" ".join(words))
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def words_of(phrase: str) -> list[str]:
    """The words of a phrase as the dictionary of the recogniser has them."""
    return phrase.lower().replace(".", " ").replace(",", " ").split()


def spoken(phrase: str, sound: Samples) -> list[Spoken]:
    """Where in `sound` (mono, `RATE`) each word of `phrase` is, and what is heard there; empty where the recording
    can't be the phrase at all, for example because it is too short. The words must be in the recogniser's dictionary.

    The same phrase and sound give the same result.
    """
    words = words_of(phrase)
    lines, places = [], []
    rest = random.Random(hashlib.sha256(phrase.encode()).digest())
    for number, word in enumerate(words):
        choices = [word, *(_others(word, words, rest) if len(_phones(word)) >= LEAST_PHONES else [])]
        places.append(choices)
        lines.append(f"<w{number}> = {' | '.join(choices)};")
    sentence = " ".join(f"<w{number}>" for number in range(len(words)))
    grammar = "\n".join(["#JSGF V1.0;", "grammar phrase;", *lines, f"public <phrase> = {sentence};"])
    found = _recognised(grammar, sound)
    if len(found) != len(words):
        return []
    return [
        Spoken(word, start / FRAMES, stop / FRAMES, heard if len(choices) > 1 else None)
        for word, choices, (heard, start, stop) in zip(words, places, found, strict=True)
    ]


def _recognised(grammar: str, sound: Samples) -> list[tuple[str, int, int]]:
    """The words with the frames from which and up to which they last."""
    decoder = _decoder()
    decoder.add_jsgf_string("phrase", grammar)
    decoder.activate_search("phrase")
    decoder.start_utt()
    faint = np.random.default_rng(0).normal(0, 1e-4, _PAUSE * RATE // FRAMES).astype(np.float32)
    # a recording that ends with its last word would leave no time for the end of the sentence
    padded = np.concatenate([faint, sound, faint])
    decoder.process_raw((np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    segments = [(one.word, one.start_frame - _PAUSE, one.end_frame + 1 - _PAUSE) for one in decoder.seg()]
    return [(word.partition("(")[0], max(0, start), stop) for word, start, stop in segments if word[0] not in "<[(+"]


@lru_cache(maxsize=1)
def model_folder() -> Path:
    """The folder of pocketsphinx's model and dictionary. Raises ``package-missing``."""
    found = importlib.util.find_spec("pocketsphinx")
    if found is None or not found.submodule_search_locations:
        raise package_missing("pocketsphinx")
    return Path(found.submodule_search_locations[0]) / "model" / "en-us"


def _decoder() -> Any:
    """A new one each time: it adapts to what it hears, and a phrase must not be judged by the one before."""
    from pocketsphinx import Decoder

    model = model_folder()
    return Decoder(
        hmm=str(model / "en-us"), dict=str(model / "cmudict-en-us.dict"), lm=None, loglevel="FATAL", wip=1.0, lw=1.0
    )


@lru_cache(maxsize=1)
def _words() -> dict[str, list[str]]:
    text = (files("understudy.configs") / "consent_phrases.yaml").read_text("utf-8")
    return {kind: words.split() for kind, words in yaml.safe_load(text).items()}


@lru_cache(maxsize=1)
def _pronunciations() -> dict[str, tuple[str, ...]]:
    """The first pronunciation of every word of the dictionary."""
    with (model_folder() / "cmudict-en-us.dict").open(encoding="utf-8") as file:
        lines = (line.split() for line in file)
        return {line[0]: tuple(line[1:]) for line in lines if line and "(" not in line[0]}


def _phones(word: str) -> tuple[str, ...]:
    return _pronunciations()[word]


def _others(word: str, phrase: Sequence[str], rest: random.Random) -> list[str]:
    """Words to take `word` for: from our own list, about as long, and none of the phrase."""
    length = len(_phones(word))
    pool: Iterable[str] = {other for words in _words().values() for other in words} - set(phrase)
    near = sorted(pool, key=lambda other: (abs(len(_phones(other)) - length), other))[: 12 * OTHERS]
    return rest.sample(near, OTHERS)
