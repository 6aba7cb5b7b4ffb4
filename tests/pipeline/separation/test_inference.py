"""Driving a network over a song, with networks whose results are known."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.pipeline.separation import inference
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.layout import Layout, aligned, centred, edges_faded, leading
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

RATE = 8000
WINDOW = 1000


def network(
    separate: Callable[[Tensor], Tensor] = lambda windows: windows[:, None],
    stems: tuple[str, ...] = ("vocals",),
    window: int = WINDOW,
    layout: Layout = aligned,
    rate: int = RATE,
) -> Network:
    """A network that returns its input, unless given another function."""
    return Network(stems, rate, window, round(window * 0.75), edges_faded(window), separate, layout=layout)


def noise(frames: int, channels: int = 2, rate: int = RATE, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal((channels, frames)) * 0.1
    return Audio(samples.astype(np.float32), rate)


def stems_of(
    folder: Path, network: Network, song: Audio, settings: InferenceSettings | None = None
) -> dict[str, np.ndarray]:
    folder.mkdir(exist_ok=True)
    context = Context(folder)
    stems = infer(context, network, song, settings or InferenceSettings())
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.npy" for name in stems)
    for file in stems.values():
        assert (file.rate, file.channels, file.frames) == (song.rate, song.channels, song.frames)
    return {name: file.read().samples for name, file in stems.items()}


@pytest.mark.parametrize("layout", [aligned, leading(50), centred(WINDOW)])
@settings(max_examples=25)
@given(
    frames=st.integers(1, 5000),
    channels=st.integers(1, 2),
    overlap=st.one_of(st.none(), st.floats(0, 0.9)),
    shifts=st.integers(1, 3),
    polarity=st.booleans(),
    batch=st.integers(1, 4),
)
def test_a_network_that_changes_nothing_gives_the_song(
    tmp_path: Path,
    layout: Layout,
    frames: int,
    channels: int,
    overlap: float | None,
    shifts: int,
    polarity: bool,
    batch: int,
) -> None:
    song = noise(frames, channels)
    chosen = InferenceSettings(overlap=overlap, shifts=shifts, polarity=polarity, batch=batch)
    found = stems_of(tmp_path, network(layout=layout), song, chosen)
    assert np.abs(found["vocals"] - song.samples).max() < 1e-6


def test_stems_keep_their_names_and_places(tmp_path: Path) -> None:
    song = np.zeros((2, 4321), np.float32)
    song[0, [0, 750, 4320]] = 1
    song[1, 2000] = -1
    taken_apart = network(lambda windows: torch.stack([windows * 0.25, windows * 0.75], 1), ("vocals", "instrumental"))
    found = stems_of(tmp_path, taken_apart, Audio(song, RATE))
    assert list(found) == ["vocals", "instrumental"]
    assert np.allclose(found["vocals"], song * 0.25, atol=1e-6)
    assert np.allclose(found["instrumental"], song * 0.75, atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 11025, 16000])
@pytest.mark.parametrize("channels", [1, 2])
def test_songs_of_any_rate(tmp_path: Path, rate: int, channels: int) -> None:
    times = np.arange(rate * 2 + 13) / rate
    song = Audio(np.tile(np.sin(2 * np.pi * 700 * times), (channels, 1)).astype(np.float32), rate)
    found = stems_of(tmp_path, network(), song)["vocals"]
    inside = slice(200, -200)
    assert np.abs(found - song.samples)[:, inside].max() < 1e-4


@pytest.mark.parametrize("overlap", [0.05, 0.25, 0.5, 0.75])
def test_windows_that_disagree_are_faded_into_each_other(tmp_path: Path, overlap: float) -> None:
    said = iter(range(10_000))

    def disagreeing(windows: Tensor) -> Tensor:
        return torch.stack([torch.full((1, 2, WINDOW), float(next(said) % 2)) for _ in windows])

    found = stems_of(tmp_path, network(disagreeing), noise(8000), InferenceSettings(overlap=overlap))["vocals"]
    steepest = np.pi / 2 / (WINDOW * min(overlap, 0.25))
    assert np.abs(np.diff(found)).max() < 2.5 * steepest  # nowhere more than a fade goes from one frame to the next
    assert found.max() > 0.6
    assert found.min() < 0.4


def test_both_polarities_cancel_what_is_even(tmp_path: Path) -> None:
    bent = network(lambda windows: (windows + 3 * windows**2)[:, None])
    song = noise(3000)
    assert np.abs(stems_of(tmp_path / "a", bent, song)["vocals"] - song.samples).max() > 0.01
    found = stems_of(tmp_path / "b", bent, song, InferenceSettings(polarity=True))["vocals"]
    assert np.abs(found - song.samples).max() < 1e-6


def test_shifts_even_out_what_depends_on_the_place_in_the_window(tmp_path: Path) -> None:
    wave = torch.sin(torch.arange(1300) / 1300 * 2 * np.pi)
    placed = network(lambda windows: (windows + wave)[:, None], window=1300)
    song = noise(9000)
    off = {}
    for shifts in (1, 4):
        found = stems_of(tmp_path / str(shifts), placed, song, InferenceSettings(overlap=0, shifts=shifts))["vocals"]
        off[shifts] = float(np.abs(found - song.samples).std())
    assert off[4] < 0.6 * off[1]


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_network_may_want_the_song_at_one_loudness(tmp_path: Path, offset: float) -> None:
    seen = []

    def listening(windows: Tensor) -> Tensor:
        seen.append(windows.clone())
        return windows[:, None]

    song = Audio(noise(4 * WINDOW).samples * 0.01 + np.float32(offset), RATE)
    wanted = replace(network(listening), normalise="deviation", step=WINDOW)
    found = stems_of(tmp_path, wanted, song)["vocals"]
    assert np.abs(found - song.samples).max() < 1e-6
    mono = torch.cat(seen).mean(1)
    assert abs(float(mono.mean())) < 0.01
    assert abs(float(mono.std()) - 1) < 0.01


def test_a_network_may_measure_the_song_first(tmp_path: Path) -> None:
    peaks = []

    def listening(windows: Tensor) -> Tensor:
        peaks.append(float(windows.abs().max()))
        return windows[:, None]

    measuring = replace(network(listening), peak=lambda windows: float(windows.abs().max()))
    song = noise(5000)
    found = stems_of(tmp_path, measuring, song)["vocals"]
    assert max(peaks) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(found - song.samples).max() < 1e-6


@pytest.mark.parametrize("frames", [0, 1, 7999])
def test_short_and_silent_songs(tmp_path: Path, frames: int) -> None:
    song = Audio(np.zeros((2, frames), np.float32), RATE)
    for name, wanted in (("a", network()), ("b", replace(network(), normalise="deviation"))):
        assert not stems_of(tmp_path / name, wanted, song)["vocals"].any()


def test_it_stops_within_a_window(tmp_path: Path) -> None:
    cancelled, done = Event(), []

    def until_third(windows: Tensor) -> Tensor:
        done.append(len(windows))
        if len(done) == 3:
            cancelled.set()
        return windows[:, None]

    with pytest.raises(Cancelled):
        infer(Context(tmp_path, cancelled=cancelled), network(until_third), noise(50_000), InferenceSettings())
    assert done == [1, 1, 1]


def test_progress_goes_forward_to_the_end(tmp_path: Path) -> None:
    fractions: list[float] = []
    infer(Context(tmp_path, on_progress=fractions.append), network(), noise(20_000, rate=16_000), InferenceSettings())
    assert fractions == sorted(fractions)
    assert len(fractions) > 10
    assert fractions[-1] == pytest.approx(1.0)


class Full:
    """A network on a machine whose memory holds `most` frames of windows at once."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.sizes = most, error, list[int]()

    def network(self, window: int = WINDOW, shortest: int = 100) -> Network:
        def separate(windows: Tensor) -> Tensor:
            if windows.shape[0] * windows.shape[-1] > self.most:
                raise self.error
            self.sizes.append(windows.shape[0] * windows.shape[-1])
            return windows[:, None]

        half = window // 2
        shorter = None if half < shortest else lambda: self.network(half, shortest)
        return replace(network(separate, window=window), shorter=shorter)


ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] can't allocate memory: ...")]


