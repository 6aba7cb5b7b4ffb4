"""A short run of the mutations of `benchmarks.fuzz_models`, others than those that the measurements count."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_models import main


@pytest.mark.slow
@pytest.mark.parametrize("seed", [101, 102])
def test_mutated_files_are_taken_in_or_refused(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "80", "--seed", str(seed)]) == 0, capsys.readouterr().out
