from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.audio.ambience import NONE, missing_ambience
from understudy.audio.effects.reverb import reverberate, room

RATE, HOP = 16000, 160


def notes(seed: int) -> NDArray[np.float32]:
    """Twenty seconds of short notes with pauses, each with the soft end of a voice."""
    random = np.random.default_rng(seed)
    samples = np.zeros(20 * RATE)
    place = 0.2
    while place < 18.5:
        length = random.uniform(0.2, 0.7)
        time = np.arange(round((length + 0.3) * RATE)) / RATE
        envelope = np.minimum(1, time / 0.03) * 10 ** (-np.maximum(0, time - length) * 8)
        pitch = random.uniform(150, 500)
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
        first = round(place * RATE)
        samples[first : first + len(time)] += 0.2 * random.uniform(0.5, 1) * envelope * tone
        place += length + random.uniform(0.2, 1.2)
    return samples.astype(np.float32)


def energies(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.square(samples, dtype=np.float64).reshape(-1, HOP).mean(axis=1)


@pytest.mark.parametrize("decay", [0.6, 1.5])
@pytest.mark.parametrize("share", [0.04, 0.15])
def test_a_room_is_found(share: float, decay: float) -> None:
    ratios = []
    for seed in (1, 5, 6, 7):
        dry = notes(seed)
        echo = np.sqrt(share) * reverberate(dry, room(RATE, decay, seed + 3))
        wet = np.sqrt(1 - share) * dry + echo
        found = missing_ambience(energies(wet), energies(dry), HOP / RATE)
        assert decay / 1.5 < found.decay < decay * 1.5
        ratios.append(found.share / (np.square(echo).sum() / np.square(wet).sum()))
    assert 1 / 2.5 < np.exp(np.mean(np.log(ratios))) < 2.5


def test_none_is_added_to_a_dry_recording() -> None:
    dry = notes(2)
    uneven = dry * (1 + 0.2 * np.sin(np.arange(len(dry)) / RATE)).astype(np.float32)
    assert missing_ambience(energies(uneven), energies(dry), HOP / RATE) == NONE


def test_none_is_added_to_a_copy_that_has_it_already() -> None:
    dry = notes(3)
    wet = 0.95 * dry + 0.3 * reverberate(dry, room(RATE, 1.2, 3))
    other = 0.95 * dry + 0.3 * reverberate(dry, room(RATE, 1.2, 4))
    assert missing_ambience(energies(wet), energies(other), HOP / RATE) == NONE


def test_steady_noise_is_no_room() -> None:
    dry = notes(4)
    noisy = dry + np.random.default_rng(0).standard_normal(len(dry)).astype(np.float32) * 0.003
    assert missing_ambience(energies(noisy), energies(dry), HOP / RATE) == NONE


def test_silence_has_no_room() -> None:
    nothing = np.zeros(1000)
    assert missing_ambience(nothing, nothing, 0.01) == NONE
    assert missing_ambience(np.zeros(0), np.zeros(0), 0.01) == NONE
