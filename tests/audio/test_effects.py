from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from understudy.audio.effects import compressor, control, de_esser, equaliser, reverb
from understudy.audio.samples import Audio, Samples, concatenate
from understudy.audio.windows import map_windows
from understudy.context import Context

RATE = 44100


def sine(frequency: float, level: float = -12.0, seconds: float = 1.0) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return (10 ** (level / 20) * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


def change(samples: Samples, before: Samples) -> float:
    """dB, in the middle."""
    middle = slice(samples.shape[1] // 3, -samples.shape[1] // 3)
    return float(10 * np.log10(np.square(samples[:, middle]).mean() / np.square(before[:, middle]).mean()))


@pytest.mark.parametrize(
    ("section", "frequency", "expected"),
    [
        (equaliser.high_pass(RATE, 100), 100, -3),
        (equaliser.high_pass(RATE, 100), 25, -24),
        (equaliser.high_pass(RATE, 100), 2000, 0),
        (equaliser.peak(RATE, 1000, 6), 1000, 6),
        (equaliser.peak(RATE, 1000, -6), 1000, -6),
        (equaliser.peak(RATE, 1000, 6), 50, 0),
    ],
)
def test_sections_have_their_gain(section: equaliser.Section, frequency: float, expected: float) -> None:
    tone = sine(frequency, seconds=2)
    assert change(equaliser.filtered(tone, [section]), tone) == pytest.approx(expected, abs=0.3)


def test_compressor_keeps_what_is_soft_and_halves_what_is_loud() -> None:
    soft, loud = sine(500, -40), sine(500, -4)
    kept = compressor.compress(Audio(soft, RATE), 0, threshold=-20, ratio=2)
    assert np.array_equal(kept.samples, soft)
    # RMS is -7: 13 dB over the threshold, of which half stays
    squeezed = compressor.compress(Audio(loud, RATE), 0, threshold=-20, ratio=2)
    assert change(squeezed.samples, loud) == pytest.approx(-6.5, abs=0.3)


def test_static_curve_of_the_compressor() -> None:
    level = np.linspace(-60, 0, 601)
    gain = compressor.static_gain(level, -20, 4, 8)
    assert (gain[level < -24] == 0).all()
    assert gain[-1] == pytest.approx(-15)
    assert (np.diff(gain) <= 1e-12).all()
    assert np.abs(np.diff(gain, 2)).max() < 0.01


def test_de_esser_softens_s_and_nothing_else() -> None:
    hiss = equaliser.filtered(
        np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32) * 0.1,
        [equaliser.high_pass(RATE, 7000)] * 2,
    )
    vowel = sum((sine(200 * k, -12 - 6 * k) for k in range(1, 8)), np.zeros((1, RATE), np.float32))
    assert -4.2 < change(de_esser.de_ess(Audio(hiss, RATE), 0, 4).samples, hiss) < -2
    assert np.array_equal(de_esser.de_ess(Audio(vowel, RATE), 0, 4).samples, vowel)
    quiet = hiss * np.float32(0.01)
    assert change(de_esser.de_ess(Audio(quiet, RATE), 0, 4).samples, quiet) < -2


@pytest.mark.parametrize("decay", [0.4, 1.0, 2.5])
def test_rooms_decay_as_told(decay: float) -> None:
    response = reverb.room(RATE, decay, 1)
    assert not response[: int(0.01 * RATE)].any()
    # Schroeder's backward integration, of the band that carries a voice
    voice = sosfiltfilt(butter(4, (300, 1800), "bandpass", fs=RATE, output="sos"), response)
    tail = np.cumsum(np.square(voice)[::-1])[::-1]
    level = 10 * np.log10(tail / tail[0] + 1e-12)
    start, stop = (int(np.flatnonzero(level < at)[0]) for at in (-5, -25))
    assert (stop - start) / RATE * 3 == pytest.approx(decay, rel=0.2)


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_a_room_keeps_the_energy_of_a_voice(rate: int) -> None:
    response = reverb.room(rate, 1.2, 1)
    power = np.square(np.abs(np.fft.rfft(response)))
    frequency = np.fft.rfftfreq(len(response), 1 / rate)
    voice = power[(frequency > 250) & (frequency < 2000)].mean()
    assert voice == pytest.approx(1.0, rel=0.05)


def test_two_rooms_have_nothing_in_common() -> None:
    one, other = reverb.room(RATE, 1.0, 1), reverb.room(RATE, 1.0, 2)
    assert abs(float(one @ other)) < 0.05 * float(one @ one)
    assert np.array_equal(one, reverb.room(RATE, 1.0, 1))


def test_reverb_is_the_convolution() -> None:
    random = np.random.default_rng(0)
    samples = random.standard_normal((2, 500)).astype(np.float32)
    response = random.standard_normal(100).astype(np.float32)
    expected = np.stack([np.convolve(channel, response)[:500] for channel in samples])
    assert reverb.reverberate(samples, response) == pytest.approx(expected, abs=1e-3)


Effect = Callable[[Audio, int], Audio]


@pytest.mark.parametrize(
    ("effect", "margin"),
    [
        (lambda window, start: equaliser.equalise(window, [equaliser.high_pass(RATE, 70)]), equaliser.MARGIN),
        (lambda window, start: compressor.compress(window, start, -30, 4), compressor.MARGIN),
        (lambda window, start: de_esser.de_ess(window, start, 6), de_esser.MARGIN),
    ],
    ids=["equaliser", "compressor", "de-esser"],
)
def test_windows_join_without_seams_and_nothing_moves(effect: Effect, margin: float) -> None:
    random = np.random.default_rng(2)
    swell = np.abs(np.sin(np.arange(4 * RATE) / RATE * 5))
    audio = Audio.of(random.standard_normal((1, 4 * RATE)) * 0.3 * swell, RATE)
    joined = concatenate(list(map_windows(audio, effect, Context(Path()), seconds=0.813, margin=margin)))
    whole = effect(audio.read(-RATE, 5 * RATE), -RATE).read(RATE, 5 * RATE)
    assert np.abs(joined.samples - whole.samples).max() < 2e-5
    click = np.zeros(RATE, np.float32)
    click[20000] = 0.9
    result = effect(Audio.of(click, RATE), 0).samples[0]
    assert int(np.abs(result).argmax()) == 20000
    assert not result[:20000].any()


@pytest.mark.parametrize("start", [-1000, 0, 1, 219, 220, 221, 441, 10007])
def test_curves_and_blocks_lie_on_the_songs_grid(start: int) -> None:
    hop = 441
    values = np.arange(200, dtype=np.float64)
    line = control.per_frame(values, -20, start, 5000, hop)
    middles = (np.arange(start, start + 5000) - hop // 2) / hop + 20
    assert line == pytest.approx(middles, abs=1e-3)
    samples = np.zeros((1, 5000), np.float32)
    samples[0, 3000] = 1.0
    energies = control.block_energies(samples, start, hop)
    assert np.flatnonzero(energies).tolist() == [(start + 3000) // hop - start // hop]


def test_released_rises_no_faster_than_told() -> None:
    curve = control.released(np.array([0.0, 0, -6, 0, 0, 0, 0]), 2.0)
    assert curve.tolist() == [0, 0, -6, -4, -2, 0, 0]
