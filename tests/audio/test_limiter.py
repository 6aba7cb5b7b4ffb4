from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from understudy.audio.limiter import ATTACK, FAST_ATTACK, MARGIN, gain_curve, limiting, true_peaks
from understudy.audio.loudness import measure
from understudy.audio.samples import Audio, concatenate
from understudy.audio.windows import map_windows
from understudy.context import Context

SECONDS = 1.0


def apply(window: Audio, gain: NDArray[np.float32]) -> Audio:
    return Audio(window.samples * gain, window.rate)


def true_peak(window: Audio) -> float:
    """The highest absolute value of the continuous signal over all channels, linear, as the limiter measures it."""
    return float(true_peaks(window, 0.0).max(initial=0.0))


def signal(name: str, rate: int) -> NDArray[np.float64]:
    random = np.random.default_rng(0)
    frames = round(SECONDS * rate)
    time = np.arange(frames) / rate
    if name == "square":
        return 1.5 * np.sign(np.sin(2 * np.pi * rate / 44.1 * time))
    if name == "between samples":
        return 2.0 * np.sin(2 * np.pi * rate / 4 * time + np.pi / 4) * np.sin(np.pi * time / SECONDS)
    if name == "near the top":
        return 1.5 * np.sin(2 * np.pi * rate * 0.47 * time + 0.3) * np.sin(np.pi * time / SECONDS)
    if name == "sweep":
        return 1.4 * np.sin(2 * np.pi * rate * 0.24 * time**2 / SECONDS)
    if name == "impulses":
        samples = np.zeros(frames)
        samples[[frames // 4, frames // 2, frames // 2 + 1]] = 1.0, -4.0, 3.0
        return samples
    return random.uniform(-2, 2, frames)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("name", ["square", "between samples", "near the top", "sweep", "impulses", "noise"])
def test_true_peak_by_a_second_meter(name: str, rate: int) -> None:
    """Two meters differ on what lies at half the rate, where songs have next to nothing; `remix` measures again."""
    samples = signal(name, rate)
    audio = Audio.of(np.stack([samples, samples * 0.5]), rate)
    limited = apply(audio, gain_curve(audio, -1.0))
    assert 20 * np.log10(true_peak(limited)) <= -0.9
    ffmpeg = measure(limited, Context(Path())).true_peak
    assert ffmpeg <= -1.0 + (0.5 if name in ("noise", "impulses") else 0.06)


def test_a_peak_stays_at_its_frame() -> None:
    samples = np.zeros(44100)
    samples[20000] = 3.0
    limited = apply(Audio.of(samples, 44100), gain_curve(Audio.of(samples, 44100), -1.0)).samples[0]
    assert np.flatnonzero(limited).tolist() == [20000]
    assert limited[20000] == pytest.approx(10 ** (-1 / 20), rel=1e-3)


@pytest.mark.parametrize("over", [1.0, 4.0, 8.0])
@pytest.mark.parametrize("frequency", [40, 55, 110])
def test_a_bass_note_over_the_ceiling_stays_clean(frequency: int, over: float) -> None:
    rate = 16000
    time = np.arange(3 * rate) / rate
    note = 10 ** ((over - 1) / 20) * np.sin(2 * np.pi * frequency * time) * np.clip(time / 0.3, 0, 1)
    gain = limiting(Audio.of(note, rate), -1.0).gain.astype(np.float64)
    # the middle second, in which every harmonic has a bin of its own
    power = np.abs(np.fft.rfft((note * gain)[rate : 2 * rate])) ** 2
    harmonics = power[2 * frequency :: frequency].sum()
    assert 10 * np.log10(harmonics / power[frequency]) < -120
    assert 20 * np.log10(gain[rate : 2 * rate]) == pytest.approx(-over, abs=0.01)


def test_single_peaks_are_taken_fast_and_a_note_slowly() -> None:
    rate = 44100
    click, note = np.zeros(2 * rate), np.zeros(2 * rate)
    click[rate] = 2.0
    note[rate // 2 : rate] = 2.0 * np.sin(2 * np.pi * 100 * np.arange(rate // 2) / rate)
    fast, slow = (limiting(Audio.of(samples, rate), -1.0) for samples in (click, note))
    assert (fast.sustained == 1).all()
    # 7 dB come back at 2000 dB per second, and ahead and behind there is the attack
    assert (fast.gain < 1).sum() / rate == pytest.approx(0.0035 + 2 * FAST_ATTACK, abs=0.0005)
    # sustained but for the first and last half period, which have no peaks beside them
    held = slice(rate // 2 + rate // 100, rate - rate // 100)
    assert np.abs(slow.gain[held] - slow.sustained[held]).max() < 1e-6
    assert slow.sustained[held].max() < 0.5


def test_nothing_over_the_ceiling_keeps_its_bits() -> None:
    audio = Audio.of(np.random.default_rng(0).uniform(-0.3, 0.3, (2, 44100)), 44100)
    assert np.array_equal(apply(audio, gain_curve(audio, -1.0)).samples, audio.samples)


def test_the_gain_is_exactly_one_away_from_the_peak() -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * 44100)
    samples[44100] = 2.0
    gain = gain_curve(Audio.of(samples, 44100), -1.0)
    ahead = 44100 - round(ATTACK * 44100) - 100
    assert (gain[:ahead] == 1).all()
    assert (gain[44100 + 22050 :] == 1).all()
    assert gain[44100] < 0.5


def test_channels_share_the_gain_and_stems_the_sum() -> None:
    random = np.random.default_rng(5)
    one, other = (Audio.of(random.uniform(-0.8, 0.8, (2, 44100)), 44100) for _ in range(2))
    mix = Audio(one.samples + other.samples, 44100)
    gain = gain_curve(mix, -1.0)
    assert gain.shape == (44100,)
    total = apply(one, gain).samples + apply(other, gain).samples
    assert np.abs(total - apply(mix, gain).samples).max() < 1e-6


def test_windows_join_without_seams() -> None:
    random = np.random.default_rng(7)
    rate = 8000
    samples = random.standard_normal(6 * rate) * (0.2 + (np.sin(np.arange(6 * rate) / rate * 3) > 0.7))
    samples += np.sin(2 * np.pi * 60 * np.arange(6 * rate) / rate) * (np.sin(np.arange(6 * rate) / rate * 2) > 0)
    audio = Audio.of(samples, rate)

    def limit(window: Audio, start: int) -> Audio:
        return apply(window, gain_curve(window, -1.0))

    joined, whole = (
        concatenate(list(map_windows(audio, limit, Context(Path()), seconds=seconds, margin=MARGIN)))
        for seconds in (0.7, 10.0)
    )
    assert np.abs(joined.samples - whole.samples).max() < 1e-5


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([8000, 22050, 44100]),
    st.floats(-12, -1),
    st.floats(-20, 30),
    st.integers(0, 3000),
)
def test_never_over_the_ceiling_never_amplifies(
    seed: int, rate: int, ceiling: float, level: float, frames: int
) -> None:
    random = np.random.default_rng(seed)
    audio = Audio.of(random.standard_normal((2, frames)) * 10 ** (level / 20), rate)
    gain = gain_curve(audio, ceiling)
    assert gain.shape == (frames,)
    assert ((gain > 0) & (gain <= 1)).all()
    assert np.abs(apply(audio, gain).samples).max(initial=0.0) <= 10 ** (ceiling / 20) * 1.0001
