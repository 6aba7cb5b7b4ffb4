"""The catalogue: which models there are, what each is for, and by which files it is known (`configs/models.yaml` and
`configs/separators.yaml`)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from understudy.errors import UnderstudyError
from understudy.models.hashes import Sha256, models_folder

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SDR_FROM = (
    "medians over the ten songs of MUSDB18's training part that all models in audio-separator's list were scored on"
)

_FREE = re.compile(r"(MIT|Apache|BSD|CC0|Unlicense|GPL|LGPL|CC BY( \d|$))")
"""How licences begin that allow commercial use, some of them on conditions."""

OWN = "own_models.json"
"""In the models folder: entries of the user's own. It is no model's record, since names have no underscore."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
# one plain name: no folders, no leading dot, nothing that a shell or Windows would trip over
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+()-]{0,150}$")]


def check_url(url: str) -> str:
    """`url` itself if it may be fetched from: https, or http on this very machine. Raises ``model-address``."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        return url
    raise UnderstudyError(
        "model-address",
        f"Understudy does not fetch from {url}: it takes files from https addresses only.",
        "Download the file by other means and give it to 'understudy models add PATH'.",
    )


def _checked(url: str) -> str:
    try:
        return check_url(url)
    except UnderstudyError as error:
        raise ValueError(error.message) from error


Url = Annotated[str, AfterValidator(_checked)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Entry):
    """A file that is published somewhere. `file`: its name in the models folder; `known_as`: its name where it is
    published. `size` in bytes; `sha256` None where it isn't known for sure; `sha256_starts`: its first digits, which
    some publishers put into the file's name."""

    file: FileName
    known_as: str | None = None
    size: int | None = Field(None, gt=0)
    sha256: Sha256 | None = None
    sha256_starts: Annotated[str, Field(pattern=r"^[0-9a-f]{6,63}$")] | None = None
    sha256_from: str | None = None
    url: Url | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.file,) if self.known_as is None else (self.file, self.known_as)

    @property
    def plain(self) -> bool:
        """Whether it is a configuration, which is read as plain data and can do no harm."""
        return self.file.endswith((".yaml", ".yml"))

    def fits(self, sha256: str) -> bool | None:
        """Whether a file of that hash is this one; None where the known part of the hash doesn't decide it."""
        if self.sha256 is not None:
            return sha256 == self.sha256
        return None if sha256.startswith(self.sha256_starts or "") else False


class Variant(File):
    """One form in which a model is published; any one of them is the model. `companions`: files without which
    it can't be used, e.g. the configuration of a checkpoint. `packaged`: where a Python package has the file
    (``package/folder/file``), for models that some package carries."""

    format: str
    packaged: str | None = None
    companions: tuple[File, ...] = ()

    @property
    def unverifiable(self) -> tuple[str, ...]:
        """Its files without a known hash, configurations excepted."""
        needed = (self, *(file for file in self.companions if not file.plain))
        return tuple(file.file for file in needed if file.sha256 is None)

    @property
    def whole(self) -> int | None:
        """Bytes of the weights in all its files, None where not all are known."""
        sizes = [file.size for file in (self, *self.companions) if not (file.plain and file is not self)]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


class Model(_Entry):
    """An entry. `architecture`: which network reads it. `stems` and `sdr` (dB by stem, as published on the data named
    in `sdr_from`) tell separators apart. `group`: the word under which it is listed; `by`: who made it; `note`: what
    sets it apart from others of its purpose; `aliases`: other names under which it is known. `needs`: names of models
    that are used with it and fetched with it. `without`: what can't be done without it, None where nothing is
    missed."""

    name: Name
    purpose: str
    architecture: str
    licence: str
    page: Url | None = None
    group: str | None = None
    by: str | None = None
    note: str | None = None
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    without: str | None = None
    variants: tuple[Variant, ...] = Field(min_length=1)
    stems: tuple[str, ...] = ()
    sdr: Mapping[str, float] = Field(default_factory=dict)
    sdr_from: str | None = None

    @property
    def commercial(self) -> bool:
        """Whether the licence of these very files is stated and allows commercial use."""
        return bool(_FREE.match(self.licence)) and "not said" not in self.licence

    @property
    def preferred(self) -> Variant:
        """The variant that is fetched."""
        return self.variants[0]

    @property
    def files(self) -> tuple[File, ...]:
        """All files that belong to any variant."""
        return tuple(file for variant in self.variants for file in (variant, *variant.companions))


class _Catalogue(_Entry):
    models: Mapping[str, Model]

    @model_validator(mode="after")
    def _no_file_twice(self) -> _Catalogue:
        seen: dict[str, tuple[str, File]] = {}
        for name, model in self.models.items():
            if unknown := [needed for needed in model.needs if needed not in self.models]:
                raise ValueError(f"{name!r} needs {unknown[0]!r}, which isn't there")
            for file in model.files:
                stem, _, extension = file.file.rpartition(".")
                if extension == "json" and stem in self.models:
                    raise ValueError(f"{file.file!r} is the name of the record of {stem!r}")
                other, known = seen.setdefault(file.file, (name, file))
                if other != name and not (file.plain and known.url == file.url):  # models may share a configuration
                    raise ValueError(f"{file.file!r} belongs to {other!r} and {name!r}")
        return self


