"""Against a second implementation, by the book: every delayed channel a column of one matrix, and numpy's least
squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.pipeline.evaluation import bss_eval as module
from understudy.pipeline.evaluation.bss_eval import BssEval, bss_eval, windowed

RATE = 300
Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAPS", 16)
    monkeypatch.setattr(module, "_BLOCK", 256)
    monkeypatch.setattr(module, "_AT_ONCE", 3)


def stems(count: int, seed: int = 0, seconds: float = 4.0, channels: int = 2) -> dict[str, Audio]:
    random = np.random.default_rng(seed)
    return {
        f"stem {number}": Audio.of(0.1 * random.standard_normal((channels, round(seconds * RATE))), RATE)
        for number in range(count)
    }


def confused(truths: dict[str, Audio], seed: int = 1, leak: float = 0.2, noise: float = 0.02) -> dict[str, Audio]:
    """Every stem through a short filter, with something of the others and noise in it."""
    random = np.random.default_rng(seed)
    everything = sum(truth.samples for truth in truths.values())
    found = {}
    for name, truth in truths.items():
        own = truth.samples + 0.3 * np.pad(truth.samples, ((0, 0), (2, 0)))[:, :-2]
        sound = own + leak * (everything - truth.samples) + noise * random.standard_normal(truth.samples.shape)
        found[name] = Audio.of(sound, RATE)
    return found


def by_the_book(truths: dict[str, Audio], estimates: dict[str, Audio], taps: int = 16) -> Floats:
    """``[stems, 4, windows]``."""

    def delayed(sounds: Floats, taps: int) -> Floats:
        return np.stack([np.pad(row, (lag, taps - 1 - lag)) for row in sounds for lag in range(taps)], axis=1)

    def project(sources: Floats, target: Floats, windows: list[slice]) -> list[Floats]:
        weights = np.linalg.lstsq(delayed(sources, taps), np.pad(target, ((0, 0), (0, taps - 1))).T, rcond=None)[0]
        return [(delayed(sources[:, one], taps) @ weights).T for one in windows]

    true = {name: truth.samples.astype(np.float64) for name, truth in truths.items()}
    length = next(iter(true.values())).shape[1]
    windows = [slice(start, start + RATE) for start in range(0, length - RATE + 1, RATE)]
    result = []
    for name, truth in true.items():
        estimate = estimates[name].samples.astype(np.float64)
        own = project(truth, estimate, windows)
        joint = project(np.concatenate(list(true.values())), estimate, windows)
        rows = []
        for one, p, q in zip(windows, own, joint, strict=True):
            s, e = (np.pad(sound[:, one], ((0, 0), (0, taps - 1))) for sound in (truth, estimate))
            pairs = ((s, e - s), (s, p - s), (p, q - p), (q, e - q))
            rows.append([10 * np.log10(np.sum(a**2) / np.sum(b**2)) for a, b in pairs])
        result.append(np.array(rows).T)
    return np.stack(result)


@pytest.mark.parametrize(("count", "channels"), [(2, 2), (3, 2), (2, 1)])
def test_as_by_the_book(count: int, channels: int) -> None:
    truths = stems(count, channels=channels)
    estimates = confused(truths)
    found: Any = windowed(Context(Path()), truths, estimates, 4 * RATE)
    np.testing.assert_allclose(found, by_the_book(truths, estimates), atol=1e-6)


def test_a_song_that_ends_within_a_window_loses_that_window() -> None:
    truths = stems(2, seconds=3.7)
    found = windowed(Context(Path()), truths, confused(truths), round(3.7 * RATE))
    assert found is not None
    assert found.shape == (2, 4, 3)


def test_a_song_shorter_than_a_window_is_one() -> None:
    truths = stems(2, seconds=0.5)
    found = bss_eval(Context(Path()), truths, confused(truths), RATE // 2)
    assert found is not None
    assert found["stem 0"].windows == 1


def test_what_a_short_filter_does_is_place_and_colour_alone() -> None:
    truths = stems(2)
    estimates = confused(truths, leak=0, noise=0)
    found = bss_eval(Context(Path()), truths, estimates, 4 * RATE)
    assert found is not None
    one = found["stem 0"]
    assert one.sdr == pytest.approx(20 * np.log10(1 / 0.3), abs=0.2)
    assert one.isr == pytest.approx(one.sdr, abs=0.01)
    assert min(one.sir, one.sar) > 28


def test_a_leak_is_interference() -> None:
    truths = stems(2)
    found = bss_eval(Context(Path()), truths, confused(truths, leak=0.1, noise=0.001), 4 * RATE)
    assert found is not None
    assert found["stem 1"].sir == pytest.approx(20 + 10 * np.log10(1.09), abs=0.3)
    assert found["stem 1"].sar > 28  # a window doesn't hear what its filters would have of the one before


def test_noise_is_an_artefact() -> None:
    truths = stems(2)
    found = bss_eval(Context(Path()), truths, confused(truths, leak=0.0, noise=0.01), 4 * RATE)
    assert found is not None
    assert found["stem 1"].sar == pytest.approx(20 + 10 * np.log10(1.09), abs=0.5)
    assert found["stem 1"].sir > 28


def test_a_window_in_which_a_stem_is_silent_counts_for_none() -> None:
    truths = stems(2)
    truths["stem 0"].samples[:, RATE : 2 * RATE] = 0
    found = windowed(Context(Path()), truths, confused(truths), 4 * RATE)
    assert found is not None
    assert np.isnan(found[:, :, 1]).all()
    assert np.isfinite(np.delete(found, 1, axis=2)).all()


def test_a_silent_stem_leaves_nothing_to_say() -> None:
    truths = stems(2)
    truths["stem 0"].samples[:] = 0
    assert bss_eval(Context(Path()), truths, confused(truths), 4 * RATE) is None


def test_a_single_stem_leaves_nothing_to_say() -> None:
    truths = stems(1)
    assert bss_eval(Context(Path()), truths, truths, 4 * RATE) is None


def test_a_stem_in_the_middle_of_the_image() -> None:
    """Twice the same channel: the matrix is singular, the projection is not."""
    truths = stems(2)
    truths["stem 0"].samples[1] = truths["stem 0"].samples[0]
    estimates = confused(truths)
    found: Any = windowed(Context(Path()), truths, estimates, 4 * RATE)
    np.testing.assert_allclose(found, by_the_book(truths, estimates), atol=0.01)


def test_perfect_stems_are_finite() -> None:
    truths = stems(2)
    found = bss_eval(Context(Path()), truths, truths, 4 * RATE)
    assert found is not None
    assert all(100 < value <= 300 for value in (found["stem 0"].sdr, found["stem 0"].sar))


def test_can_be_cancelled() -> None:
    context = Context(Path())
    context.cancelled.set()
    truths = stems(2)
    with pytest.raises(Cancelled):
        bss_eval(context, truths, confused(truths), 4 * RATE)


@settings(max_examples=15)
@given(st.floats(0.1, 10), st.integers(0, 50))
def test_the_level_of_the_song_is_no_matter(gain: float, seed: int) -> None:
    truths = stems(2, seed, seconds=2)
    estimates = confused(truths, seed)

    def louder(sounds: dict[str, Audio]) -> dict[str, Audio]:
        return {name: Audio.of(gain * sound.samples, RATE) for name, sound in sounds.items()}

    plain = bss_eval(Context(Path()), truths, estimates, 2 * RATE)
    loud = bss_eval(Context(Path()), louder(truths), louder(estimates), 2 * RATE)
    assert plain is not None
    assert loud is not None
    assert _values(loud["stem 0"]) == pytest.approx(_values(plain["stem 0"]), abs=1e-3)


@settings(max_examples=15)
@given(st.floats(0.2, 5), st.integers(0, 50))
def test_sir_and_sar_do_not_know_the_gain_of_an_estimate(gain: float, seed: int) -> None:
    truths = stems(2, seed, seconds=2)
    estimates = confused(truths, seed)
    louder = {name: Audio.of(gain * sound.samples, RATE) for name, sound in estimates.items()}
    plain = bss_eval(Context(Path()), truths, estimates, 2 * RATE)
    loud = bss_eval(Context(Path()), truths, louder, 2 * RATE)
    assert plain is not None
    assert loud is not None
    assert _values(loud["stem 0"])[2:] == pytest.approx(_values(plain["stem 0"])[2:], abs=1e-3)


def _values(one: BssEval) -> list[float]:
    return [one.sdr, one.isr, one.sir, one.sar]
