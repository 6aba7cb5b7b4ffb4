"""Small songs with known stems, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 8000
SECONDS = 3.0

Floats = NDArray[np.float64]


def stem(seed: int, seconds: float = SECONDS, rate: int = RATE) -> Floats:
    """``[2, frames]`` of noise, each seed with a colour of its own."""
    random = np.random.default_rng(seed)
    frames = round(seconds * rate)
    white = random.standard_normal((2, frames))
    shape = np.exp(-np.abs(np.arange(frames // 2 + 1) / frames * rate / 1000 - 0.5 * (seed % 7)))
    return np.asarray(0.1 * np.fft.irfft(np.fft.rfft(white) * shape, frames))


def write(folder: Path, rate: int = RATE, **sounds: Floats) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound.T, rate, subtype="FLOAT")
    return folder


def song(folder: Path, seed: int = 0) -> Path:
    """A song in the layout of MUSDB18-HQ."""
    parts = {name: stem(10 * seed + number) for number, name in enumerate(("vocals", "drums", "bass", "other"))}
    return write(folder, RATE, mixture=np.sum(list(parts.values()), axis=0), **parts)
