from __future__ import annotations

import numpy as np
import pytest

from understudy.audio.gain_reduction import GainReduction


def test_of_known_gains() -> None:
    decibels = np.zeros(1000)
    decibels[:20] = -6.0
    decibels[20:120] = -2.0
    reduction = GainReduction()
    for block in np.split((10 ** (decibels / 20)).astype(np.float32), [7, 7, 400]):
        reduction.add(block)
    assert reduction.most == pytest.approx(6, abs=1e-3)
    assert reduction.mean == pytest.approx(0.02 * 6 + 0.1 * 2, abs=1e-3)
    assert reduction.share_above(3.0) == pytest.approx(0.02)
    assert reduction.share_above(6.5) == 0
    assert reduction.exceeded(0.01) == pytest.approx(6, abs=0.02)
    assert reduction.exceeded(0.05) == pytest.approx(2, abs=0.02)
    assert reduction.exceeded(0.2) == 0


def test_of_nothing_and_of_silence() -> None:
    reduction = GainReduction()
    assert (reduction.most, reduction.mean, reduction.share_above(3), reduction.exceeded(0.01)) == (0, 0, 0, 0)
    reduction.add(np.ones(10, np.float32))
    assert (reduction.most, reduction.mean, reduction.share_above(3), reduction.exceeded(0.01)) == (0, 0, 0, 0)
    reduction.add(np.zeros(10, np.float32))
    assert np.isfinite(reduction.most)
