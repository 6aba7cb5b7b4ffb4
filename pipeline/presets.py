"""The presets: YAML files that name the settings which they change."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import UnderstudyError


def presets() -> dict[str, Path]:
    """The presets that come with the program, by name."""
    folder = Path(str(files("understudy.configs"))) / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_preset(preset: str) -> dict[str, Any]:
    """The settings that a preset (a name or the path of a YAML file) changes. Raises `UnderstudyError`
    ``preset-unknown``, ``preset-unreadable`` or ``preset-invalid``."""
    known = presets()
    path = known.get(preset) or Path(preset)
    if preset not in known and path.suffix not in (".yaml", ".yml"):
        raise UnderstudyError(
            "preset-unknown",
            f"There is no preset named {preset!r}.",
            f"Choose one of {', '.join(known)}, or give the path of a YAML file.",
        )
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).replace("\n", " ")
        raise UnderstudyError(
            "preset-unreadable", f"The preset {path} can't be read: {reason}.", "Give the path of a YAML file."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UnderstudyError(
            "preset-invalid",
            f"The preset {path} holds a {type(content).__name__}, not keys and values.",
            "Look at 'understudy presets' for how one is written.",
        )
    return content
