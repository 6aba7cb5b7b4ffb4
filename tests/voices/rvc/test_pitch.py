"""The melody between the tracker's frames and the synthesizer's."""

import numpy as np

from understudy.audio.pitch import PitchTrack
from understudy.voices.rvc.pitch import frame_pitch


def track(*f0: float) -> PitchTrack:
    """A track every 5 ms from values every 10 ms; the values between are odd ones that must not be taken."""
    values = np.full(2 * len(f0) - 1, 999.0, np.float32)
    values[::2] = f0
    return PitchTrack(values, 0.005)


def test_every_second_frame_of_the_track_is_taken() -> None:
    made = frame_pitch(track(100, 200, 0, 400), 3, 2, 0.0, fill=False)
    np.testing.assert_allclose(made.f0[2:-2], [100, 200, 0, 400], rtol=1e-6)


def test_beyond_the_ends_it_is_reflected() -> None:
    made = frame_pitch(track(100, 200, 0, 400), 3, 5, 0.0, fill=False)
    np.testing.assert_allclose(made.f0, [200, 0, 400, 0, 200, 100, 200, 0, 400, 0, 200, 100, 200, 0], rtol=1e-6)


def test_transposing_moves_by_semitones_and_leaves_unvoiced_frames() -> None:
    made = frame_pitch(track(100, 0, 200), 2, 0, 12.0, fill=False)
    np.testing.assert_allclose(made.f0, [200, 0, 400], rtol=1e-6)


def test_filling_draws_lines_and_remembers_what_was_voiced() -> None:
    made = frame_pitch(track(0, 100, 0, 0, 400, 0), 5, 0, 0.0, fill=True)
    np.testing.assert_allclose(made.f0, [100, 100, 200, 300, 400, 400], rtol=1e-6)
    assert made.voiced.tolist() == [False, True, False, False, True, False]


def test_a_song_without_pitch_stays_without() -> None:
    assert not frame_pitch(track(0, 0, 0), 2, 4, 0.0, fill=True).f0.any()
    assert frame_pitch(PitchTrack(np.zeros(0, np.float32)), 4, 3, 0.0, fill=False).f0.shape == (11,)
    assert frame_pitch(track(100.0), 0, 3, 0.0, fill=False).f0.shape == (7,)


def test_a_track_that_ends_early_is_unvoiced_from_there() -> None:
    np.testing.assert_allclose(frame_pitch(track(100, 200), 3, 0, 0.0, fill=False).f0, [100, 200, 0, 0], rtol=1e-6)


def test_turns_count_the_phase_before_each_frame() -> None:
    made = frame_pitch(track(130, 0, 270), 2, 0, 0.0, fill=False)
    np.testing.assert_allclose(made.phase, [0, 0.3, 0.3], atol=1e-6)


def test_turns_of_an_hour_are_exact() -> None:
    made = frame_pitch(PitchTrack(np.full(720001, 440.125, np.float32)), 359999, 100, 0.0, fill=False)
    exact = (440.125 * 0.01 * (np.arange(360200))) % 1.0
    difference = np.abs(made.phase - exact)
    assert np.minimum(difference, 1 - difference).max() < 1e-5
