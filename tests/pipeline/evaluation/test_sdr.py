from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.pipeline.evaluation.sdr import Ratios, ratios

RATE = 8000


def noise(seed: int, seconds: float = 1.0, channels: int = 2) -> Audio:
    return Audio.of(0.1 * np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE))), RATE)


def of(truth: Audio, estimate: Audio, song: Audio | None = None) -> Ratios:
    return ratios(Context(Path()), truth, estimate, song or truth)


def test_an_error_20_db_below_is_20_db() -> None:
    truth, error = noise(1), noise(2)
    scaled = error.samples * 0.1 * np.linalg.norm(truth.samples) / np.linalg.norm(error.samples)
    found = of(truth, Audio.of(truth.samples + scaled, RATE))
    assert found.sdr == pytest.approx(20, abs=1e-3)
    assert found.si_sdr == pytest.approx(20, abs=0.1)  # the error happens to point a little along the truth


def test_half_the_gain_costs_sdr_and_not_si_sdr() -> None:
    truth = noise(1)
    found = of(truth, Audio.of(0.5 * truth.samples, RATE))
    assert found.sdr == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert found.si_sdr is not None
    assert found.si_sdr > 80


def test_silence_as_an_answer_is_0_db() -> None:
    assert of(noise(1), Audio.silence(2, RATE, RATE)).sdr == pytest.approx(0, abs=1e-6)


def test_a_perfect_answer_is_finite() -> None:
    found = of(noise(1), noise(1))
    assert found.sdr is not None
    assert 80 < found.sdr < 130


def test_of_a_silent_truth_only_the_leak_is_told() -> None:
    song = noise(1)
    found = of(Audio.silence(2, RATE, RATE), Audio.of(0.1 * song.samples, RATE), song)
    assert found == Ratios(None, None, found.leak)
    assert found.leak == pytest.approx(-20, abs=1e-3)


def test_an_estimate_that_is_too_short_counts_as_silent_there() -> None:
    truth = noise(1)
    assert of(truth, truth.read(0, RATE // 2)).sdr == pytest.approx(10 * np.log10(2), abs=0.1)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, estimate = noise(1), noise(2)
    whole = of(truth, estimate)
    monkeypatch.setattr("understudy.pipeline.evaluation.sdr._BLOCK", 777)
    assert of(truth, estimate).sdr == pytest.approx(whole.sdr, abs=1e-9)


@settings(max_examples=30)
@given(st.floats(0.01, 100), st.integers(0, 99), st.floats(0.01, 3))
def test_si_sdr_does_not_know_gain(gain: float, seed: int, error: float) -> None:
    truth = noise(seed)
    estimate = truth.samples + error * noise(seed + 1).samples
    plain, louder = of(truth, Audio.of(estimate, RATE)), of(truth, Audio.of(gain * estimate, RATE))
    assert plain.si_sdr is not None
    assert louder.si_sdr == pytest.approx(plain.si_sdr, abs=0.02)


@settings(max_examples=30)
@given(st.floats(0.5, 20), st.integers(0, 99), st.floats(0.03, 3))
def test_sdr_does_not_know_the_level_of_the_song(gain: float, seed: int, error: float) -> None:
    truth = noise(seed)
    estimate = truth.samples + error * noise(seed + 1).samples
    plain, louder = (
        of(truth, Audio.of(estimate, RATE)),
        of(Audio.of(gain * truth.samples, RATE), Audio.of(gain * estimate, RATE)),
    )
    assert louder.sdr == pytest.approx(plain.sdr, abs=0.01)


@settings(max_examples=30)
@given(st.integers(0, 99), st.floats(0.01, 3))
def test_si_sdr_is_never_below_sdr(seed: int, error: float) -> None:
    truth = noise(seed)
    found = of(truth, Audio.of(truth.samples + error * noise(seed + 1).samples, RATE))
    assert found.sdr is not None
    assert found.si_sdr is not None
    # the truth scaled to fit is at least as near as the truth itself; against a smaller signal, at that
    assert found.si_sdr >= found.sdr - 10 * np.log10(1 + error**2) - 1e-6
