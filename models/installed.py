"""Which models are on this machine: files in one folder, each with a record.

The record ``NAME.json`` beside the files holds the SHA-256 that was computed when the file was stored, with the size
and modification time that it had then. As long as these two are the same, the hash is believed; otherwise it is
computed again, so that a replaced file is never used under the old hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from understudy.context import Context
from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.models.catalogue import File, Model, Variant, catalogue, find_model
from understudy.models.hashes import Stored, Verified, file_hash, models_folder, remembered_hash, stored, write_whole
from understudy.models.own import forget


@dataclass(frozen=True)
class Weights:
    """A model's file on this machine. `sha256` is that of its bytes; `companions` are the files that go with it."""

    path: Path
    sha256: str
    companions: tuple[Weights, ...] = ()

    @property
    def content_hash(self) -> str:
        """SHA-256 in hex that stands for the model with its companions."""
        if not self.companions:
            return self.sha256
        return hashlib.sha256("".join([self.sha256, *(c.sha256 for c in self.companions)]).encode()).hexdigest()


class Record(BaseModel):
    """``NAME.json``: the files of an installed model. `format` is the catalogue's, None where it isn't known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    format: str | None
    weights: Stored
    companions: tuple[Stored, ...] = ()

    @property
    def files(self) -> tuple[Stored, ...]:
        return (self.weights, *self.companions)


_given: dict[str, Weights | None] = {}


def give(models: Mapping[str, Weights | None]) -> None:
    """From now on, `installed` answers with these in this process: a process that works for another machine uses that
    machine's models, and none that only its own has."""
    _given.update(models)


def installed(name: str) -> Weights | None:
    """The model `name` on this machine, None if it isn't installed.

    A file that was put into the models folder by hand, under its name in the catalogue, counts if its hash is the known
    one, or if none is known: then the user is taken to trust it, as for any configuration. So does the known file
    inside an installed Python package that carries it. Raises `UnderstudyError`: ``model-unknown``; ``model-changed``
    when a file isn't the one that was stored; ``model-untrusted`` when a file put there by hand isn't the known one;
    ``model-companion`` when a file that belongs to it is missing.
    """
    if name in _given:
        return _given[name]
    model = find_model(name)
    record = find_record(model)
    if record is None:
        return None
    current = record.model_copy(
        update={
            "weights": _unchanged(model, record.weights),
            "companions": tuple(_unchanged(model, companion) for companion in record.companions),
        }
    )
    if current != record:
        _note(current)
    weights, *companions = (Weights(models_folder() / file.path, file.sha256) for file in current.files)
    return Weights(weights.path, weights.sha256, tuple(companions))


def usable(name: str) -> Weights | None:
    """The model `name`, or None where it isn't installed or its files are not the known ones: for work that can go on
    without it."""
    try:
        return installed(name)
    except UnderstudyError as error:
        if error.code in ("model-changed", "model-untrusted", "model-record", "model-companion"):
            return None
        raise


def require(name: str) -> Weights:
    """The model `name`. Raises `UnderstudyError` ``model-missing`` with its purpose, size, licence, source and place,
    and what `installed` raises."""
    weights = installed(name)
    if weights is None:
        raise missing(find_model(name))
    return weights


def missing(model: Model, code: str = "model-missing") -> UnderstudyError:
    """The error for a model that isn't installed."""
    return UnderstudyError(
        code,
        f"The model {model.name!r} is not on this machine ({model.purpose}; {size_text(model.preferred)}, licence: "
        f"{model.licence}).",
        f"Get it with 'understudy models fetch {model.name}{trusting(model)}'. Without a network: "
        f"{by_hand(model.preferred)}",
    )


def trusting(*models: Model) -> str:
    """The option that fetching one of these models takes, if it takes one."""
    return " --trust" if any(model.preferred.unverifiable for model in models) else ""


def by_hand(variant: Variant) -> str:
    """How to get a variant's files without a network, as sentences."""
    sentences = []
    for file in (variant, *variant.companions):
        source = f"download {file.url} elsewhere" if file.url else f"find the file {file.names[-1]}"
        sentences.append(f"{source} and put it at {models_folder() / file.file}")
    return "; ".join(sentences) + f" (or run 'understudy models add {variant.names[-1]}')."


