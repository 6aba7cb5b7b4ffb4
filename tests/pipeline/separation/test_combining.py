"""One set of stems out of several: what each way of combining gives on sounds whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation import blockwise
from understudy.pipeline.separation.combining import combine
from understudy.pipeline.separation.settings import Band, EnsembleSettings, MemberWeight

RATE = 44100
WAYS = [(how, domain) for how in ("average", "median", "min", "max") for domain in ("waveform", "spectrogram")]


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def noise(seed: int, frames: int = 30_000) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal((2, frames))).astype(np.float32)


def combined(folder: Path, sounds: dict[str, Samples], **chosen: Any) -> Samples:
    members = {name: {"vocals": Audio(samples, RATE)} for name, samples in sounds.items()}
    found = combine(Context(folder), members, EnsembleSettings(**chosen))
    assert list(found) == ["vocals"]
    return found["vocals"].read().samples


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockwise, "BLOCK", 1 << 14)


@pytest.mark.parametrize(("how", "domain"), WAYS)
def test_models_that_agree_change_nothing(tmp_path: Path, how: str, domain: str) -> None:
    sound = noise(0)
    found = combined(tmp_path, {"a": sound, "b": sound, "c": sound}, combine=how, domain=domain)
    assert decibels(found - sound) < decibels(sound) - 100


@pytest.mark.parametrize(("how", "domain"), WAYS)
@settings(max_examples=5)
@given(gains=st.lists(st.floats(0.1, 4), min_size=2, max_size=5))
def test_of_one_sound_at_several_gains(tmp_path: Path, how: str, domain: str, gains: list[float]) -> None:
    sound = noise(1, 9_000)
    found = combined(tmp_path, {str(n): sound * np.float32(g) for n, g in enumerate(gains)}, combine=how, domain=domain)
    ways: dict[str, Any] = {"average": np.mean, "median": np.median, "min": np.min, "max": np.max}
    wanted = ways[how](gains)
    assert decibels(found - np.float32(wanted) * sound) < decibels(sound) - 90


def test_the_average_is_weighted(tmp_path: Path) -> None:
    a, b = noise(0), noise(1)
    found = combined(tmp_path, {"a": a, "b": b}, weights={"a": MemberWeight(weight=3)})
    np.testing.assert_allclose(found, (3 * a + b) / 4, atol=1e-6)


def test_a_band_belongs_to_the_model_that_is_named_for_it(tmp_path: Path) -> None:
    time = np.arange(40_000) / RATE
    low, high = (np.tile(0.2 * np.sin(2 * np.pi * f * time), (2, 1)).astype(np.float32) for f in (200, 6000))
    weights = {
        "bass": MemberWeight(bands=(Band(low=1000, weight=0),)),
        "air": MemberWeight(bands=(Band(high=1000, weight=0),)),
    }
    found = combined(tmp_path, {"bass": low + 0.5 * high, "air": high + 0.5 * low}, weights=weights)
    inside = slice(8000, -8000)
    assert decibels((found - low - high)[:, inside]) < decibels(low) - 60


@pytest.mark.parametrize("how", ["median", "min", "max"])
def test_a_model_without_weight_has_no_say(tmp_path: Path, how: str) -> None:
    a, loud = noise(0), 10 * noise(1)
    found = combined(tmp_path, {"a": a, "b": a, "c": loud}, combine=how, weights={"c": MemberWeight(weight=0)})
    np.testing.assert_allclose(found, a, atol=1e-6)


def test_a_stem_is_made_by_those_that_give_it(tmp_path: Path) -> None:
    a, b, drums = (Audio(noise(seed), RATE) for seed in range(3))
    found = combine(Context(tmp_path), {"a": {"vocals": a}, "b": {"vocals": b, "drums": drums}}, EnsembleSettings())
    np.testing.assert_allclose(found["vocals"].read().samples, (a.samples + b.samples) / 2, atol=1e-7)
    np.testing.assert_array_equal(found["drums"].read().samples, drums.samples)


def test_weights_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    sounds = {"a": noise(0), "b": noise(1)}
    with pytest.raises(UnderstudyError, match="'c'"):
        combined(tmp_path, sounds, weights={"c": MemberWeight(weight=1)})
    nobody = MemberWeight(bands=(Band(low=5000, weight=0),))
    with pytest.raises(UnderstudyError, match="no model counts for the vocals"):
        combined(tmp_path, sounds, weights={"a": nobody, "b": nobody})
