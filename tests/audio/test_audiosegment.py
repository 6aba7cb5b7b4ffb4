"""Audio and pydub's AudioSegment hold the same sound."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from understudy.audio.audiosegment import from_audiosegment, to_audiosegment
from understudy.audio.samples import Audio
from understudy.errors import UnderstudyError

shapes = st.tuples(st.integers(1, 2), st.integers(0, 50))
samples = shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)))


@given(samples, st.sampled_from([16, 24, 32]), st.sampled_from([8000, 44100, 192000]))
def test_there_and_back_is_off_by_half_a_step(values: np.ndarray, bits: int, rate: int):
    segment = to_audiosegment(Audio(values, rate), bits)  # type: ignore[arg-type]
    assert (segment.frame_rate, segment.channels, segment.frame_count()) == (rate, *values.shape)
    back = from_audiosegment(segment)
    assert back.rate == rate
    assert back.samples.shape == values.shape
    step = 2.0 ** (1 - bits)
    off = np.abs(back.samples.astype(np.float64) - np.minimum(values, 1 - step))
    assert off.max(initial=0) <= 0.5 * step + 2.0**-25


@given(samples, st.sampled_from([16, 24, 32]))
def test_what_pydub_can_hold_comes_back_exactly(values: np.ndarray, bits: int):
    once = from_audiosegment(to_audiosegment(Audio(values, 8000), bits))  # type: ignore[arg-type]
    again = from_audiosegment(to_audiosegment(once, bits))  # type: ignore[arg-type]
    assert np.array_equal(once.samples, again.samples)


def test_pydub_reads_the_samples():
    ramp = Audio.of(np.array([[0.0, 0.5, -1.0], [1.0, -0.25, 2.0**-15]]), 44100)
    segment = to_audiosegment(ramp, 16)
    assert segment.sample_width == 2
    assert list(segment.get_array_of_samples()) == [0, 32767, 16384, -8192, -32768, 1]
    assert segment.max_dBFS == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_every_width_is_read(width: int):
    from pydub import AudioSegment

    values = np.array([0, 1, -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1], f"<i{width}")
    segment = AudioSegment(values.tobytes(), sample_width=width, frame_rate=8000, channels=2)
    expected = (values / 2.0 ** (8 * width - 1)).reshape(2, 2).T
    assert from_audiosegment(segment).samples == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("value", [1.001, -1.5, np.nan, np.inf])
def test_nothing_is_clipped(value: float):
    with pytest.raises(UnderstudyError) as refused:
        to_audiosegment(Audio.of([0.0, value], 44100))
    assert refused.value.code == "over-full-scale"


def test_other_bits_are_a_mistake():
    with pytest.raises(ValueError, match="16, 24 or 32"):
        to_audiosegment(Audio.of([0.0], 44100), 20)  # type: ignore[arg-type]


def test_without_pydub_the_command_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydub", None)
    with pytest.raises(UnderstudyError) as missing:
        to_audiosegment(Audio.of([0.0], 44100))
    assert missing.value.code == "package-missing"
    assert "understudy-covers[pydub]" in missing.value.hint
