"""The YAML configurations of checkpoints: which file belongs to a checkpoint, and how it is read. They are untrusted
files, read as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import UnderstudyError
from understudy.models import Weights, catalogue, models_folder

EXTENSIONS = (".yaml", ".yml")
LARGEST = 1 << 20
"""Bytes; the published ones have a few thousand."""
MOST_ALIASES = 1000
"""``*name`` in a file, each of which repeats what ``&name`` marked: a few lines of nested ones would fill any
memory."""


class _Loader(yaml.SafeLoader):
    """Plain YAML with Python's tag for tuples, which training programs write."""

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
    """The content of the YAML file at `path`, as dictionaries, lists, texts and numbers; ``!!python/tuple`` gives a
    list.

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
    """The error for a configuration that can't be used."""
    return UnderstudyError(
        "model-invalid",
        f"{path} is no configuration of a separation model: {' '.join(reason.split())}.",
        "Get it again from where the model was published.",
    )


def configuration_of(path: Path) -> Path | None:
    """The YAML that belongs to the checkpoint at `path`: ``NAME.yaml``, ``NAME_config.yaml`` or ``config_NAME.yaml``
    beside it, or the only file ``config*.yaml`` in its folder; None if there is none.

    In the models folder, a file that belongs to a model of the catalogue is not used for another. Raises
    `UnderstudyError` ``model-companion`` where several could be it.
    """
    names = (path.stem, f"{path.stem}_config", f"config_{path.stem}")
    for name in names:
        for extension in EXTENSIONS:
            if (beside := path.parent / f"{name}{extension}").is_file():
                return beside
    candidates = sorted(
        other
        for other in path.parent.glob("config*")
        if other.suffix.lower() in EXTENSIONS and other.is_file() and not is_published(other)
    )
    if len(candidates) > 1:
        raise UnderstudyError(
            "model-companion",
            f"Which configuration belongs to {path}? {', '.join(other.name for other in candidates[:5])} could.",
            f"Copy the right one to {path.with_suffix('.yaml')}.",
        )
    return candidates[0] if candidates else None


def configuration_among(weights: Weights, family: str) -> Path:
    """The YAML among the companions of a checkpoint of that family. Raises ``model-companion`` where there is none."""
    for companion in weights.companions:
        if companion.path.suffix.lower() in EXTENSIONS:
            return companion.path
    raise required_configuration(weights.path, family)


def required_configuration(path: Path, family: str) -> UnderstudyError:
    """The error for a checkpoint of a family that can't be read without a configuration."""
    return UnderstudyError(
        "model-companion",
        f"{path} is a checkpoint of the family {family}, which needs the configuration that was published with it.",
        f"Put that YAML file at {path.with_suffix('.yaml')}.",
    )


def is_published(path: Path) -> bool:
    """Whether a file in the models folder is one of the catalogue's."""
    if path.parent != models_folder():
        return False
    return any(path.name == file.file for model in catalogue().values() for file in model.files)
