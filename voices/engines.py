"""The engines by name, as in a voice's manifest."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.voices.engine import Engine


def engine(name: str) -> Engine:
    """The engine called `name`; raises `UnderstudyError` ``engine-unknown``."""
    from understudy.voices.instant import InstantEngine
    from understudy.voices.rvc.engine import RvcEngine

    engines: dict[str, Engine] = {"instant": InstantEngine(), "rvc": RvcEngine()}
    if name not in engines:
        raise UnderstudyError(
            "engine-unknown",
            f"There is no engine named {name!r}.",
            f"Choose one of: {', '.join(sorted(engines))}.",
        )
    return engines[name]
