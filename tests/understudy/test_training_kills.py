"""A training that is killed at any moment goes on, and ends with the same bytes as one that wasn't."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.training_kills import Moment, attempt, run_undisturbed
from tests.support.training_voices import sung_voice

pytestmark = pytest.mark.slow


def test_killed_trainings_end_with_the_same_bytes(tmp_path):
    sung_voice(tmp_path / "start" / "voices")
    whole = run_undisturbed(tmp_path / "start", tmp_path / "whole")
    moments = [Moment.of(whole, phase, 0.5) for phase in ("training",)]
    result = attempt(tmp_path / "start", tmp_path / "run", moments, whole)
    assert result.same
    assert result.whole_meanwhile
    shutil.rmtree(tmp_path / "run")
