"""Quality of a separator on three synthetic songs: loud vocals, soft vocals, no vocals.

    python benchmarks/separation.py [--separator NAME ...] [--json]

Runs `understudy evaluate` on them. For real songs with known stems use that command.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from threading import Event

import numpy as np
import soundfile
from numpy.typing import NDArray

from understudy.audio.samples import Samples
from understudy.pipeline.evaluation.dataset import find_songs
from understudy.pipeline.evaluation.run import Candidate, evaluate
from understudy.pipeline.evaluation.table import as_data, text_table
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--separator", action="append")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    candidates = [Candidate(name, SeparationSettings(model=name)) for name in options.separator or ["embedded"]]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        make_songs(place / "songs")
        dataset = find_songs(place / "songs")
        executor = LocalExecutor(Store(place / "cache"), workers=options.workers)
        rows = evaluate(dataset, candidates, 2, place, executor, lambda *_: None, Event()).rows
    if options.json:
        print(json.dumps(as_data("synthetic", rows, ())))
        return
    print(text_table(rows))
    for row in rows:
        if "vocals" in row.stems:
            print(f"{row.song}: vocals found at {row.stems['vocals'].leak:.1f} dB of the song {row.reason}")


def make_songs(folder: Path, rate: int = 44100, seconds: float = 30.0) -> None:
    """Three songs of a synthetic voice with vibrato over chords, bass and drums, a folder each."""
    for name, gain in (("loud vocals", 1.0), ("soft vocals", 0.4), ("no vocals", 0.0)):
        vocals = np.repeat(gain * sung(rate, seconds)[None], 2, axis=0).astype(np.float32)
        instrumental = accompaniment(rate, seconds)
        place = folder / name
        place.mkdir(parents=True)
        for stem, sound in (("mixture", vocals + instrumental), ("vocals", vocals), ("instrumental", instrumental)):
            soundfile.write(place / f"{stem}.wav", sound.T, rate, subtype="FLOAT")


def sung(rate: int, seconds: float) -> NDArray[np.float64]:
    """A melody in vowels: 20 harmonics with 5.5 Hz vibrato under two moving formants, with a little breath, one note
    each 0.6 s and every fifth one silent."""
    random = np.random.default_rng(1)
    time_ = np.arange(round(seconds * rate)) / rate
    note = (time_ / 0.6).astype(int)
    steps = random.choice([0, 2, 4, 5, 7, 9], note[-1] + 1)
    formants = random.uniform([350, 900], [800, 2300], (note[-1] + 1, 2))
    pitch = 220 * 2 ** (steps[note] / 12) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time_))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    shape = np.clip(np.minimum(time_ % 0.6, 0.6 - time_ % 0.6) / 0.05, 0, 1) * (note % 5 != 4)
    voice = np.zeros_like(time_)
    for number in range(1, 21):
        resonance = np.exp(-(((number * pitch)[:, None] - formants[note]) ** 2) / (2 * 180.0**2)).sum(axis=1)
        voice += (0.05 + resonance) / number**0.5 * np.sin(number * phase) * (number * pitch < rate / 2)
    breath = 0.01 * random.standard_normal(len(time_))  # without any, BSSEval's filters go astray between the harmonics
    return np.asarray(0.15 * (voice + breath) * shape)


def accompaniment(rate: int, seconds: float) -> Samples:
    """Four chords of 2 s at the sides, a bass in the middle, and a drum pattern, repeated every 8 s."""
    random = np.random.default_rng(2)
    time_ = np.arange(round(seconds * rate)) / rate
    bar = (time_ / 2).astype(int) % 4
    root = np.array([110.0, 87.31, 130.81, 98.0])[bar]
    left, right, middle = np.zeros((3, len(time_)))
    for step, side in ((0, left), (4, right), (7, left), (12, right)):
        for number in range(1, 9):
            frequency = 2 * root * 2 ** (step / 12) * number
            side += 0.05 / number * np.sin(2 * np.pi * frequency * (time_ % 2)) * (frequency < rate / 2)
    middle += 0.2 * np.sin(2 * np.pi * root / 2 * (time_ % 2)) * np.exp(-1.5 * (time_ % 0.5))
    hit = time_ % 0.5
    snare = (time_ / 0.5).astype(int) % 2 == 1
    noise = random.standard_normal(round(0.5 * rate) + 1)[np.minimum((hit * rate).astype(int), round(0.5 * rate))]
    middle += np.where(snare, 0.2 * noise * np.exp(-30 * hit), 0.5 * np.sin(2 * np.pi * 55 * hit) * np.exp(-15 * hit))
    middle *= np.clip(hit / 0.002, 0, 1)
    return np.stack([left + 0.4 * right + middle, right + 0.4 * left + middle]).astype(np.float32)


if __name__ == "__main__":
    main()
