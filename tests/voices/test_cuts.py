"""Cuts: every sung frame is in exactly one piece, and cuts lie in silence where there is any."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from understudy.voices.cuts import SKIPPED, Piece, pieces, split


def test_a_short_song_is_one_piece() -> None:
    assert pieces(np.ones(900), np.ones(900), 1000) == [Piece(0, 900, False)]


def test_a_cut_lies_in_the_silence_nearby() -> None:
    energy = np.ones(2000)
    energy[760:800] = 0
    cut = pieces(energy, np.ones(2000), 1000)[0].last
    assert 765 <= cut <= 795


def test_without_silence_a_cut_lies_at_the_quietest_place() -> None:
    energy = 1 + np.cos(np.arange(2000) / 2000 * 2 * np.pi * 5)  # lowest at 200, 600, 1000 ...
    assert pieces(energy, np.ones(2000), 1000)[0].last == 600


def test_long_rests_are_left_out_and_short_ones_are_not() -> None:
    gain = np.ones(3000)
    gain[500 : 500 + SKIPPED] = 0
    gain[2000 : 2000 + SKIPPED - 1] = 0
    gain[-10:] = 0
    assert pieces(gain, gain, 5000) == [Piece(0, 500, False), Piece(500 + SKIPPED, 2990, False)]


def test_silence_has_no_pieces() -> None:
    assert pieces(np.zeros(500), np.zeros(500), 100) == []
    assert pieces(np.zeros(0), np.zeros(0), 100) == []


def test_a_part_of_a_piece_follows_what_the_piece_followed() -> None:
    parts = split(Piece(100, 1100, True), np.ones(2000), 400)
    assert all(part.follows for part in parts)
    assert (parts[0].first, parts[-1].last) == (100, 1100)


@given(
    st.lists(st.tuples(st.integers(1, 900), st.sampled_from([0.0, 0.1, 1.0])), min_size=1, max_size=12),
    st.integers(100, 700),
)
def test_pieces_hold_every_sung_frame_once_and_none_is_too_long(
    stretches: list[tuple[int, float]], longest: int
) -> None:
    energy = np.concatenate([np.full(frames, level) for frames, level in stretches])
    found = pieces(energy, energy, longest)
    held = np.zeros(len(energy), int)
    for piece in found:
        assert 0 < piece.frames <= longest
        held[piece.first : piece.last] += 1
    assert held.max(initial=0) <= 1
    assert (held[energy > 0] == 1).all()
    for before, after in pairwise(found):
        assert after.follows == (before.last == after.first)
        assert before.last <= after.first