def size_text(file: File) -> str:
    """The size of a published file, with that of the other weights that belong to it, in words."""
    size = file.whole if isinstance(file, Variant) else file.size
    if size is None:
        return "size unknown"
    return f"{size / 1e6:.0f} MB" if size >= 5e5 else f"{size / 1e3:.0f} kB" if size >= 1e4 else f"{size} bytes"


def record_path(model: Model) -> Path:
    return models_folder() / f"{model.name}.json"


def read_record(model: Model) -> Record | None:
    """The record of a model, None if there is none. Raises ``model-record`` for one that can't be read."""
    path = record_path(model)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise _broken(path) from error
    if record.model != model.name or any(not _plain(file.path) for file in record.files):
        raise _broken(path)
    return record


def find_record(model: Model) -> Record | None:
    """The record of a model, or one made of files that are there without one: put into the models folder by hand, or
    inside a Python package. None if there are none. Raises ``model-record``, ``model-untrusted``,
    ``model-companion``."""
    return read_record(model) or _found(model)


def records() -> list[Record]:
    """The records of all that is installed, without those that can't be read."""
    found = []
    for path in sorted(models_folder().glob("*.json")):
        model = catalogue().get(path.stem)
        with suppress(UnderstudyError):
            record = read_record(model) if model else None
            found += [record] if record else []
    return found


