"""The statistics of a conversion, on spectra whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.context import Context
from understudy.voices.instant import spectrum
from understudy.voices.instant.content import ORDER, content, frame_statistics
from understudy.voices.instant.profile import VoiceProfile
from understudy.voices.instant.timbre import (
    MOVED,
    STRETCH,
    TILT_FADE,
    TILT_LIMITS,
    Timbre,
    convert_timbre,
    tilt,
    transport,
)


def covariance(random: np.random.Generator, low: float, high: float, size: int = 6) -> np.ndarray:
    vectors, _ = np.linalg.qr(random.normal(size=(size, size)))
    return np.asarray(vectors * random.uniform(low, high, size) @ vectors.T)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_affine_map_gives_the_target_covariance(seed: int) -> None:
    random = np.random.default_rng(seed)
    source, target = covariance(random, 0.8, 1.2), covariance(random, 0.8, 1.2)
    matrix = transport(source, target)
    assert np.allclose(matrix @ source @ matrix, target)
    assert np.allclose(matrix, matrix.T)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_affine_map_stretches_within_limits(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix = transport(covariance(random, 1e-6, 1.0), covariance(random, 1.0, 1e4))
    values = np.linalg.eigvalsh(matrix)
    assert values.min() > STRETCH[0] - 1e-6
    assert values.max() < STRETCH[1] + 1e-6


def test_equal_covariances_stay() -> None:
    same = covariance(np.random.default_rng(1), 0.1, 10.0)
    assert np.allclose(transport(same, same), np.eye(len(same)))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 30))
def test_the_tilt_is_bounded_and_leaves_what_is_below(seed: int, size: float) -> None:
    own, new = size * np.random.default_rng(seed).normal(size=(2, spectrum.POINTS))
    change = tilt(own, new)
    assert not change[spectrum.grid() <= TILT_FADE[0]].any()
    assert change.min() >= TILT_LIMITS[0]
    assert change.max() <= TILT_LIMITS[1]


def test_the_tilt_undoes_three_quarters_of_a_shelf() -> None:
    """8 dB too bright above 4 kHz becomes 2 dB, whatever the levels of both."""
    shelf = np.where(spectrum.grid() > 4000, 8 / 4.343, 0.0)
    change = tilt(np.full(spectrum.POINTS, 5.0), shelf)
    assert np.allclose(change[-4:] * 4.343, -6, atol=0.01)
    assert np.allclose(tilt(shelf, shelf - 3.0), 0)


def cepstra(frames: int, mean: np.ndarray, deviation: float) -> np.ndarray:
    """Slowly moving cepstra ``[frames, ORDER]``: sines in coefficients 1 to 8, the others constant."""
    result = np.tile(mean, (frames, 1))
    periods = np.outer(np.arange(frames) / frames, 2 + np.arange(8))
    result[:, 1:9] += np.sqrt(2) * deviation * np.sin(2 * np.pi * periods)
    return result.astype(np.float32)


def profile_of(frames: np.ndarray, voiced: np.ndarray) -> VoiceProfile:
    described = content(frames, frame_statistics(frames, voiced, np.ones_like(voiced)))
    power = np.exp(frames @ spectrum.inverse_basis(ORDER)).mean(axis=0)
    sung = frames[voiced]
    return VoiceProfile(
        frames,
        described,
        voiced,
        sung.mean(axis=0),
        sung.std(axis=0),
        frames[~voiced].mean(axis=0),
        200.0,
        10500.0,
        np.log(power / power.sum()).astype(np.float32),
    )


@pytest.fixture(scope="module")
def singers() -> tuple[Timbre, VoiceProfile]:
    """1000 frames of one singer, some of them unvoiced, and the profile of another with more movement."""
    slope = np.zeros(ORDER)
    slope[1] = 4.0
    voiced = np.arange(1000) % 500 >= 100
    own = cepstra(1000, slope, 0.8)
    other = cepstra(1000, slope * 1.5, 1.0)
    return Timbre(own.astype(np.float16), voiced, np.ones(1000, np.bool_)), profile_of(other, voiced)


def test_the_envelopes_get_the_deviation_of_the_voice(singers: tuple[Timbre, VoiceProfile], tmp_path: Path) -> None:
    sung, profile = singers
    result = convert_timbre(Context(tmp_path), sung, profile, 0.0, 0.33).astype(np.float32)
    inner = np.convolve(sung.voiced, np.ones(31), "same") == 31  # away from the cross-fades
    moved = result[inner][:, 1:9]
    assert np.allclose(moved.std(axis=0), profile.deviation[1:9], rtol=0.1)


def test_unvoiced_frames_are_not_moved_by_the_map(singers: tuple[Timbre, VoiceProfile], tmp_path: Path) -> None:
    """With a full shield (protect 0) unvoiced frames keep their timbre: neither map nor tilt reach them."""
    sung, profile = singers
    for index_rate in (0.0, 1.0):
        result = convert_timbre(Context(tmp_path), sung, profile, index_rate, 0.0).astype(np.float32)
        inner = np.convolve(~sung.voiced, np.ones(31), "same") == 31
        assert np.abs(result[inner][:, 1:] - sung.cepstra[inner][:, 1:].astype(np.float32)).max() < 0.01
        assert np.abs(result[~inner][:, MOVED] - sung.cepstra[~inner][:, MOVED]).max() > 0.1


def test_two_frames_do_not_make_a_map(singers: tuple[Timbre, VoiceProfile], tmp_path: Path) -> None:
    sung, profile = singers
    voiced = np.zeros(40, np.bool_)
    voiced[20:22] = True
    few = Timbre(sung.cepstra[:40], voiced, np.ones(40, np.bool_))
    result = convert_timbre(Context(tmp_path), few, profile, 0.0, 0.33)
    assert np.isfinite(result).all()
    assert np.abs(result[:, 1:].astype(np.float32)).max() < 50
