"""Windows over long audio: no seams, no lost frame, the same for any number of workers, few windows at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from understudy.audio.samples import Audio, concatenate
from understudy.audio.windows import crossfade_windows, map_windows, ordered_map
from understudy.context import Context
from understudy.errors import Cancelled

RATE = 1000


def noise(frames: int, channels: int = 2) -> Audio:
    return Audio.of(np.random.default_rng(frames).standard_normal((channels, frames)), RATE)


def joined(blocks: list[Audio], channels: int = 2) -> np.ndarray:
    return concatenate(blocks).samples if blocks else np.zeros((channels, 0), np.float32)


@given(frames=st.integers(0, 700), seconds=st.floats(0.001, 0.9), margin=st.floats(0, 0.3), workers=st.integers(1, 3))
@settings(max_examples=60)
def test_map_windows_gives_every_frame_once(tmp_path: Path, frames, seconds, margin, workers):
    source = noise(frames)
    context = Context(tmp_path, workers=workers)
    blocks = list(map_windows(source, lambda window, start: window, context, seconds=seconds, margin=margin))
    np.testing.assert_array_equal(joined(blocks), source.samples)


@given(frames=st.integers(0, 700), seconds=st.floats(0.001, 0.9), overlap=st.floats(0, 0.9), workers=st.integers(1, 3))
@settings(max_examples=60)
def test_crossfade_windows_gives_every_frame_once(tmp_path: Path, frames, seconds, overlap, workers):
    source = noise(frames)
    context = Context(tmp_path, workers=workers)
    blocks = list(crossfade_windows(source, lambda window, start: window, context, seconds=seconds, overlap=overlap))
    np.testing.assert_allclose(joined(blocks), source.samples, atol=1e-6)


def test_a_filter_in_windows_is_the_filter_over_all(tmp_path: Path):
    """An FIR of 101 taps reaches 50 frames to each side: less than the margin, so there is no seam."""
    taps = signal.firwin(101, 0.2)
    source = noise(5000)

    def smooth(window: Audio, start: int) -> Audio:
        return Audio.of(signal.convolve(window.samples, taps[None], mode="same"), RATE)

    blocks = list(map_windows(source, smooth, Context(tmp_path), seconds=0.7, margin=0.06))
    wanted = signal.convolve(source.samples, taps[None], mode="same")
    np.testing.assert_allclose(joined(blocks), wanted, atol=1e-6)


def test_windows_know_their_place(tmp_path: Path):
    source = Audio.of(np.arange(2000.0), RATE)

    def check(window: Audio, start: int) -> Audio:
        inside = window.samples[0][window.samples[0] > 0]
        assert inside.size == 0 or inside[0] == max(1, start)
        return window

    assert joined(list(map_windows(source, check, Context(tmp_path), seconds=0.3, margin=0.1)), 1).shape == (1, 2000)
    blocks = crossfade_windows(source, check, Context(tmp_path), seconds=0.3, overlap=0.1)
    assert joined(list(blocks), 1).shape == (1, 2000)


def test_the_crossfade_blends_and_never_jumps(tmp_path: Path):
    """Windows that disagree (each is its own constant) meet in a slope no steeper than the raised cosine's."""
    seen: list[int] = []

    def constant(window: Audio, start: int) -> Audio:
        seen.append(start)
        return Audio(np.full_like(window.samples, len(seen) % 2), RATE)

    source = Audio.silence(1, 3000, RATE)
    got = joined(list(crossfade_windows(source, constant, Context(tmp_path), seconds=1.0, overlap=0.25)), 1)[0]
    assert got.shape == (3000,)
    assert got.min() >= 0
    assert got.max() <= 1
    assert np.max(np.abs(np.diff(got))) < 1.01 * np.pi / 2 / 250
    assert len(seen) == 4


def test_channels_may_change(tmp_path: Path):
    source = noise(1000, 1)

    def widen(window: Audio, start: int) -> Audio:
        return Audio(np.repeat(window.samples, 2, axis=0), RATE)

    assert joined(list(map_windows(source, widen, Context(tmp_path), seconds=0.3, margin=0.1))).shape == (2, 1000)
    blocks = crossfade_windows(source, widen, Context(tmp_path), seconds=0.3, overlap=0.1)
    assert joined(list(blocks)).shape == (2, 1000)


def test_a_function_that_changes_the_length_is_caught(tmp_path: Path):
    def shorten(window: Audio, start: int) -> Audio:
        return window.read(0, window.frames - 1)

    with pytest.raises(ValueError, match="changed the length by -1"):
        list(map_windows(noise(1000), shorten, Context(tmp_path), seconds=0.3, margin=0.1))
    with pytest.raises(ValueError, match="changed the length by -1"):
        list(crossfade_windows(noise(1000), shorten, Context(tmp_path), seconds=0.3, overlap=0.1))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_ordered_map_keeps_order_and_few_results(workers):
    waiting, most = 0, 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        return item

    for wanted, got in enumerate(ordered_map(work, range(200), workers)):
        assert got == wanted
        with lock:
            waiting -= 1
    assert most <= workers + 2


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_window_comes_out(workers):
    def work(item: int) -> int:
        if item == 7:
            raise RuntimeError("window 7")
        return item

    with pytest.raises(RuntimeError, match="window 7"):
        list(ordered_map(work, range(100), workers))


@pytest.mark.parametrize("workers", [1, 3])
def test_cancelling_stops_between_windows(tmp_path: Path, workers):
    cancelled = threading.Event()
    done: list[int] = []

    def work(window: Audio, start: int) -> Audio:
        done.append(start)
        if len(done) == 3:
            cancelled.set()
        return window

    context = Context(tmp_path, workers=workers, cancelled=cancelled)
    with pytest.raises(Cancelled):
        list(map_windows(noise(100_000), work, context, seconds=0.1, margin=0.01))
    assert len(done) < 15


def test_progress_grows_to_one(tmp_path: Path):
    for windows, options in ((map_windows, {"margin": 0.1}), (crossfade_windows, {"overlap": 0.1})):
        seen: list[float] = []
        list(windows(noise(3000), lambda w, s: w, Context(tmp_path, on_progress=seen.append), seconds=0.5, **options))
        assert len(seen) > 5
        assert seen == sorted(seen)
        assert seen[-1] == 1
