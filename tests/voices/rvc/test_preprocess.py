"""What the networks hear of sounds whose content is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices.rvc.preprocess import FRAME, RATE, PreparedVocal, preprocess


def heard(folder: Path, samples: np.ndarray, rate: int = RATE) -> PreparedVocal:
    return preprocess(Context(folder), Audio.of(samples, rate))


def sine(hertz: float, seconds: float, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_a_click_stays_at_its_moment(tmp_path: Path, rate: int) -> None:
    sound = np.zeros(2 * rate)
    sound[rate] = 0.9
    result = heard(tmp_path, sound, rate)
    assert result.sound.frames == 2 * RATE
    assert int(np.argmax(np.abs(result.read(0, 2 * RATE)))) == RATE


def test_rumble_goes_and_singing_stays(tmp_path: Path) -> None:
    low = heard(tmp_path, sine(20, 2)).read(RATE // 2, RATE)
    high = heard(tmp_path, sine(200, 2)).read(RATE // 2, RATE)
    assert np.abs(low).max() < 0.5 * 10 ** (-70 / 20)
    assert np.abs(high).max() == pytest.approx(0.5, rel=1e-3)


def test_windows_leave_no_seam(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal(RATE * 45) * 0.1 + 0.3
    whole = sosfiltfilt(butter(5, 48, "highpass", fs=RATE, output="sos"), sound)
    whole *= 0.95 / max(0.95, np.abs(sound).max())
    result = heard(tmp_path, sound).read(0, len(sound))
    assert np.abs(result - whole).max() < 1e-5


def test_the_voice_survives_wherever_it_stands(tmp_path: Path) -> None:
    voice = sine(300, 1)
    for left, right in ((1.0, 1.0), (1.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 0.2)):
        result = heard(tmp_path, np.stack([left * voice, right * voice])).read(4000, 12000)
        assert np.sqrt(np.mean(result**2)) == pytest.approx(0.5 / 2**0.5, rel=0.15), (left, right)


def test_two_unlike_channels_are_not_added(tmp_path: Path) -> None:
    left, right = sine(300, 1), 0.9 * sine(410, 1)
    result = heard(tmp_path, np.stack([left, right])).read(4000, 12000)
    assert np.abs(result - left[4000:12000]).max() < 1e-3


def test_the_level_is_bounded_and_its_energy_is_told_as_it_was(tmp_path: Path) -> None:
    for level in (0.001, 0.3, 4.0):
        result = heard(tmp_path, sine(300, 1, level=level))
        peak = np.abs(result.read(2000, 14000)).max()
        assert 0.099 < peak < 0.951
        assert result.energy[50] == pytest.approx(level**2 / 2, rel=0.01)
    assert heard(tmp_path, sine(300, 1, level=0.3)).read(2000, 14000).max() == pytest.approx(0.3, rel=1e-3)


def test_energies_are_those_of_the_frames(tmp_path: Path) -> None:
    sound = np.zeros(50 * FRAME + 30)
    sound[20 * FRAME : 21 * FRAME] = sine(1000, 0.01)
    result = heard(tmp_path, sound)
    assert result.frames == 51
    assert result.energy[20] == pytest.approx(0.125, rel=0.02)
    assert result.energy[[18, 22]].max() < 1e-3 * result.energy[20]


def test_beyond_its_ends_it_is_reflected(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal(3000) * 0.1
    result = heard(tmp_path, sound)
    inside = result.read(0, 3000)
    np.testing.assert_array_equal(result.read(-1000, 4000), np.pad(inside, 1000, mode="reflect"))
    np.testing.assert_array_equal(result.read(-7000, 10000), np.pad(inside, 7000, mode="reflect"))


@pytest.mark.parametrize("length", [1, 2, 5, 19, 161])
def test_the_shortest_sounds(tmp_path: Path, length: int) -> None:
    result = heard(tmp_path, np.full(length, 0.5))
    assert result.read(-50, 300).shape == (350,)
    assert np.isfinite(result.read(-50, 300)).all()


def test_what_is_no_number_is_silence(tmp_path: Path) -> None:
    sound = sine(300, 1)
    sound[100:200], sound[300] = np.nan, np.inf
    assert np.isfinite(heard(tmp_path, sound).read(0, RATE)).all()


def test_nothing_stays_behind(tmp_path: Path) -> None:
    heard(tmp_path, sine(300, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.npy"]
