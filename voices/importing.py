"""Import of a voice from an archive of Understudy, or from an RVC model as file, folder or zip."""

from __future__ import annotations

from pathlib import Path

from understudy.context import Context
from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.models.unpacking import opened
from understudy.voices import archive
from understudy.voices.recordings import Finding
from understudy.voices.rvc.bundle import LIMITS, PACKED_HINT
from understudy.voices.rvc.importing import import_model
from understudy.voices.voice import MANIFEST, Consent, Voice

_DIRECTORY = 1 << 20  # bytes; the directory of an archive of Understudy is smaller


def import_voice(
    root: Path,
    path: Path,
    context: Context,
    name: str | None = None,
    *,
    consent: Consent | None = None,
    index: Path | None = None,
    model: str | None = None,
    speaker: int | None = None,
    replace: bool = False,
) -> tuple[Voice, list[Finding]]:
    """Put the voice at `path` into the library `root`; returns it and the findings about it.

    An archive of Understudy includes consent and model; for all else see
    `understudy.voices.rvc.importing.import_model`. Raises `UnderstudyError` as that and
    `understudy.voices.archive.import_voice` do.
    """
    if not _is_ours(path):
        return import_model(
            root, path, context, name, consent=consent, index=index, model=model, speaker=speaker, replace=replace
        )
    if index is not None or model is not None or speaker is not None:
        raise UnderstudyError(
            "archive-is-complete",
            f"{path} was exported by Understudy: its model, index and speaker are fixed.",
            "Leave out --index, --model and --speaker.",
        )
    return archive.import_voice(root, path, context, name, consent=consent, replace=replace)


def _is_ours(path: Path) -> bool:
    if path.is_dir() and (path / MANIFEST).is_file():
        raise UnderstudyError(
            "voice-kind-unknown",
            f"{path} is the folder of a voice in a library, or an unpacked archive of one.",
            "Import the zip itself; for a voice in another library, export it there first.",
        )
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    # the names stand at the end of a zip, also where what they name is damaged
    with reading(path, "Check the path."), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _DIRECTORY))
        ours = MANIFEST.encode() in file.read()
    with opened(path, LIMITS, archive.HINT if ours else PACKED_HINT) as found:
        return MANIFEST in found.entries
