"""Small songs with known stems on disk, and a small network to train on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from understudy.pipeline.separation.embedded.network import Shape
from understudy.pipeline.separation.training.train import TrainingSettings

RATE = 44100
SMALL = Shape((8, 8), 8, 4)


def settings(steps: int, **others: float | int) -> TrainingSettings:
    return TrainingSettings(**{  # type: ignore[arg-type]
        "steps": steps, "batch": 2, "frames": 32, "warm_up": 2, "save_every": 4, "shape": SMALL, **others,
    })  # fmt: skip


def write_songs(folder: Path, count: int = 2, seconds: float = 3.0, rate: int = RATE) -> Path:
    """A gliding harmonic tone as the voice, noise bursts and a held chord as the band."""
    time = np.arange(round(seconds * rate)) / rate
    for number in range(count):
        random = np.random.default_rng(number)
        phase = 2 * np.pi * np.cumsum(200 * 2 ** (0.3 * np.sin(2 * np.pi * (0.7 + 0.2 * number) * time))) / rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 9)) * 0.1
        drums = 0.2 * random.standard_normal(len(time)) * np.exp(-30 * (time % 0.5))
        chord = sum(0.05 * np.sin(2 * np.pi * f * time) for f in (220, 277, 330))
        stems = {
            "vocals": np.stack([voice, voice]),
            "drums": np.stack([drums, drums]),
            "bass": np.zeros((2, len(time))),
            "other": np.stack([chord, 0.5 * chord]),
        }
        place = folder / f"song {number}"
        place.mkdir(parents=True)
        for name, stem in {**stems, "mixture": sum(stems.values())}.items():
            soundfile.write(place / f"{name}.wav", stem.T, rate, subtype="FLOAT")
    return folder
