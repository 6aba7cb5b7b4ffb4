"""Accuracy of the pitch trackers on singing whose pitch is known.

    python benchmarks/pitch.py [--trackers swift-f0 praat ...] [--rmvpe rmvpe.pt]

Four synthesised singers, from a bass at 65 Hz to a soprano at 1400 Hz, sing a random melody of vowels, consonants and
breaths with glides, vibrato and jitter: clean, with reverb, in noise, and over instruments at three levels. All random
numbers are seeded: the same machine prints the same table, except for the seconds.

Columns, over all four singers: RPA, the share of voiced frames within 50 cents (a frame tracked as unvoiced is a miss);
octave, among frames voiced on both sides, the share that is off by one or more octaves, to within a semitone; recall,
the share of voiced frames tracked as voiced; false, the share of unvoiced frames tracked as voiced; and CPU seconds per
30 s of sound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.samples import Audio
from understudy.choices import SingleTracker
from understudy.context import Context
from understudy.errors import UnderstudyError

RATE = 44100
SECONDS = 6.0  # per singer
RANGES = {"bass": (65, 260), "tenor": (130, 520), "alto": (175, 700), "soprano": (350, 1400)}  # Hz
VOWELS = np.array(  # centres of the first four formants in Hz, of a, e, i, o, u
    [[730, 1090, 2440, 3400], [530, 1840, 2480, 3500], [270, 2290, 3010, 3700], [570, 840, 2410, 3300],
     [300, 870, 2240, 3300]], float,
)  # fmt: skip
WIDTHS = np.array([80.0, 100, 140, 200])  # Hz

Wave = NDArray[np.float64]


def sing(low: float, high: float, seconds: float, seed: int) -> tuple[Wave, Wave]:
    """A singer between `low` and `high` Hz: the sound at `RATE`, and its f0 per sample, 0 where unvoiced."""
    rng = np.random.default_rng(seed)
    length = int(seconds * RATE)
    cents, level, hiss = np.zeros(length), np.zeros(length), np.zeros(length)
    formants = np.zeros((4, length))
    stretch = rng.uniform(0.95, 1.2)  # of the vocal tract
    pitch, at = rng.uniform(0.3, 0.7), 0
    octaves = np.log2(high / low)
    while at < length:
        stop = min(length, at + int(rng.uniform(0.12, 1.2) * RATE))
        t = np.arange(stop - at) / RATE
        pitch = float(np.clip(0.5 + 0.5 * (pitch - 0.5) + rng.normal(0, 0.3), 0, 1))
        note = round(pitch * octaves * 12) * 100
        scoop = rng.choice([0, -150, 60]) * np.exp(-t / 0.04)
        vibrato = rng.uniform(20, 70) * np.clip((t - 0.25) / 0.3, 0, 1) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * t)
        cents[at:stop] = note + scoop + vibrato
        loud = 10 ** (rng.uniform(-15, 0) / 20)
        consonant = rng.choice(["none", "voiced", "fricative", "stop", "breath"], p=[0.25, 0.25, 0.2, 0.15, 0.15])
        gap = min({"none": 0.0, "voiced": 0.06, "fricative": 0.11, "stop": 0.08, "breath": 0.8}[consonant], 0.6 * t[-1])
        level[at:stop] = loud
        if consonant == "voiced":
            level[at:stop][t < gap] *= 0.2
        elif consonant != "none":
            level[at:stop][t < gap] = 0
        if consonant == "fricative":
            hiss[at:stop] = 0.25 * loud * (t < gap)
        elif consonant == "breath":
            hiss[at:stop] = 0.05 * (t > 0.1) * (t < gap)
        elif consonant == "stop":
            hiss[at:stop] = 0.3 * loud * (t > gap - 0.015) * (t < gap)
        formants[:, at:stop] = (VOWELS[rng.integers(len(VOWELS))] * stretch)[:, None]
        at = stop

    def smooth(signal: Wave, seconds: float) -> Wave:
        window = np.hanning(int(seconds * RATE) | 1)
        ends = np.pad(signal, len(window) // 2, mode="edge")
        return np.asarray(scipy.signal.fftconvolve(ends, window / window.sum(), mode="valid"))

    jitter = smooth(rng.standard_normal(length), 0.02) * 0.02**0.5 * RATE**0.5 * 8
    f0 = low * 2 ** ((smooth(cents, 0.07) + jitter) / 1200)
    level, hiss = np.maximum(smooth(level, 0.03), 0), np.maximum(smooth(hiss, 0.012), 0)
    formants = np.stack([smooth(track, 0.06) for track in formants])
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    slope = rng.uniform(1.2, 1.8)  # of the glottal source: 7 to 11 dB per octave
    voice = np.zeros(length)
    for harmonic in range(1, int(12000 / low)):
        hz = harmonic * f0
        audible = np.clip((14000 - hz) / 2000, 0, 1)
        if not audible.any():
            break
        gain = sum(
            1 / (1 + ((hz - centre) / width) ** 2)
            for centre, width in zip(formants, WIDTHS[:, None] + 0 * formants, strict=True)
        )
        voice += np.sin(harmonic * phase) * audible * (0.03 + gain) / harmonic**slope
    noise = rng.standard_normal(length)
    breathy = 0.02 * scipy.signal.sosfilt(scipy.signal.butter(2, [800, 6000], "band", fs=RATE, output="sos"), noise)
    sharp = scipy.signal.sosfilt(scipy.signal.butter(2, 3500, "high", fs=RATE, output="sos"), noise)
    sound = level * (voice / np.abs(voice).max() + breathy) + 0.3 * hiss * sharp
    return sound, np.where(level > 0.03, f0, 0)


def instruments(seconds: float, seed: int) -> Wave:
    """Instruments: a saw-tooth bass, chords of three decaying notes, a hi-hat and a drum."""
    rng = np.random.default_rng(seed)
    length, beat = int(seconds * RATE), int(0.25 * RATE)
    sound = np.zeros(length + 8 * beat)
    t = np.arange(4 * beat) / RATE
    for number, at in enumerate(range(0, length, beat)):
        if number % 4 == 0:
            root = 55 * 2 ** (rng.integers(0, 12) / 12)
        for hz, loud, decay in (
            (root, 0.5, 3),
            *((root * 2 ** (2 + step / 12), 0.3, 2) for step in (0, rng.choice([3, 4]), 7)),
        ):
            if number % 2 == 0 or hz == root:
                tone = scipy.signal.sawtooth(2 * np.pi * hz * t, 0.9) * np.exp(-decay * t) * np.minimum(t / 0.005, 1)
                sound[at : at + len(t)] += loud * tone
        sound[at : at + len(t)] += 0.15 * rng.standard_normal(len(t)) * np.exp(-60 * t)
        if number % 2 == 0:
            sound[at : at + len(t)] += np.sin(2 * np.pi * 60 * t * np.exp(-4 * t)) * np.exp(-18 * t)
    return sound[:length]


def hall(sound: Wave, seed: int) -> Wave:
    """The sound with the reverb of a hall (1.2 s) at -8 dB."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(1.5 * RATE)) / RATE
    response = rng.standard_normal(len(t)) * 10 ** (-3 * t / 1.2) * (t > 0.02)
    wet = scipy.signal.fftconvolve(sound, response)[: len(sound)]
    return sound + at_level(wet, sound, -8)


