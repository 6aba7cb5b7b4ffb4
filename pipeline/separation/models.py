"""Separation models by name, and their networks, loaded once per process.

A family's module (`understudy.pipeline.separation.families`) gets a `Weights`: `path` is the checkpoint, and
`companions` are the files that go with it, a YAML among them where there is one. Of a bag of Demucs networks `path` is
the YAML that lists them, and the companions are its checkpoints in the list's order; of Spleeter in a file per stem,
`path` is the first of them and the companions are the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from understudy.errors import UnderstudyError
from understudy.models import Model, Weights, catalogue, models_folder, require, warm
from understudy.models.catalogue import published
from understudy.models.hashes import remembered_hash
from understudy.models.installed import beside
from understudy.models.precision import Precision
from understudy.pipeline.separation.recognition import EXTENSIONS, FAMILIES, check_file, is_bag, recognised
from understudy.pipeline.separation.stems import Purpose, canonical_stems, purpose_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from understudy.audio.samples import Samples
    from understudy.pipeline.separation.network import Network

T = TypeVar("T")

EMBEDDED = "embedded"
_FALLBACK = ("roformer", "pymss_core")
"""The family whose files another one may read where it refuses them, and that other one."""
_PURPOSES: Mapping[str, Purpose] = {"karaoke": "karaoke", "dereverb": "dereverb", "denoise": "denoise"}


SeparatorFunction = Callable[["Samples", int], Mapping[str, "ArrayLike"]]
"""(samples, rate) -> stems by name. `samples`: the song, float32 ``[channels, frames]`` with 1 or 2 channels, full
scale ±1; `rate` in Hz. Each stem has the shape of `samples` and is aligned with it."""


@dataclass(frozen=True)
class CustomSeparator:
    """A function of the user's own. `name`: what settings call it. `version`: stands for it in cache keys. `stems`:
    what it gives."""

    name: str
    version: str
    stems: tuple[str, ...]
    function: SeparatorFunction


registered: dict[str, CustomSeparator] = {}
"""By name; see `understudy.pipeline.separation.custom.register_separator`."""


@dataclass(frozen=True)
class SeparatorModel:
    """`family`: the module that reads it. `stems`: what it gives, in order. `weights`: its files; None for the embedded
    separator, which is its own family, and for a `custom` one, which is a function."""

    name: str
    family: str
    stems: tuple[str, ...]
    weights: Weights | None
    custom: CustomSeparator | None = None

    @property
    def identity(self) -> str:
        """Stands for it in cache keys."""
        if self.custom is not None:
            return f"custom {self.name} {self.custom.version} {' '.join(self.stems)}"
        return f"{self.weights.content_hash} {' '.join(self.stems)}" if self.weights else self.name


class Family(Protocol):
    """What a module in `understudy.pipeline.separation.families` has."""

    def load(self, weights: Weights, device: str, precision: Precision) -> Network: ...

    def stems(self, weights: Weights) -> tuple[str, ...]: ...


def names_in(setting: str) -> tuple[str, ...]:
    """The models that a setting names, joined with '+'. Raises ``separator-unknown`` if one of them has no name, or is
    named twice."""
    names = tuple(part.strip() for part in setting.split("+"))
    if not all(names) or len(set(names)) < len(names):
        raise UnderstudyError(
            "separator-unknown",
            f"{setting!r} doesn't name separation models.",
            "Name one model, or several different ones joined with '+'; 'understudy models list' shows them.",
        )
    return names


def find_separator(name: str) -> SeparatorModel:
    """The model that `name` stands for: ``embedded``, a name given to `register_separator`, a name in the catalogue,
    the name of a published file, a file in the models folder (its extension may be left out), or a path.

    A file that isn't in the catalogue is used as it is: the user put it there. Its family is recognised by its
    configuration or by its tensors; nothing in it is executed.

    Raises `UnderstudyError`: ``separator-unknown`` with similar names; ``model-missing`` for one that must be
    fetched first; ``model-companion`` when its configuration isn't there; ``model-invalid`` for a file that is no
    separation model; and what `understudy.models.installed` raises.
    """
    if name == EMBEDDED:
        return SeparatorModel(EMBEDDED, EMBEDDED, ("vocals", "instrumental"), None)
    if custom := registered.get(name):
        return SeparatorModel(name, "custom", custom.stems, None, custom)
    known = Path(name).name if Path(name).is_absolute() and Path(name).parent == models_folder() else name
    model = catalogue().get(known) or published(known)
    path = _file(name)
    if model is not None:
        try:
            return _of_catalogue(model)
        except UnderstudyError as error:
            if error.code != "model-missing" or path is None:
                raise  # else it is installed under the name that another program gave it
    if path is None:
        raise _unknown(name)
    return _of_file(path)


def is_taken(name: str) -> bool:
    """Whether `name` stands for a separator of this program, or for a file."""
    return name == EMBEDDED or name in catalogue() or published(name) is not None or _file(name) is not None


def load_network(model: SeparatorModel, device: str, precision: Precision) -> Network:
    """The model's network on `device`, kept warm for the next song. A licence that forbids commercial use is among its
    cautions. Raises what its family's `load` raises; `ValueError` for the embedded separator, which has none."""
    if model.weights is None:
        raise ValueError("the embedded separator has no network")
    weights = model.weights
    key = ("separator", weights.content_hash, model.family, device, precision)
    network = warm(key, partial(_load, model.family, weights, device, precision))
    known = catalogue().get(model.name)
    if known is not None and "not for commercial use" in known.licence:
        forbidden = f"The licence of the model {model.name} forbids commercial use: {known.licence}."
        network = replace(network, cautions=(*network.cautions, forbidden))
    return replace(network, stems=model.stems) if len(model.stems) == len(network.stems) else network


