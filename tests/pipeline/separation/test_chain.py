"""The steps of the chain on sung material whose truth is known, taken apart by imitated models that err."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve

from tests.support import signals
from understudy.audio.samples import Audio, Samples
from understudy.audio.spectrogram import Grid, analyse, resynthesize
from understudy.context import Context
from understudy.pipeline.separation.chain import STEPS, sings, taken_off, untouched, used

RATE = 22050
GRID = Grid.of(RATE, 0.093, RATE / 2)


def sung(shift: float = 0.0, seed: int = 0) -> Samples:
    notes = [
        signals.Note(None if note.pitch is None else note.pitch + shift, note.seconds, note.vowel, note.onset)
        for note in signals.PHRASE
    ]
    sound, _ = signals.singing(notes, RATE, seed=seed)
    return np.concatenate([sound.samples, sound.samples]).astype(np.float32)


VOICE = sung()
HARMONY = sung(4, seed=5)


def reverberated(seconds: float) -> Samples:
    """Only the reverb of the voice, which takes so long to fall by 60 dB."""
    count = round(1.2 * seconds * RATE)
    tail = np.random.default_rng(1).standard_normal((2, count)) * 10 ** (-3 * np.arange(count) / (seconds * RATE))
    tail[:, : round(0.02 * RATE)] = 0
    wet = [fftconvolve(voice, response)[: voice.size] for voice, response in zip(VOICE, tail, strict=True)]
    return np.stack(wet).astype(np.float32)


def at(sound: Samples, decibels: float) -> Samples:
    """`sound` so loud against the voice."""
    gain = np.sqrt(np.sum(VOICE.astype(float) ** 2) / np.sum(sound.astype(float) ** 2)) * 10 ** (decibels / 20)
    return (sound * gain).astype(np.float32)


def imitated(taken: Samples, floor: float = 0.01, error: float = 1.0) -> Samples:
    """What a model keeps that knows the truth and errs: a Wiener mask whose logits are disturbed by `error`, and that
    takes the share `floor` of the voice wherever there is any."""
    voice, other = (np.sum(np.abs(analyse(sound, GRID)) ** 2, axis=0) for sound in (VOICE, taken))
    tiny = 1e-9 * voice.max()
    logits = np.log(voice + tiny) - np.log(other + floor * voice + tiny)
    logits += error * np.random.default_rng(2).standard_normal(logits.shape)
    mask = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return resynthesize(analyse(VOICE + taken, GRID) * mask, GRID, VOICE.shape[1])


def done(folder: Path, step: str, taken: Samples, kept: Samples) -> str | None:
    """Why the step was left out, None if it wasn't; what it gives is checked by the way."""
    sound = VOICE + taken
    result = taken_off(Context(folder), STEPS[step], Audio(sound, RATE), Audio(kept, RATE))
    stems = [stem.read().samples for stem in (result.kept, result.taken)]
    assert np.abs(sum(stems) - sound).max() < 1e-6
    if result.step.skipped:
        assert np.array_equal(stems[0], sound)
        assert not stems[1].any()
    return result.step.skipped


NOISE = np.random.default_rng(3).standard_normal(VOICE.shape).astype(np.float32)
NOTHING = np.zeros_like(VOICE)


@pytest.mark.parametrize(
    ("step", "sound", "level", "found"),
    [
        ("lead", HARMONY, 0, True),
        ("lead", HARMONY, -6, True),
        ("lead", HARMONY, -12, True),
        ("lead", HARMONY, -20, False),
        ("lead", HARMONY, -40, False),
        ("dereverb", reverberated(0.5), 0, True),
        ("dereverb", reverberated(0.5), -12, True),
        ("dereverb", reverberated(0.5), -24, False),
        ("dereverb", reverberated(2.0), 3, True),
        ("dereverb", reverberated(2.0), -12, True),
        ("dereverb", reverberated(2.0), -30, False),
        ("denoise", NOISE, -20, True),
        ("denoise", NOISE, -38, True),
        ("denoise", NOISE, -55, False),
    ],
)
def test_a_step_takes_what_is_there_and_leaves_what_is_not(
    tmp_path: Path, step: str, sound: Samples, level: float, found: bool
):
    taken = at(sound, level)
    floor = 0.001 if step == "denoise" else 0.01
    for kept in (VOICE, imitated(taken, floor)):
        assert (done(tmp_path, step, taken, kept) is None) == found


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_taken_off_a_dry_voice(tmp_path: Path, step: str):
    for kept in (VOICE, 0.9 * VOICE, imitated(NOTHING), imitated(NOTHING, 0.03, 1.0)):
        assert done(tmp_path, step, NOTHING, kept) == STEPS[step].nothing


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_takes_the_voice_is_left_out(tmp_path: Path, step: str):
    late = np.roll(VOICE, 300, axis=1)
    for kept in (NOTHING, 0.05 * VOICE, -VOICE, late if step == "denoise" else NOTHING):
        assert done(tmp_path, step, NOTHING, kept.astype(np.float32)) == STEPS[step].too_much
    if step == "denoise":
        assert done(tmp_path, step, NOTHING, imitated(NOTHING, 0.1, 2.0)) == STEPS[step].too_much


def test_singing_is_told_from_what_is_left_of_a_band(tmp_path: Path):
    song = np.random.default_rng(4).standard_normal((2, 20 * RATE)).astype(np.float32) * 0.1
    word = np.zeros_like(song)
    word[:, 5 * RATE : 6 * RATE] = 0.3 * VOICE[:, :RATE] / np.abs(VOICE).max()
    context = Context(tmp_path)
    assert sings(context, Audio(song, RATE), Audio(word, RATE))
    assert not sings(context, Audio(song, RATE), Audio(song * np.float32(0.02), RATE))
    assert not sings(context, Audio(song, RATE), Audio(0 * song, RATE))
    assert not sings(context, Audio(0 * song, RATE), Audio(0 * song, RATE))


def test_what_is_left_alone_is_the_very_same(tmp_path: Path):
    result = untouched(Context(tmp_path), STEPS["lead"], Audio(VOICE, RATE), "nobody sings")
    assert np.array_equal(result.kept.read().samples, VOICE)
    assert not result.taken.read().samples.any()
    assert result.step.told == "Backing vocals: not taken off the vocal, nobody sings."


@pytest.mark.parametrize(
    ("step", "stems", "counts"),
    [
        ("lead", ("lead", "backing"), "lead"),
        ("lead", ("instrumental", "vocals"), "vocals"),
        ("lead", ("backing",), "backing"),
        ("dereverb", ("reverb", "dry"), "dry"),
        ("dereverb", ("reverb",), "reverb"),
        ("denoise", ("noise",), "noise"),
        ("denoise", ("drums", "bass"), None),
    ],
)
def test_which_stem_of_a_model_counts(step: str, stems: tuple[str, ...], counts: str | None):
    assert used(STEPS[step], stems) == counts
