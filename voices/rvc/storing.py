"""A model and its index as files of a voice: named after their hashes, and described for its manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

from understudy.errors import UnderstudyError
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.checkpoint import Checkpoint, write_safetensors
from understudy.voices.rvc.index import check_index
from understudy.voices.voice import PitchRange, RvcIndex, RvcModel, Trained, file_hash


def store_model(
    checkpoint: Checkpoint,
    folder: Path,
    source: str,
    speaker: int = 0,
    index: RvcIndex | None = None,
    trained: Trained | None = None,
    pitch_range: PitchRange | None = None,
) -> RvcModel:
    """Write `checkpoint` into the existing `folder`; `source` says where it comes from. Raises `OSError`."""
    sizes, info = checkpoint.architecture, checkpoint.info
    temporary = folder / "new"
    write_safetensors(checkpoint, temporary)
    sha256 = file_hash(temporary)
    stored = temporary.rename(folder / f"model-{sha256[:8]}.safetensors")
    return RvcModel(
        file=stored.name,
        sha256=sha256,
        version=sizes.version,
        f0=sizes.f0,
        sample_rate=sizes.sample_rate,
        speakers=sizes.speakers,
        speaker=speaker,
        info=str(info.get("info", ""))[:1000],
        author=str(info.get("author", ""))[:200],
        source=source[-255:],
        index=index,
        embedder=checkpoint.embedder,
        pitch_range=pitch_range,
        trained=trained,
    )


def store_index(file: Path, folder: Path, source: str, version: str) -> RvcIndex:
    """Copy the index in `file` into the existing `folder`, for a model of that `version`.

    Raises `UnderstudyError` as `check_index` does, and ``index-mismatch`` for an index of another version; `OSError`.
    """
    found = check_index(file)
    if found.dimension != CONTENT_CHANNELS[version]:
        raise UnderstudyError(
            "index-mismatch",
            f"The index {file} holds features of {found.dimension} values; a model of version {version} needs "
            f"{CONTENT_CHANNELS[version]}.",
            "Build the index from the features that the model was trained on.",
        )
    temporary = folder / "new"
    shutil.copyfile(file, temporary)
    sha256 = file_hash(temporary)
    stored = temporary.rename(folder / f"index-{sha256[:8]}.index")
    return RvcIndex(file=stored.name, sha256=sha256, vectors=found.vectors, source=source[-255:])