def read_catalogue(text: str) -> dict[str, Model]:
    """The models that YAML `text` describes, by name; in the form of `configs/models.yaml` or of `separators.yaml`.
    Raises ``catalogue-invalid`` naming what is wrong."""
    try:
        entries = _read(text) or {}
        if {"groups", "sources"} <= entries.keys():
            entries = _separators(entries)
        named = {name: {"name": name, **entry} for name, entry in entries.items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise _invalid("it is no YAML with an entry per model") from error
    return _validated(named)


def _read(text: str) -> Any:
    """YAML; by the library in C where it is there, which takes an eighth of the time."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def catalogue() -> Mapping[str, Model]:
    """The models that Understudy knows, by name: those in `configs/models.yaml` and `configs/separators.yaml`, and over
    them those in the file that ``UNDERSTUDY_CATALOGUE`` names (own models, or a mirror), and those that were added
    under a name of the user's (see `understudy.models.own`)."""
    own = models_folder() / OWN
    try:
        state = own.stat()
    except OSError:
        return _catalogue(os.environ.get("UNDERSTUDY_CATALOGUE") or None, None, 0)
    return _catalogue(os.environ.get("UNDERSTUDY_CATALOGUE") or None, str(own), state.st_mtime_ns)


@lru_cache(maxsize=8)
def _catalogue(more: str | None, own: str | None, changed: int) -> Mapping[str, Model]:
    """`changed`: when `own` was written, so that what is kept is given up when it is written again."""
    shipped = files("understudy.configs")
    models: dict[str, Model] = {}
    for name in ("models.yaml", "separators.yaml", "more_separators.yaml"):
        models |= read_catalogue((shipped / name).read_text("utf-8"))
    models = _validated(models)
    for path in filter(None, (own, more)):
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _invalid(f"{path} can't be read") from error
        models = _validated({**read_catalogue(text), **models} if path == own else {**models, **read_catalogue(text)})
    return MappingProxyType(models)


def _validated(models: Mapping[str, Any]) -> dict[str, Model]:
    try:
        return dict(_Catalogue.model_validate({"models": models}).models)
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}") from error


def _invalid(reason: str) -> UnderstudyError:
    return UnderstudyError(
        "catalogue-invalid",
        f"The catalogue of models can't be used: {reason}.".replace("\n", " "),
        "Correct the file that UNDERSTUDY_CATALOGUE names (docs/models.md shows its form), or delete "
        f"{models_folder() / OWN} and add your own models again.",
    )


def _separators(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries for `Model` by name from `configs/separators.yaml`, where many entries share their sources and purposes.
    Raises `KeyError` or `TypeError` where it isn't of that form."""
    groups, sources = given["groups"], given["sources"]
    return {
        name: _entry(name, entry, group, groups[group], sources)
        for group, entries in given.items()
        if group not in ("groups", "sources")
        for name, entry in (entries or {}).items()
    }


def _entry(
    name: str, entry: Mapping[str, Any], group: str, common: Mapping[str, Any], sources: Mapping[str, Any]
) -> dict[str, Any]:
    source = sources[entry["from"]]
    beside = entry.get("with", ())
    companions = [{"file": beside}] if isinstance(beside, str) else list(beside)
    companion_source = sources[entry.get("with_from", entry["from"])]
    variant = {
        **_file(entry, source),
        "format": entry["family"],
        "companions": [_file(companion, companion_source) for companion in companions],
    }
    found = {
        "name": name,
        "group": group,
        "purpose": common["purpose"],
        "architecture": entry["family"],
        "licence": entry.get("licence", source["licence"]),
        "page": source["page"],
        "stems": entry.get("stems", common["stems"]),
        "variants": [variant],
        **{key: entry[key] for key in ("by", "note", "aliases", "sdr", "sdr_from") if key in entry},
    }
    if found.get("sdr"):
        found.setdefault("sdr_from", SDR_FROM)
    return found


def _file(given: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("file", "known_as", "size", "sha256", "sha256_starts", "sha256_from")
    return {
        **{key: given[key] for key in keys if key in given},
        "url": source["files"] + (given.get("known_as") or given["file"]),
    }


def find_model(name: str) -> Model:
    """The model of that name, alias or published file name; raises ``model-unknown`` naming what is called alike."""
    found = catalogue().get(name) or published(name)
    if found is None:
        near = get_close_matches(name.lower(), catalogue(), 5, 0.5)
        meant = f"Did you mean {', '.join(near)}? " if near else ""
        raise UnderstudyError(
            "model-unknown", f"There is no model named {name!r}.", f"{meant}'understudy models list' shows all."
        )
    return found


def published(name: str) -> Model | None:
    """The model that goes by this alias elsewhere, or whose file is published under this name, and no other's is."""
    for model in catalogue().values():
        if name in model.aliases or any(name == variant.file for variant in model.variants):
            return model
    found = [model for model in catalogue().values() if any(name == variant.known_as for variant in model.variants)]
    return found[0] if len(found) == 1 else None
