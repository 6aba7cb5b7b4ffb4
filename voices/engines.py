"""The engines by name. They import the interface of `understudy.voices.engine`, so this stands apart from it."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.models import usable
from understudy.voices.engine import Engine
from understudy.voices.instant import InstantEngine
from understudy.voices.rvc.engine import RvcEngine
from understudy.voices.voice import Voice
from understudy.voices.zero_shot.engine import ZeroShotEngine

ENGINES: dict[str, Engine] = {"instant": InstantEngine(), "zero-shot": ZeroShotEngine(), "rvc": RvcEngine()}


def offered(voice: Voice) -> tuple[str, ...]:
    """The engines of `voice` to choose from here: `zero-shot` only where its models are installed."""
    return tuple(
        name
        for name in voice.engines
        if name in ("instant", "rvc", voice.manifest.engine) or all(map(usable, ENGINES[name].models(voice)))
    )


def engine(name: str) -> Engine:
    """The engine called `name` in a voice's manifest; raises `UnderstudyError` ``engine-unknown``."""
    if name not in ENGINES:
        known = ", ".join(sorted(ENGINES))
        raise UnderstudyError("engine-unknown", f"There is no engine named {name!r}.", f"Choose one of: {known}.")
    return ENGINES[name]
