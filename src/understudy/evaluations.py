"""The job of an evaluation: separators measured on songs whose stems are known, with tables of the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

from understudy.errors import UnderstudyError
from understudy.pipeline.evaluation.dataset import Dataset, find_songs
from understudy.pipeline.evaluation.run import Candidate, Listener, evaluate
from understudy.pipeline.evaluation.table import write_tables
from understudy.pipeline.executor import Executor
from understudy.pipeline.publish import check_writable
from understudy.pipeline.settings import load_settings
from understudy.results import EvaluationResult


@dataclass(frozen=True)
class EvaluationJob:
    """`folder`: songs as in MUSDB18-HQ. `candidates`: the separators. `stems`: 2, or 4 for drums, bass and other, too.
    `output`: folder of the tables, or None for ``evaluations/FOLDER``. `limit`: only the first so many songs.
    `at_once`: songs at a time."""

    folder: Path
    candidates: tuple[Candidate, ...]
    stems: int = 2
    output: Path | None = None
    limit: int | None = None
    at_once: int = 1

    @cached_property
    def dataset(self) -> Dataset:
        """Raises `UnderstudyError`: ``folder-not-found``, ``dataset-empty``."""
        found = find_songs(self.folder)
        return replace(found, songs=found.songs[: self.limit])

    @property
    def title(self) -> str:
        return self.folder.resolve().name


def candidates(
    models: Sequence[str] = (), presets: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> tuple[Candidate, ...]:
    """Every model with every preset; a preset's own model where none is named. `options`: as in `load_settings`.

    Raises `UnderstudyError` for settings that aren't valid.
    """
    found: dict[str, Candidate] = {}
    for preset in tuple(presets) or (None,):
        for model in tuple(models) or (None,):
            settings = load_settings(preset, {"separation.model": model, **(options or {})}).separation
            parts = [model or (settings.model if preset is None else None), preset]
            name = " of ".join(part for part in parts if part)
            found[name] = Candidate(name, settings)
    return tuple(found.values())


def evaluate_separators(
    job: EvaluationJob,
    executor: Executor,
    listener: Listener,
    cancelled: Event,
    between: Callable[[], object] = lambda: None,
) -> EvaluationResult:
    """Measure every candidate on every song and write the tables. `between` is called after every song.

    Raises `UnderstudyError`: ``nothing-evaluated`` when every song failed, and what
    `understudy.pipeline.evaluation.run.evaluate` raises; `Cancelled`.
    """
    dataset = job.dataset
    target = job.output or Path("evaluations") / job.title
    check_writable(target)
    outcome = evaluate(dataset, job.candidates, job.stems, target, executor, listener, cancelled, job.at_once, between)
    rows = [*outcome.rows, *outcome.others]
    files = write_tables(target, job.title, rows, dataset.passed_over)
    result = EvaluationResult(job.title, outcome.rows, outcome.others, dataset.passed_over, outcome.kept, files)
    if len(result.failed) == len(result.rows):
        first = result.failed[0]
        raise UnderstudyError(
            "nothing-evaluated", f"No song could be evaluated. {first.song}: {first.reason}", f"See {files['html']}."
        )
    return result
