"""Export of an RVC voice for other tools: the `.pth` and the `.index` as RVC's trainers write them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path

from understudy.context import Context
from understudy.disk import explained, replacing
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.consent.levels import require
from understudy.voices.rvc.checkpoint import read_checkpoint, write_pth
from understudy.voices.rvc.index import check_index
from understudy.voices.voice import Voice


def export_rvc(voice: Voice, path: Path, context: Context, *, replace: bool = False) -> list[Path]:
    """Write the model of `voice` (as `library.load` gave it) to `path`, a `.pth`, its index beside it under the same
    name; or both into `path` as a `.zip`, or as a folder if it is called otherwise. Returns the files.

    Raises `UnderstudyError`: ``voice-without-model``, ``file-exists`` unless `replace`, ``disk-full``,
    ``output-not-writable``, those of `library.verify` and `levels.require`. Leaves no half files.
    """
    if voice.manifest.model is None:
        raise UnderstudyError(
            "voice-without-model",
            f"The voice {voice.name!r} is made from recordings and has no RVC model.",
            "Export it without --format rvc.",
        )
    require(voice.manifest, "export")
    library.verify(voice.sung_by("rvc"))
    suffix = path.suffix.lower()
    if suffix == ".pth":
        model, index = path, path.with_suffix(".index")
    elif suffix == ".zip":
        model = index = path
    else:
        model, index = path / f"{voice.name}.pth", path / _usual_name(voice)
    for target in (model, index) if voice.index_file else (model,):
        if target.exists() and not (replace and target.is_file()):
            raise UnderstudyError(
                "file-exists", f"{target} exists already.", "Choose another name, or say --overwrite to replace it."
            )
    if suffix == ".pth":
        return _write(voice, model, index, context)
    if suffix == ".zip":
        return [_packed(voice, path, context)]
    with _folder(path):
        return _write(voice, model, index, context)


def _write(voice: Voice, model: Path, index: Path, context: Context) -> list[Path]:
    checkpoint = read_checkpoint(voice.model_file)
    described = voice.manifest.model
    assert described is not None
    info = checkpoint.info
    if described.trained is not None:
        info = {**info, "embedder_model": described.embedder}  # Applio's name for it
    if described.speaker:
        info = {**info, "speaker": described.speaker}
    checkpoint = changed(checkpoint, info=info)
    written = [model]
    with replacing(model) as part:
        write_pth(checkpoint, part)
    context.progress(0.5)
    if voice.index_file is not None:
        with replacing(index) as part:
            shutil.copyfile(voice.index_file, part)
        written.append(index)
    context.progress(1)
    return written


def _packed(voice: Voice, path: Path, context: Context) -> Path:
    folder = path.with_name(f".{path.name}.parts")
    try:
        with _folder(folder):
            files = _write(voice, folder / f"{voice.name}.pth", folder / _usual_name(voice), context.part(0, 0.8))
        with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """The folder at `path`; on an error it is removed again if it is empty."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise explained(path, error) from error
    try:
        yield
    except BaseException:
        if not any(path.iterdir()):
            path.rmdir()
        raise


def _usual_name(voice: Voice) -> str:
    model = voice.manifest.model
    if voice.index_file is None or model is None:
        return "none.index"
    found = check_index(voice.index_file)
    return f"added_IVF{found.lists}_Flat_nprobe_{found.searched}_{voice.name}_{model.version}.index"