def write_record(record: Record) -> None:
    """Put the record in place, whole or not at all."""
    path = models_folder() / f"{record.model}.json"
    try:
        write_whole(path, record.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise explained(path, error) from error


def verify(name: str, context: Context) -> Verified:
    """Compute the hashes of an installed model's files again and compare them with its record."""
    model = find_model(name)
    record = find_record(model)
    if record is None:
        return Verified(name, "absent", model.preferred.file, None, False)
    count = len(record.files)
    for number, file in enumerate(record.files):
        path = models_folder() / file.path
        if not path.is_file():
            return Verified(name, "missing", str(path), None, file.trusted)
        found = file_hash(path, context.part(number / count, (number + 1) / count))
        if found != file.sha256:
            return Verified(name, "changed", str(path), found, file.trusted)
    weights = record.weights
    return Verified(name, "ok", str(models_folder() / weights.path), weights.sha256, weights.trusted)


def remove(name: str) -> list[Path]:
    """Delete a model's files, its record and what is left of an unfinished download; the paths that were deleted.

    A linked file stays where it is, and so does a file that belongs to another model, too. Raises ``model-missing``
    if there was nothing.
    """
    model = find_model(name)
    folder = models_folder()
    own = {file.file for file in model.files}
    try:
        record = read_record(model)
    except UnderstudyError:
        record = None  # unreadable: only the names in the catalogue count
    if record:
        own |= {file.path for file in record.files if not Path(file.path).is_absolute()}
    own -= {file.path for other in records() if other.model != model.name for file in other.files}
    paths = [folder / file for name in sorted(own) for file in (name, f"{name}.part", f"{name}.part.json")]
    removed = []
    for path in [*paths, record_path(model)]:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise explained(path, error) from error
        removed.append(path)
    forget(model.name)
    if not removed:
        raise UnderstudyError(
            "model-missing", f"The model {name!r} is not on this machine.", "'understudy models list' shows what is."
        )
    return removed


def _found(model: Model) -> Record | None:
    """A record of files that were put into the folder by hand; None if none was. Raises ``model-untrusted`` and
    ``model-companion``."""
    folder = models_folder()
    incomplete: UnderstudyError | None = None
    for variant in model.variants:
        path = folder / variant.file
        if not path.is_file():
            continue
        paths = [path, *(beside(path, companion) for companion in variant.companions)]
        if None in paths:
            incomplete = incomplete or lacking(model, path, variant.companions[paths.index(None) - 1])
            continue
        known = []
        for file, there in zip((variant, *variant.companions), paths, strict=True):
            assert there is not None
            sha256 = file_hash(there)
            trusted = file.fits(sha256) is not True
            if file.fits(sha256) is False and not file.plain:
                raise untrusted(model, file, there, sha256)
            known.append(stored(there, sha256, "put there by hand", trusted=trusted))
        record = Record(model=model.name, format=variant.format, weights=known[0], companions=tuple(known[1:]))
        _note(record)
        return record
    if incomplete is not None:
        raise incomplete
    for variant in model.variants:
        packaged = _in_package(variant)
        if packaged is not None and remembered_hash(packaged) == variant.sha256:
            known = [stored(packaged, variant.sha256, f"the Python package {packaged.parent.name}")]
            return Record(model=model.name, format=variant.format, weights=known[0])
    return None


def _in_package(variant: Variant) -> Path | None:
    """The variant's file inside an installed Python package. The package is looked for and not imported."""
    package, _, inside = (variant.packaged or "").partition("/")
    try:
        found = find_spec(package) if inside else None
    except (ImportError, ValueError):
        return None
    folders = found.submodule_search_locations if found else None
    return next((Path(folder, inside) for folder in folders or () if Path(folder, inside).is_file()), None)


def beside(weights: Path, companion: File) -> Path | None:
    """The path of a companion of a file put there by hand: its own name, or for a configuration also that of the
    weights."""
    names = [companion.file, companion.known_as or companion.file]
    if companion.plain:
        names += [f"{weights.stem}.yaml", f"{weights.stem}.yml"]
    return next((weights.parent / name for name in names if (weights.parent / name).is_file()), None)


def lacking(model: Model, weights: Path, companion: File) -> UnderstudyError:
    """The error for a file that belongs to a model and isn't beside its weights."""
    return UnderstudyError(
        "model-companion",
        f"{companion.names[-1]} belongs to the model {model.name!r} and isn't beside {weights}.",
        f"Put it at {weights.parent / companion.file}{f' (from {companion.url})' if companion.url else ''}, or get it "
        f"with 'understudy models fetch {model.name}'.",
    )


def _note(record: Record) -> None:
    """Write a record that only saves work: in a folder that may not be written, the hash is computed every time."""
    with suppress(UnderstudyError):
        write_record(record)


def untrusted(model: Model, file: File, path: Path, sha256: str) -> UnderstudyError:
    """The error for a file whose hash isn't the known one."""
    known = "no hash of it is known for sure"
    if file.sha256 or file.sha256_starts:
        known = f"the known one has {file.sha256 or f'one that starts with {file.sha256_starts}'}"
    return UnderstudyError(
        "model-untrusted",
        f"{path} may not be the model {model.name!r}: its SHA-256 is {sha256}, {known}.",
        f"Get it again, or if you are sure: understudy models add '{path}' --as {model.name} --trust",
    )


def _unchanged(model: Model, file: Stored) -> Stored:
    """`file` with its present time of change. Raises ``model-changed`` when its bytes are others."""
    path = models_folder() / file.path
    try:
        state = path.stat()
    except OSError as error:
        raise UnderstudyError(
            "model-changed",
            f"The file {path} of the model {model.name!r} is gone.",
            f"Get it again with 'understudy models fetch {model.name}', or put it back.",
        ) from error
    if (state.st_size, state.st_mtime_ns) == (file.size, file.changed):
        return file
    if state.st_size == file.size and file_hash(path) == file.sha256:
        return file.model_copy(update={"changed": state.st_mtime_ns})
    raise UnderstudyError(
        "model-changed",
        f"The file {path} of the model {model.name!r} is not the one that was put there: its bytes have changed.",
        f"Remove it with 'understudy models remove {model.name}' and get it again.",
    )


def _plain(path: str) -> bool:
    """Whether a record may name this path: a name in the folder, or an absolute path (a link made by the user)."""
    return Path(path).is_absolute() or (Path(path).name == path and path not in ("", ".", ".."))


def _broken(path: Path) -> UnderstudyError:
    return UnderstudyError(
        "model-record",
        f"The record {path} can't be read.",
        "Delete it: a known model is recognised again by its file; add any other one again.",
    )
