"""What holds for every test."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

import understudy  # noqa: F401  before numpy and torch, whose threads it sets as for users

# No deadlines: how long an example takes says more about the machine than about the code.
_ANYWHERE: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("quick", max_examples=15, **_ANYWHERE)
settings.register_profile("ci", max_examples=100, derandomize=True, **_ANYWHERE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
