"""The engines by name. They import the interface of `understudy.voices.engine`, so this stands apart from it."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.voices.engine import Engine
from understudy.voices.instant import InstantEngine
from understudy.voices.rvc.engine import RvcEngine

ENGINES: dict[str, Engine] = {"instant": InstantEngine(), "rvc": RvcEngine()}


def engine(name: str) -> Engine:
    """The engine called `name` in a voice's manifest; raises `UnderstudyError` ``engine-unknown``."""
    if name not in ENGINES:
        known = ", ".join(sorted(ENGINES))
        raise UnderstudyError("engine-unknown", f"There is no engine named {name!r}.", f"Choose one of: {known}.")
    return ENGINES[name]
