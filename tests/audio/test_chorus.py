"""The chorus of songs whose form is known."""

from __future__ import annotations

import numpy as np

from understudy.audio.chorus import LENGTH, find_chorus
from understudy.audio.samples import Audio
from understudy.context import scratch_context

RATE = 8000
HARMONIES = {"a": (0, 5, 3, 7), "b": (5, 7, 9, 2), "c": (8, 1, 6, 11)}


def _section(harmony: str, sung: float) -> tuple[np.ndarray, np.ndarray]:
    """20 s of four chords, each 5 s, and what is sung over them: both ``[frames]``."""
    times = np.arange(5 * RATE) / RATE
    band, voice = [], []
    for root in HARMONIES[harmony]:
        tones = [220 * 2 ** ((root + third) / 12) for third in (0, 4, 7)]
        band.append(0.1 * sum(np.sin(2 * np.pi * tone * times) for tone in tones))
        voice.append(sung * np.sin(2 * np.pi * 2 * tones[0] * times))
    return np.concatenate(band), np.concatenate(voice)


def test_the_repeated_loud_and_sung_part_is_found() -> None:
    names, chorus = "ababcb", "b"
    parts = [_section(name, 0.5 if name == chorus else 0.05) for name in names]
    band, voice = (np.concatenate(sounds) for sounds in zip(*parts, strict=True))
    song, vocals = Audio.of(band + voice, RATE), Audio.of(voice, RATE)
    with scratch_context() as context:
        found = find_chorus(context, song, vocals)
    assert found.stop - found.start == LENGTH
    assert min(abs(found.start - start) for start in (20.0, 60.0, 100.0)) <= 1.5


def test_a_short_song_is_its_own_chorus() -> None:
    sound = Audio.silence(2, 30 * RATE, RATE)
    with scratch_context() as context:
        found = find_chorus(context, sound, sound)
    assert (found.start, found.stop) == (0.0, 30.0)
