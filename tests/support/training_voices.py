"""A voice with two sung recordings in a library, and settings of a short training."""

from __future__ import annotations

from pathlib import Path

import soundfile

from tests.support.training_data import sung
from understudy.context import scratch_context
from understudy.voices import library
from understudy.voices.voice import Voice

SETTINGS = {
    "size": "tiny", "embedder": "cepstral", "most_steps": 4, "evaluate_every": 2, "batch_size": 2,
    "learning_rate": 1e-3, "save_minutes": 0.01,
}  # fmt: skip


def sung_voice(root: Path, name: str = "nova", seconds: float = 12.0) -> Voice:
    """An instant voice of two recordings, of so many seconds and two thirds of it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for number, length in enumerate((seconds, seconds * 2 / 3)):
        sound, _ = sung(length, seed=number)
        files.append(root.parent / f"take {number}.wav")
        soundfile.write(files[-1], sound.samples.T, sound.rate)
    with scratch_context() as context:
        return library.add(root, name, files, "self", context)[0]