@pytest.mark.parametrize("error", ERRORS)
def test_where_memory_runs_out_fewer_windows_go_at_once(tmp_path: Path, error: Exception) -> None:
    song, full, context = noise(20_000), Full(3 * WINDOW, error), Context(tmp_path)
    stems = infer(context, full.network(), song, InferenceSettings(batch=8))
    assert np.abs(stems["vocals"].read().samples - song.samples).max() < 1e-6
    assert set(full.sizes) == {2 * WINDOW, WINDOW}
    assert [("4 instead of 8" in w, "2 instead of 4" in w) for w in context.warnings] == [(True, False), (False, True)]


@pytest.mark.parametrize("error", ERRORS)
def test_then_windows_get_shorter(tmp_path: Path, error: Exception) -> None:
    song, full, context = noise(20_000), Full(300, error), Context(tmp_path)
    stems = infer(context, full.network(), song, InferenceSettings(batch=2))
    assert np.abs(stems["vocals"].read().samples - song.samples).max() < 1e-6
    assert max(full.sizes) <= 300
    assert any("windows of 0.0 instead of" in w or "windows of 0.1 instead of 0.1" in w for w in context.warnings)
    assert {path.name for path in tmp_path.iterdir()} == {"vocals.npy"}


def test_what_does_not_fit_at_all_says_so(tmp_path: Path) -> None:
    for error in ERRORS:
        with pytest.raises(MemoryError):
            infer(Context(tmp_path), Full(10, error).network(), noise(3000), InferenceSettings())