def pink(length: int, seed: int) -> Wave:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    return np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), length)


def at_level(sound: Wave, against: Wave, decibels: float) -> Wave:
    """`sound`, scaled to an RMS of `decibels` above that of `against`."""
    return sound * float(np.sqrt(np.mean(against**2) / np.mean(sound**2)) * 10 ** (decibels / 20))


CONDITIONS: dict[str, Callable[[Wave], Wave]] = {
    "clean": lambda voice: voice,
    "reverb, -8 dB": lambda voice: hall(voice, 2),
    "noise, -10 dB": lambda voice: voice + at_level(pink(len(voice), 3), voice, -10),
    "instruments, -20 dB": lambda voice: voice + at_level(instruments(len(voice) / RATE, 4), voice, -20),
    "instruments, -10 dB": lambda voice: voice + at_level(instruments(len(voice) / RATE, 4), voice, -10),
    "instruments, -4 dB": lambda voice: voice + at_level(instruments(len(voice) / RATE, 4), voice, -4),
}


def score(found: PitchTrack, truth: NDArray[np.float64]) -> tuple[int, int, int, int, int, int]:
    """Frame counts: within 50 cents, octave errors, voiced on both sides, truly voiced, falsely voiced, truly
    unvoiced."""
    voiced, both = truth > 0, (truth > 0) & found.voiced
    cents = 1200 * np.log2(found.f0[both] / truth[both])
    octaves = np.round(cents / 1200)
    wrong = (octaves != 0) & (np.abs(cents - 1200 * octaves) < 100)
    false = int((found.voiced & ~voiced).sum())
    return int((np.abs(cents) < 50).sum()), int(wrong.sum()), len(cents), int(voiced.sum()), false, int((~voiced).sum())


def main() -> None:
    names = (*get_args(SingleTracker), "median")
    parser = argparse.ArgumentParser(description="Accuracy of the pitch trackers on singing whose pitch is known.")
    parser.add_argument("--trackers", nargs="+", choices=names, default=names)
    parser.add_argument("--confidence", type=float, default=0.5)
    parser.add_argument("--rmvpe", type=Path, help="rmvpe.pt; without it that tracker is skipped")
    arguments = parser.parse_args()
    context = Context(Path("."))
    singers = [sing(low, high, SECONDS, seed) for seed, (low, high) in enumerate(RANGES.values())]
    # frames are centred: one more frame than hops fit, the last one at the end of the sound
    truths = [np.append(f0, 0)[np.arange(len(f0) * 200 // RATE + 1) * RATE // 200] for _, f0 in singers]
    print(f"{'condition':20}{'tracker':10}{'RPA':>7}{'octave':>8}{'recall':>8}{'false':>7}{'CPU s':>7}")
    for condition, change in CONDITIONS.items():
        sounds = [Audio.of(change(sound) * 0.3, RATE) for sound, _ in singers]
        for name in arguments.trackers:
            settings = PitchSettings(tracker=name, confidence=arguments.confidence)
            try:
                track(context, Audio.silence(1, RATE, RATE), settings, arguments.rmvpe)  # load it
            except UnderstudyError as missing:
                print(f"{condition:20}{name:10}{missing.message}")
                continue
            began = time.process_time()
            counts = np.sum(
                [
                    score(track(context, sound, settings, arguments.rmvpe), truth)
                    for sound, truth in zip(sounds, truths, strict=True)
                ],
                axis=0,
            )
            cpu = (time.process_time() - began) * 30 / (SECONDS * len(sounds))
            right, wrong, both, voiced, false, unvoiced = (float(count) for count in counts)
            print(
                f"{condition:20}{name:10}{right / voiced:7.1%}{wrong / both:8.2%}{both / voiced:8.1%}"
                f"{false / unvoiced:7.1%}{cpu:7.2f}"
            )


if __name__ == "__main__":
    main()
