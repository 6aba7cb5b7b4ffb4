"""Downloads models from where they are published, only when the user requests it."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from understudy.context import Context
from understudy.disk import explained
from understudy.errors import UnderstudyError
from understudy.models.catalogue import Model, Variant, find_model
from understudy.models.download import download
from understudy.models.hashes import file_hash, models_folder, stored
from understudy.models.installed import Record, by_hand, find_record, records, usable, write_record


def what_to_fetch(name: str, trust: bool = False) -> Variant | None:
    """The files that `fetch` would download, None if the model is installed already.

    Raises `UnderstudyError`: ``model-unknown``; ``model-unverifiable`` for a model without a known hash, unless the
    user trusts the source.
    """
    model = find_model(name)
    if usable(model.name) is not None:
        return None
    variant = next((variant for variant in model.variants if variant.url), model.preferred)
    if variant.unverifiable and not trust:
        raise UnderstudyError(
            "model-unverifiable",
            f"No hash of {' and '.join(variant.unverifiable)} is known for sure, so the download can't be checked.",
            f"If you trust {model.page}, run 'understudy models fetch {model.name} --trust'; the hash of the download "
            "is recorded, and any later change is noticed.",
        )
    return variant


def fetch(name: str, context: Context, trust: bool = False) -> Record:
    """Download the model `name` into the models folder unless it is installed, and return its record.

    A file of its name that isn't the model is replaced. Raises what `what_to_fetch` and `download` raise, and
    ``model-busy`` while another process fetches it.
    """
    model = find_model(name)
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{model.name}.lock", timeout=0):
            variant = what_to_fetch(name, trust)
            return _present(model) if variant is None else _fetch(model, variant, folder, context)
    except Timeout as error:
        raise UnderstudyError(
            "model-busy",
            f"The model {name!r} is being fetched by another process.",
            "Wait until it is done; 'understudy models list' shows it then.",
        ) from error
    except OSError as error:
        raise explained(folder, error) from error


def _fetch(model: Model, variant: Variant, folder: Path, context: Context) -> Record:
    files = (variant, *variant.companions)
    sizes = [file.size or (1 << 10 if file.plain else 1 << 28) for file in files]
    kept, done = [], 0.0
    shared = {file.path: file for record in records() if record.model != model.name for file in record.companions}
    for file, size in zip(files, sizes, strict=True):
        part = context.part(done, done + size / sum(sizes))
        done += size / sum(sizes)
        path = folder / file.file
        there = shared[file.file].sha256 if file.file in shared else file.sha256
        sha256 = file_hash(path) if there and path.is_file() else None
        if sha256 is None or sha256 != there:
            sha256 = download(file, path, part, by_hand(variant))
        kept.append(stored(path, sha256, file.url or file.file, trusted=file.fits(sha256) is not True))
    record = Record(model=model.name, format=variant.format, weights=kept[0], companions=tuple(kept[1:]))
    write_record(record)
    context.progress(1.0)
    return record


def _present(model: Model) -> Record:
    record = find_record(model)
    assert record is not None  # `installed` has just found it
    return record
