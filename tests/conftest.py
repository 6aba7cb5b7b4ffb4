"""What holds for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import understudy  # noqa: F401  before numpy and torch, whose threads it sets as for users

# What tests sign, they sign with a key of their own, not with the developer's.
os.environ["UNDERSTUDY_SIGNING"] = tempfile.mkdtemp(prefix="understudy-signing-")
atexit.register(shutil.rmtree, os.environ["UNDERSTUDY_SIGNING"], ignore_errors=True)


def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``: one process more than cores, as tests wait for servers and files. Each takes up to 3 GB."""
    return min(4, 1 + (os.cpu_count() or 1))


_LONGEST = ("services", "packaging", "understudy", "examples", "demo", "benchmarks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The modules that take longest begin first, so that all processes end at about the same time."""
    items.sort(key=lambda item: not any(f"tests/{folder}/" in item.nodeid for folder in _LONGEST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("it needs a graphics card, and torch finds none")


# No deadlines: how long an example takes says more about the machine than about the code.
_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
_ANYWHERE: dict[str, Any] = {"deadline": None, "suppress_health_check": _CHECKS, "print_blob": True}
settings.register_profile("full", **_ANYWHERE)
settings.register_profile("quick", max_examples=15, **_ANYWHERE)
settings.register_profile("ci", max_examples=30, derandomize=True, **_ANYWHERE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "full"))
