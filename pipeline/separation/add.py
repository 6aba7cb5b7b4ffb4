"""`add_separator`: a separation model that isn't in the catalogue into the models folder."""

from __future__ import annotations

from pathlib import Path

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import models_folder
from understudy.models.add import keep
from understudy.models.hashes import file_hash, remembered_hash
from understudy.pipeline.separation.configuration import EXTENSIONS as YAML
from understudy.pipeline.separation.models import SeparatorModel, find_separator
from understudy.pipeline.separation.recognition import recognised


def add_separator(path: Path, context: Context) -> SeparatorModel:
    """Copy the model at `path` and what goes with it into the models folder, where it goes by its file's name; the
    model. The configuration of a checkpoint gets the checkpoint's name.

    Raises what `recognised` raises for what is no separation model, ``model-installed`` where another file has that
    name there, and what copying raises.
    """
    _, companions = recognised(path.absolute())
    bag = path.suffix.lower() in YAML
    files = {path: path.name}
    for other in companions:
        own_name = other.name if bag or other.suffix.lower() not in YAML else f"{path.stem}{other.suffix.lower()}"
        files[other] = own_name
    hashes = {other: file_hash(other) for other in files}
    for other, name in files.items():
        there = models_folder() / name
        if there.exists() and not there.samefile(other) and remembered_hash(there) != hashes[other]:
            raise UnderstudyError(
                "model-installed",
                f"Another file is at {there} already.",
                "Give this one another name, or remove that one: understudy models remove " + name,
            )
    for number, (other, name) in enumerate(files.items()):
        part = context.part(number / len(files), (number + 1) / len(files))
        keep(other, name, hashes[other], str(other), True, False, part)
    context.progress(1.0)
    return find_separator(path.name)