def test_windows_that_cannot_fit_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Full(1 << 40, RuntimeError())

    def sized(window: int) -> Network:
        made = full.network(window)
        return replace(made, working=window * 1000, shorter=lambda: sized(window // 2))

    monkeypatch.setattr(inference, "available_memory", lambda: 600_000)
    context = Context(tmp_path)
    infer(context, sized(WINDOW), noise(5000), InferenceSettings())
    assert set(full.sizes) == {WINDOW // 2}
    assert len(context.warnings) == 1


def test_other_failures_are_not_taken_for_full_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        infer(Context(tmp_path), Full(10, RuntimeError("shapes")).network(), noise(3000), InferenceSettings(batch=4))


def test_the_same_again_is_the_same_bytes(tmp_path: Path) -> None:
    weights = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(0))

    def filtered(windows: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(windows, weights, padding=4)[:, None]

    song, chosen = noise(30_000), InferenceSettings(shifts=2)
    found = [stems_of(tmp_path / name, network(filtered), song, chosen)["vocals"].tobytes() for name in ("a", "b")]
    assert found[0] == found[1]


class Endless:
    """A song that is made where it is read."""

    def __init__(self, frames: int, rate: int) -> None:
        self.frames, self.rate, self.channels = frames, rate, 2

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        ramp = (np.arange(start, stop) % 1000).astype(np.float32) / 1000
        ramp[: max(0, -start)] = 0
        ramp[max(0, self.frames - start) :] = 0
        return Audio(np.stack([ramp, -ramp]), self.rate)


@pytest.mark.parametrize("minutes", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_song(tmp_path: Path, minutes: int) -> None:
    song = Endless(minutes * 60 * RATE, RATE)
    wide = network(lambda windows: torch.stack([windows, -windows], 1), ("vocals", "instrumental"), 8 * RATE)
    tracemalloc.start()
    stems = infer(Context(tmp_path), wide, song, InferenceSettings(shifts=2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stems["vocals"].frames == song.frames
    assert peak < 25e6
    middle = song.frames // 2
    assert np.allclose(stems["vocals"].read(middle, middle + 99).samples, song.read(middle, middle + 99).samples)
