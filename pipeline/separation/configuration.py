"""Configurations that lie beside checkpoints: YAML of strangers, read as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import UnderstudyError

EXTENSIONS = (".yaml", ".yml")
LARGEST = 1 << 20
"""Bytes; the published ones have a few thousand."""
MOST_ALIASES = 1000
"""``*name`` in a file, each of which repeats what ``&name`` marked: a few lines of nested ones would fill any memory"""


class _Loader(yaml.SafeLoader):
    """Plain YAML, and the one tag that Python programs leave in it."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MOST_ALIASES:
                raise yaml.YAMLError("it repeats itself too often")
        return super().compose_node(parent, index)


def _tuple(loader: _Loader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.YAMLError("a tuple that is no list")
    return list(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_configuration(path: Path) -> Mapping[str, Any]:
    """What the YAML file at `path` says, as dictionaries, lists, texts and numbers; ``!!python/tuple`` gives a list.

    Raises `UnderstudyError` ``model-companion`` if it isn't there or can't be read, ``model-invalid`` if it is no such
    file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UnderstudyError(
            "model-companion",
            f"The configuration {path} can't be read ({error.strerror or error}).",
            "Put it there, from where the model was published.",
        ) from error
    try:
        if len(content) > LARGEST:
            raise ValueError("it is too large")
        found = yaml.load(content.decode("utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise invalid(path, str(getattr(error, "problem", None) or error)) from error
    if not isinstance(found, dict):
        raise invalid(path, "it holds no names with values")
    return found


def invalid(path: Path, reason: str) -> UnderstudyError:
    """The error for a configuration that is of no use."""
    return UnderstudyError(
        "model-invalid",
        f"{path} is no configuration of a separation model: {' '.join(reason.split())}.",
        "Get it again from where the model was published.",
    )
