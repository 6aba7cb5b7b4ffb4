"""Import of an RVC voice: from files as they are shared to the library's safetensors and checked index."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library, names
from understudy.voices.names import printable
from understudy.voices.recordings import Finding
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.bundle import Bundle, opened_bundle
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.rvc.checks import model_findings, no_index_finding
from understudy.voices.rvc.index import check_index
from understudy.voices.rvc.storing import store_model
from understudy.voices.voice import (
    MODEL,
    Consent,
    Manifest,
    PitchRange,
    RvcIndex,
    RvcModel,
    Voice,
    content_hash,
    file_hash,
)


def import_model(
    root: Path,
    path: Path,
    context: Context,
    name: str | None = None,
    *,
    consent: Consent | None,
    index: Path | None = None,
    model: str | None = None,
    speaker: int | None = None,
    replace: bool = False,
) -> tuple[Voice, list[Finding]]:
    """Put the RVC voice at `path` (a `.pth` or `.safetensors`, a folder or zip that holds one) into the library `root`,
    as `name` or named after `path`; returns it and the findings about it.

    `index`: a file, or the name of one in the folder or zip; None: the one found there. `model`: its name, where there
    are several. `speaker`: number of the model's speaker. Raises `UnderstudyError`: ``consent-missing``, ``no-model``,
    ``several-models``, ``speaker-unknown``, those of `read_checkpoint`, `check_index`,
    `understudy.models.unpacking.opened` and `library.settle`.
    """
    library.refuse_without_consent(consent)
    assert consent is not None
    name = _named_after(path) if name is None else names.valid_name(name)
    with library.building(root) as folder, opened_bundle(path) as bundle:
        if not replace:
            library.refuse_taken(root, name)
        (folder / MODEL).mkdir()
        chosen = bundle.model(model)
        checkpoint = _read(bundle, chosen, folder, context.part(0, 0.4))
        findings = model_findings(checkpoint)
        sizes = checkpoint.architecture
        stored_speaker = checkpoint.info.pop("speaker", 0)  # written by `export_rvc`
        described = store_model(
            checkpoint,
            folder / MODEL,
            printable(PurePosixPath(chosen).name),
            _speaker(speaker, stored_speaker, sizes.speakers),
        )
        context.progress(0.6)
        kept, more = _take_index(bundle, chosen, index, checkpoint, folder, context.part(0.6, 1))
        described = described.model_copy(update={"index": kept})
        voice = settle_model(root, folder, name, described, consent, replace=replace)
        return voice, findings + more


def settle_model(
    root: Path,
    folder: Path,
    name: str,
    model: RvcModel,
    consent: Consent,
    pitch_range: PitchRange | None = None,
    *,
    replace: bool,
    parents: Sequence[Manifest] = (),
) -> Voice:
    """Move a voice that is `model` alone, built in `folder`, into the library. `parents` and what it raises: as of
    `library.settle`."""
    manifest = Manifest(
        name=name,
        engine="rvc",
        sample_rate=model.sample_rate,
        pitch_range=pitch_range,
        recordings=(),
        model=model,
        consent=consent,
        created=datetime.now(UTC).replace(microsecond=0),
        content_hash=content_hash("rvc", model.sample_rate, pitch_range, (), model),
    )
    return library.settle(root, folder, manifest, replace=replace, parents=parents)


def _read(bundle: Bundle, name: str, folder: Path, context: Context) -> Checkpoint:
    if bundle.archive is None:
        return read_checkpoint(bundle.files[name])
    with _unpacked(bundle, name, folder / "unpacked", context) as file:
        return read_checkpoint(file)


@contextlib.contextmanager
def _unpacked(bundle: Bundle, name: str, file: Path, context: Context) -> Iterator[Path]:
    """A temporary copy of the file `name`; errors about it mention the name that the user knows."""
    try:
        bundle.fetch(name, file, context)
        yield file
    except UnderstudyError as error:
        message = error.message.replace(str(file), bundle.shown(name))
        raise UnderstudyError(error.code, message, error.hint) from error
    finally:
        file.unlink(missing_ok=True)


def _take_index(
    bundle: Bundle, model: str, wanted: Path | None, checkpoint: Checkpoint, folder: Path, context: Context
) -> tuple[RvcIndex | None, list[Finding]]:
    if wanted is not None and wanted.is_file():
        bundle = Bundle(wanted, {wanted.name: wanted})
        name: str | None = wanted.name
    elif wanted is not None and bundle.path.is_file() and bundle.archive is None:
        raise UnderstudyError("file-not-found", f"There is no file {wanted}.", "Check the path given with --index.")
    else:
        name = bundle.index(model, None if wanted is None else str(wanted))
    if name is None:
        return None, [no_index_finding()]
    try:
        with _unpacked(bundle, name, folder / MODEL / "new", context) as file:
            found = check_index(file)
            version = checkpoint.architecture.version
            if found.dimension != CONTENT_CHANNELS[version]:
                other = "v1" if version == "v2" else "v2"
                raise UnderstudyError(
                    "index-of-another-model",
                    f"{bundle.shown(name)} is the index of a model of version {other}, but this model is of version "
                    f"{version}.",
                    "Give the index that came with the model, or import the model without an index.",
                )
            digest = file_hash(file)
            stored = file.rename(file.with_name(f"index-{digest[:8]}.index"))
    except UnderstudyError as error:
        if error.code != "index-empty" or wanted is not None:
            raise
        sentence = f"{error.message} It was left out."
        return None, [Finding("index-empty", "advice", printable(name)[-80:], sentence), no_index_finding()]
    source = printable(PurePosixPath(name).name)[-255:]
    return RvcIndex(file=stored.name, sha256=digest, vectors=found.vectors, source=source), []


def _speaker(wanted: int | None, stored_speaker: object, speakers: int) -> int:
    stored = stored_speaker if type(stored_speaker) is int and 0 <= stored_speaker < speakers else 0
    chosen = stored if wanted is None else wanted
    if not 0 <= chosen < speakers:
        raise UnderstudyError(
            "speaker-unknown",
            f"The model has no speaker {chosen}; it has {speakers}, numbered from 0.",
            f"Give --speaker a number from 0 to {speakers - 1}, or leave it out.",
        )
    return chosen


def _named_after(path: Path) -> str:
    """A name for the voice from the name of the imported file or folder."""
    stem = path.resolve().name if path.is_dir() else path.stem
    letters = (
        letter if unicodedata.category(letter)[0] in "LMN" or letter in "-_.'&+(),"  else " "
        for letter in unicodedata.normalize("NFC", stem)
    )  # fmt: skip
    plain = " ".join("".join(letters).split())[: names.LONGEST].strip(" .-")
    try:
        return names.valid_name(plain)
    except UnderstudyError as error:
        raise UnderstudyError(error.code, error.message, "Give the voice a name: --name NAME.") from error
