"""Models of the user's own under a name: their entries are kept in the models folder, and the catalogue has them beside
those that Understudy knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from filelock import FileLock

from understudy.disk import explained
from understudy.models.catalogue import OWN, Model
from understudy.models.hashes import models_folder, write_whole


def remember(model: Model) -> None:
    """Put the entry of `model` among the user's own, in place of one of that name. Raises ``disk-full`` and others for
    a models folder that can't be written."""
    entry = model.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    _change(lambda entries: entries.update({model.name: entry}))


def forget(name: str) -> None:
    """Take the entry of that name out of the user's own, if there is one."""
    if (models_folder() / OWN).is_file():
        _change(lambda entries: entries.pop(name, None))


def _change(change: Callable[[dict[str, Any]], object]) -> None:
    path = models_folder() / OWN
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{OWN}.lock")):
            old: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
            new = dict(old)
            change(new)
            if new != old:
                write_whole(path, json.dumps(new, indent=2) + "\n")
    except OSError as error:
        raise explained(path, error) from error
