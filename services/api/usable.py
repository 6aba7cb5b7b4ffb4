"""What this server can't do for want of a model, in words for users: without the operator's commands and paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.models import require
from understudy.voices.engines import engine
from understudy.voices.voice import Manifest, Voice


def check_voice(manifest: dict[str, Any], wanted: str | None = None) -> None:
    """Raise ``model-missing``, or what else is wrong with a model, if a voice can't sing here with the engine `wanted`;
    None: its own."""
    voice = Voice(Path(), Manifest.model_validate(manifest)).sung_by(wanted)
    try:
        for name in engine(voice.manifest.engine).models(voice):
            require(name)
    except UnderstudyError as error:
        text = "This voice needs a model that this server hasn't got."
        raise UnderstudyError(error.code, text, "Choose another voice, or ask the server's operator for it.") from error


def objection(check: Callable[..., None], *arguments: Any) -> str | None:
    """What `check` raises, as sentences; None if it raises nothing."""
    try:
        check(*arguments)
    except UnderstudyError as error:
        return f"{error.message} {error.hint}"
    return None
