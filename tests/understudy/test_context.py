"""`Context` and the base error."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError


def test_progress_is_bounded_and_parts_are_scaled(tmp_path: Path):
    seen: list[float] = []
    context = Context(tmp_path, on_progress=seen.append)
    for fraction in (-1, 0, 0.5, 1, 7):
        context.progress(fraction)
    assert seen == [0, 0, 0.5, 1, 1]
    seen.clear()
    part = context.part(0.2, 0.6).part(0.5, 1.0)
    for fraction in (0, 0.5, 1):
        part.progress(fraction)
    assert seen == pytest.approx([0.4, 0.5, 0.6])


def test_cancelling_reaches_every_part(tmp_path: Path):
    context = Context(tmp_path)
    part = context.part(0, 0.5)
    part.progress(0.1)
    context.cancelled.set()
    for one in (context, part):
        with pytest.raises(Cancelled) as caught:
            one.progress(0.2)
        assert caught.value.code == "cancelled"


def test_warnings_are_shared_and_said_once(tmp_path: Path):
    context = Context(tmp_path)
    context.part(0, 1).warn("It is quiet.")
    context.warn("It is quiet.")
    context.warn("It is short.")
    assert context.warnings == ["It is quiet.", "It is short."]


def test_errors_survive_a_process_boundary():
    for error in (UnderstudyError("code-x", "What.", "Do."), Cancelled()):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert (copy.code, copy.message, copy.hint) == (error.code, error.message, error.hint)
        assert str(copy) == f"{error.message} {error.hint}"
