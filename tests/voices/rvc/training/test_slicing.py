"""Slices and pieces: where they must be, and that none is lost."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices.rvc.training.slicing import (
    LAST,
    SHORTEST,
    Clips,
    gain,
    levels,
    pieces,
    slice_recording,
    slices,
)

RATE = 16000


def tone(*parts: tuple[float, float], rate: int = RATE) -> Audio:
    """A tone of 440 Hz whose level (0..1) is given for so many seconds at a time."""
    level = np.concatenate([np.full(round(seconds * rate), height) for height, seconds in parts])
    return Audio.of(level * np.sin(2 * np.pi * 440 / rate * np.arange(len(level))), rate)


def sliced(folder: Path, sound: Audio, rate: int = RATE) -> Clips:
    return slice_recording(Context(folder), sound, rate)


def test_sounds_apart_become_slices_with_half_a_second_of_silence() -> None:
    found = slices(levels(tone((0.3, 2.0), (0.0, 2.0), (0.3, 3.0), (0.0, 2.0))))
    assert len(found) == 2
    (first, last), (second, end) = [(start * 0.015, stop * 0.015) for start, stop in found]
    assert first == 0
    assert 2.0 <= last <= 2.6
    assert 3.4 <= second <= 4.0
    assert 7.0 <= end <= 7.6


def test_short_gaps_and_short_sounds_are_not_cut() -> None:
    assert len(slices(levels(tone((0.3, 2.0), (0.0, 0.3), (0.3, 2.0))))) == 1
    assert len(slices(levels(tone((0.3, 1.0), (0.0, 0.5), (0.3, 2.0))))) == 1
    assert len(slices(levels(tone((0.3, 2.0), (0.0, 0.5), (0.3, 2.0))))) == 2


def test_a_quiet_recording_is_not_taken_for_silence() -> None:
    loud = slices(levels(tone((0.3, 3.0), (0.0, 2.0), (0.3, 3.0))))
    assert slices(levels(tone((0.002, 3.0), (0.0, 2.0), (0.002, 3.0)))) == loud


def test_levels_are_the_rms_of_60_ms() -> None:
    samples = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    found = levels(Audio.of(samples, RATE))
    padded = np.pad(samples, 480)
    assert len(found) == 5000 // 240 + 1
    for place in (0, 1, 7, 20):
        window = padded[place * 240 : place * 240 + 960]
        assert found[place] == pytest.approx(np.sqrt(np.mean(window**2)), rel=1e-5)


@given(st.integers(0, 1000), st.integers(1, 20_000))
def test_pieces_cover_a_slice_without_a_hole(start: int, length: int) -> None:
    found = pieces(start, start + length)
    assert found[0][0] == start
    assert found[-1][1] == start + length
    assert all(after[0] == before[0] + 680 and before[1] - before[0] == 740 for before, after in pairwise(found))
    assert found[-1][1] - found[-1][0] <= LAST
    if len(found) > 1:
        assert found[-1][1] - found[-1][0] > SHORTEST  # what is left after the others is never too short


def test_three_slices_of_eight_seconds_lose_no_piece(tmp_path: Path) -> None:
    parts = [(0.3, 8.0), (0.0, 1.5)] * 3
    found = sliced(tmp_path, tone(*parts)).pieces
    assert len(found) == 9  # RVC WebUI loses two of them


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.02, 0.3]), st.floats(0.05, 3.0)), min_size=1, max_size=12))
def test_no_loud_sound_is_left_out(parts: list[tuple[float, float]]) -> None:
    sound = tone(*parts)
    measured = levels(sound)
    covered = np.zeros(len(measured), bool)
    found = slices(measured)
    for start, stop in found:
        assert not covered[start:stop].any()
        covered[start:stop] = True
    assert found == sorted(found)
    assert not (measured[~covered] > 10 ** (-42 / 20)).any()


@pytest.mark.parametrize("rate", [16000, 32000, 40000, 48000])
def test_both_sounds_are_of_the_same_moments(tmp_path: Path, rate: int) -> None:
    clips = sliced(tmp_path, tone((0.3, 2.0), (0.0, 1.0), (0.3, 5.0), rate=44100), rate)
    assert (clips.sound.rate, clips.content_sound.rate) == (rate, 16000)
    assert clips.sound.duration == pytest.approx(8.0, abs=1e-3)
    assert clips.content_sound.duration == pytest.approx(8.0, abs=1e-3)
    for piece in clips.pieces:
        sound = clips.sound.read(piece.start * rate // 200, piece.stop * rate // 200).samples
        peak = float(np.abs(sound).max())
        assert piece.gain == pytest.approx(gain(peak))
        assert peak * piece.gain == pytest.approx(0.675 + 0.25 * peak)


def test_rumble_is_taken_away(tmp_path: Path) -> None:
    time = np.arange(5 * RATE) / RATE
    clips = sliced(
        tmp_path, Audio.of(0.3 * np.sin(2 * np.pi * 10 * time) + 0.2 + 0.1 * np.sin(2 * np.pi * 300 * time), RATE)
    )
    sound = clips.sound.read(RATE, 4 * RATE).samples[0]
    assert np.abs(np.fft.rfft(sound)[[0, 30]]).max() < 0.01 * np.abs(np.fft.rfft(sound)[900])


def test_pieces_far_too_loud_are_left_out_and_said(tmp_path: Path) -> None:
    clips = sliced(tmp_path, tone((0.3, 3.0), (0.0, 1.0), (4.0, 3.0), (0.0, 1.0), (0.3, 3.0)))
    assert len(clips.pieces) == 2
    (finding,) = clips.findings
    assert finding.code == "broken"
    assert "(at 4.0 s)" in finding.sentence


@pytest.mark.parametrize("seconds", [0.0, 0.2, 3.0])
def test_silence_has_no_pieces_and_is_said(tmp_path: Path, seconds: float) -> None:
    clips = sliced(tmp_path, tone((0.0, seconds)))
    assert not clips.pieces
    assert [finding.code for finding in clips.findings] == ["silent"]
