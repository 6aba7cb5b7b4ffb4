"""What a stranger may ask of a separation: models by name, and none that this server hasn't got."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.pipeline.separating import models_of, names_of, separating
from understudy.pipeline.separation.models import own_files
from understudy.pipeline.separation.settings import SeparationSettings


def check_separation(settings: SeparationSettings, used: bool) -> None:
    """Raise ``separator-unknown`` for a model that isn't named by its name in the catalogue or the models folder: which
    other files there are on the server is nobody's business. Where the separation is `used`, also what `separating`
    raises, with no word of the server's folders.
    """
    names = models_of(settings)
    for name in names:
        if not _known(name):
            raise UnderstudyError(
                "separator-unknown",
                f"There is no separation model named {name[:100]!r} here.",
                "Name a model of this server, without a path.",
            )
    if not used:
        return
    try:
        separating("decode", settings)
    except UnderstudyError as error:
        if error.code in ("model-missing", "models-missing"):
            raise UnderstudyError(
                error.code,
                f"This server hasn't got all models of this separation ({', '.join(names)}).",
                "Choose another preset, or ask whoever runs the server for them.",
            ) from error
        if error.code.startswith("model-"):
            raise UnderstudyError(
                error.code,
                f"A model of this separation can't be used on this server ({', '.join(names)}).",
                "Choose another model, or tell whoever runs the server.",
            ) from error
        raise


def _known(name: str) -> bool:
    """Whether a model of the catalogue or a file in the models folder itself is called so."""
    if any(name in names_of(model) for model in catalogue().values()):
        return True
    return any(name in (path.name, path.stem) for path in own_files())
