"""The maps that the fit of the fusion works on hold the error of any mask."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.separation_fusion import GRID, WIDTHS, mix_of
from understudy.audio.spectrogram import analyse


def test_two_maps_hold_the_error_of_any_mask() -> None:
    voice, band = np.random.default_rng(0).normal(0, 0.1, (2, 2, 30000)).astype(np.float32)
    mix = mix_of("song", "song", 0.0, voice, band)
    assert mix.power.shape == mix.share.shape == (2, len(mix.voice), len(WIDTHS))
    song, sung = analyse(voice + band, GRID), analyse(voice, GRID)
    whole = np.sum(np.abs(song) ** 2)
    for mask in (0.0, 0.4, 1.0):
        read_off = (mix.power * (mask - mix.share) ** 2).sum() + mix.remaining.sum()
        direct = np.sum(np.abs(mask * song - sung) ** 2) / whole * mix.power.sum()
        assert read_off == pytest.approx(direct, rel=0.02)
