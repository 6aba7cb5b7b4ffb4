"""A models folder of one's own, a source, and a context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_source import Source, catalogue_file, served
from understudy.context import Context
from understudy.models import download


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder; it doesn't exist yet."""
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("UNDERSTUDY_CATALOGUE", raising=False)
    monkeypatch.setattr(download, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(download, "RESERVE", 1)
    return tmp_path / "models"


@pytest.fixture
def source(folder: Path) -> Iterator[Source]:
    with served(Source()) as source:
        yield source


@pytest.fixture
def publish(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a catalogue with the model ``thing`` the one that counts; arguments as for `catalogue_file`."""

    def make(url: str | None, **changes: Any) -> None:
        monkeypatch.setenv("UNDERSTUDY_CATALOGUE", str(catalogue_file(tmp_path, url, **changes)))

    return make


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)