def _load(family: str, weights: Weights, device: str, precision: Precision) -> Network:
    return _as_read(family, lambda reader: reader.load(weights, device, precision))[1]


def _as_read(family: str, read: Callable[[Family], T]) -> tuple[str, T]:
    """The family that reads it, which may be `family`'s fallback, and what `read` gives with it."""
    try:
        return family, read(_family(family))
    except UnderstudyError as error:
        first, second = _FALLBACK
        if family != first or error.code != "model-invalid":
            raise
        try:
            return second, read(_family(second))
        except UnderstudyError:
            raise error from None


def own_files() -> list[Path]:
    """Files in the models folder that could be separation models and aren't in the catalogue, by name."""
    known = {file.file for model in catalogue().values() for file in model.files}
    try:
        found = sorted(models_folder().iterdir())
    except OSError:
        return []  # no folder yet
    return [
        path
        for path in found
        if path.name not in known
        and not path.name.startswith(".")
        and (path.suffix.lower() in EXTENSIONS or is_bag(path))
    ]


def _of_catalogue(model: Model) -> SeparatorModel:
    if model.architecture not in FAMILIES:
        raise UnderstudyError(
            "separator-unknown",
            f"The model {model.name!r} separates nothing ({model.purpose}).",
            "'understudy models list' shows the separation models.",
        )
    weights = require(model.name)
    for part in (weights, *weights.companions):
        check_file(part.path)
    return _model(model.name, model.architecture, weights, _PURPOSES.get(model.group or ""))


def _of_file(path: Path) -> SeparatorModel:
    family, companions, purpose = _published_file(path) or (*recognised(path), purpose_of(path.name))
    weights = Weights(
        path, remembered_hash(path), tuple(Weights(other, remembered_hash(other)) for other in companions)
    )
    inside = path.parent == models_folder()
    return _model(path.name if inside else str(path), family, weights, purpose)


def _published_file(path: Path) -> tuple[str, tuple[Path, ...], Purpose | None] | None:
    """Family, companions and purpose of a file outside of the models folder that has the name of a published one, and
    beside it what belongs to that; None for any other."""
    model = published(path.name)
    if model is None or model.architecture not in FAMILIES:
        return None
    variant = next((variant for variant in model.variants if path.name in variant.names), model.preferred)
    companions = [beside(path, companion) for companion in variant.companions]
    there = tuple(companion for companion in companions if companion is not None)
    if len(there) < len(companions):
        return None
    for other in (path, *there):
        check_file(other)
    return model.architecture, there, _PURPOSES.get(model.group or "")


def _model(name: str, family: str, weights: Weights, purpose: Purpose | None) -> SeparatorModel:
    family, stems = _as_read(family, lambda reader: reader.stems(weights))
    return SeparatorModel(name, family, canonical_stems(stems, purpose), weights)


def _family(name: str) -> Family:
    return cast(Family, import_module(f"understudy.pipeline.separation.families.{name}"))


def _file(name: str) -> Path | None:
    """The file that `name` means, absolute."""
    if Path(name).name == name:
        here = models_folder() / name
        if here.is_file():
            return here
        alike = [path for path in own_files() if path.stem == name]
        if len(alike) == 1:
            return alike[0]
    path = Path(name).expanduser()
    return path.absolute() if path.is_file() else None


def _unknown(name: str) -> UnderstudyError:
    separators = [model for model in catalogue().values() if model.architecture in FAMILIES]
    names: Iterable[str] = [
        EMBEDDED,
        *(model.name for model in separators),
        *(model.preferred.file for model in separators),
        *(path.name for path in own_files()),
    ]
    lowered = {known.lower(): known for known in names}
    near = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, 5, 0.5)]
    listing = "'understudy models list' shows all; a file of your own is named by its path"
    return UnderstudyError(
        "separator-unknown",
        f"There is no separation model named {name!r}, and no such file.",
        f"Did you mean {', '.join(near)}? {listing}." if near else f"{listing[0].upper()}{listing[1:]}.",
    )
