"""Covers of singing that separators and pitch trackers aren't made for: nothing clicks, pumps or breaks silence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.python_user import Workspace
from tests.support.unusual_singing import KINDS, SILENCE, song

SECONDS, RATE = 4.0, 22050


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_cover(workspace: Workspace, kind: str) -> None:
    mix, _ = song(kind, SECONDS, RATE)
    cover = workspace.session().cover((mix.samples, RATE), voice="nova")
    samples = np.asarray(cover.audio)
    assert samples.shape == mix.samples.shape
    assert np.isfinite(samples).all()
    # the separator's window is 93 ms long, and sounds that far before and after what it takes apart
    start, stop = (round(moment * RATE) for moment in (SILENCE[0] + 0.15, SILENCE[1] - 0.1))
    assert np.abs(samples[:, start:stop]).max() < 1e-4
    figures = json.loads(cover.report_path.with_suffix(".json").read_text(encoding="utf-8"))["figures"]
    values = {figure["name"]: figure["value"] for figure in figures}
    assert values["clicks"] == values["bad_samples"] == values["clipped"] == 0
    assert values["missing"] == values["missing_finished"] == 0
    assert values["unsteadiness"] < 1.5
    assert values["limiting"] < 1.5
    assert values["true_peak"] < -0.9
    assert values["balance_shift"] < 2.5
