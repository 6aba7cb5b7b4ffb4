"""What is made of known harmonics."""

import numpy as np
from numpy.typing import NDArray

from understudy.voices.instant import rendering, spectrum

RATE, HOP = 44100, 0.005


def harmonics(hertz: float, seconds: float) -> NDArray[np.float64]:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(0.1 * np.sum([np.sin(2 * np.pi * hertz * k * times + k * k) for k in range(1, 20)], axis=0))


def strength(signal: NDArray[np.float64], hertz: float) -> float:
    """dB of the partial nearest to `hertz`."""
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    frequency = np.arange(len(power)) * RATE / len(signal)
    return 10 * float(np.log10(power[np.abs(frequency - hertz) < 40].max()))


def test_a_first_harmonic_that_the_voice_lacks_stays_in_the_note() -> None:
    signal, f0 = harmonics(220, 1.0), np.full(201, 220.0)
    old = spectrum.envelope(signal, f0, RATE, HOP)
    frequency = np.arange(old.shape[1]) * RATE / spectrum.transform_size(RATE)
    new = old - np.where(frequency < 330, 30 / 4.343, 0).astype(np.float32)
    for semitones in (0.0, 7.0, -7.0):
        ratio = 2 ** (semitones / 12)
        result = rendering.sung(signal, f0, RATE, HOP, old, new, semitones)[RATE // 4 : -RATE // 4]
        assert abs(strength(result, 220 * ratio) - strength(result, 880 * ratio)) < 6


def test_an_echo_at_the_old_pitch_goes_and_what_is_far_from_notes_stays() -> None:
    signal, f0 = harmonics(220, 3.0), np.zeros(601)
    f0[:200] = 220
    old = spectrum.envelope(signal, f0, RATE, HOP)
    result = rendering.sung(signal, f0, RATE, HOP, old, old, 12.0)
    echo, far = slice(round(1.06 * RATE), round(1.2 * RATE)), slice(2 * RATE, round(2.8 * RATE))
    for partial in (220, 660, 1100):
        assert strength(result[echo], partial) < strength(signal[echo], partial) - 30
        assert abs(strength(result[far], partial) - strength(signal[far], partial)) < 0.5
    assert abs(strength(result[echo], 2200) - strength(signal[echo], 2200)) < 1
