"""The configuration that lies beside a checkpoint which somebody put there by hand."""

from __future__ import annotations

from pathlib import Path

from understudy.errors import UnderstudyError
from understudy.models import Weights, catalogue, models_folder
from understudy.pipeline.separation.configuration import EXTENSIONS


def configuration_of(path: Path) -> Path | None:
    """The YAML that belongs to the checkpoint at `path`: ``NAME.yaml``, ``NAME_config.yaml`` or ``config_NAME.yaml``
    beside it, or the only file ``config*.yaml`` in its folder; None if there is none.

    In the models folder, a file that belongs to a model of the catalogue is nobody else's. Raises `UnderstudyError`
    ``model-companion`` where several could be it.
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
