"""The gate on levels whose answer is known."""

import numpy as np

from understudy.voices.envelope import gate, soft_gain


def frames(*parts: tuple[int, float]) -> np.ndarray:
    """Mean squares: (frames, dBFS) after one another."""
    return np.concatenate([np.full(count, 10 ** (level / 10)) for count, level in parts])


def test_a_steady_sound_passes_unchanged() -> None:
    for level in (0.0, -30.0, -70.0):
        np.testing.assert_array_equal(gate(frames((500, level))), np.ones(500))


def test_silence_stays_shut() -> None:
    np.testing.assert_array_equal(gate(np.zeros(300)), np.zeros(300))
    np.testing.assert_array_equal(gate(frames((300, -95.0))), np.zeros(300))
    assert gate(np.zeros(0)).shape == (0,)


def test_a_rest_between_notes_is_silent_and_the_notes_are_whole() -> None:
    gain = gate(frames((200, -20.0), (100, -100.0), (200, -20.0)))
    assert (gain[:200] > 0.999).all()
    assert (gain[300:] > 0.999).all()
    assert (gain[225:285] == 0).all()


def test_it_opens_before_the_note_and_closes_without_a_step() -> None:
    gain = gate(frames((200, -120.0), (200, -20.0), (200, -120.0)))
    opening = int(np.flatnonzero(gain > 0)[0])
    assert 190 <= opening < 200
    assert np.abs(np.diff(gain)).max() < 0.5
    assert (gain[430:] == 0).all()


def test_soft_singing_is_not_gated_and_what_only_leaks_through_is_not_counted_as_singing() -> None:
    gain = gate(frames((300, -15.0), (300, -50.0), (300, -85.0), (300, -15.0)))
    assert (gain[300:600] > 0.999).all()
    assert (gain[630:880] == 0).all()


def levels(gain: np.ndarray, energy: np.ndarray) -> np.ndarray:
    return np.asarray(10 * np.log10(energy * gain**2 + 1e-12))


def test_the_hiss_of_a_rest_is_no_louder_than_the_room_was() -> None:
    original = frames((300, -20.0), (200, -65.0), (300, -20.0))  # a room at -45 dB against the singing
    own = frames((300, -23.0), (200, -30.0), (300, -23.0))
    made = levels(soft_gain(original, own), own)
    assert np.abs(made[320:480] - (-23 - 45)).max() < 1
    np.testing.assert_allclose(made[:295], -23, atol=0.1)
    np.testing.assert_allclose(made[505:], -23, atol=0.1)


def test_consonants_and_soft_notes_are_left_alone() -> None:
    original = frames((300, -20.0), (30, -48.0), (300, -40.0))
    own = frames((300, -23.0), (30, -25.0), (300, -23.0))
    np.testing.assert_allclose(soft_gain(original, own), 1.0, atol=1e-6)


def test_what_is_soft_already_is_never_raised() -> None:
    original = frames((300, -20.0), (200, -70.0))
    own = frames((300, -20.0), (200, -100.0))
    np.testing.assert_allclose(soft_gain(original, own), 1.0, atol=1e-6)
    assert soft_gain(np.zeros(0), np.zeros(0)).shape == (0,)
    assert np.isfinite(soft_gain(np.zeros(50), np.zeros(50))).all()
