import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.signals import Note, singing
from understudy.audio.pitch.track import HOP
from understudy.voices.instant import spectrum


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_the_grid_weights_are_averages_and_go_back(rate: int) -> None:
    forth, back = spectrum.to_grid(rate), spectrum.from_grid(rate)
    assert np.allclose(forth.sum(axis=0), 1, atol=1e-5)
    assert np.allclose(back.sum(axis=0), 1, atol=1e-5)
    frequency = np.arange(len(forth)) * rate / spectrum.transform_size(rate)
    smooth = np.sin(spectrum.mel(frequency) / 300).astype(np.float32)  # a log envelope without narrow detail
    known = frequency < min(0.45 * rate, spectrum.TOP)
    assert np.abs(smooth @ forth @ back - smooth)[known].max() < 0.05


def test_above_what_the_recordings_hold_the_last_point_is_repeated() -> None:
    forth = spectrum.to_grid(44100, 5000.0)
    above = np.flatnonzero(spectrum.grid() > 5000.0)
    assert len(above) > 5
    assert np.array_equal(forth[:, above], np.repeat(forth[:, above[:1] - 1], len(above), axis=1))


@given(st.floats(0.8, 1.25))
def test_warping_moves_a_peak_by_the_factor(factor: float) -> None:
    bins = np.arange(1025)
    peak = (-(((bins - 300) / 40) ** 2)).astype(np.float32)[None]
    assert abs(int(np.argmax(spectrum.warped(peak, factor)[0])) - 300 * factor) <= 1


def test_the_envelope_finds_the_same_vowel_at_every_rate_and_pitch() -> None:
    seen = []
    for rate, note in ((22050, 45), (44100, 45), (48000, 57)):
        voice, f0 = singing([Note(note, 0.6, "a")], rate)
        points = spectrum.envelope(voice.samples[0].astype(np.float64), f0.f0.astype(np.float64), rate, HOP)
        shape = (points @ spectrum.to_grid(rate))[40:80].mean(axis=0)
        low = spectrum.grid() < 4000
        seen.append(shape[low] - shape[low].mean())
    assert np.abs(seen[0] - seen[1]).max() < 1.0
    assert np.abs(seen[0] - seen[2]).mean() < 1.0


def test_the_cepstrum_is_inverted() -> None:
    points = np.random.default_rng(0).normal(size=(5, spectrum.POINTS)).astype(np.float32)
    assert np.allclose(spectrum.cepstrum(points) @ spectrum.inverse_basis(spectrum.POINTS), points, atol=1e-5)
