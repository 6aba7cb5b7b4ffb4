"""The voice library: a folder with a folder per voice, each with a manifest (`voice.json`) and its recordings or model.

A voice is built in a hidden folder beside the others and appears under its name by one rename. An existing voice is
replaced by putting the new files (their names contain their hashes) beside the old ones and then replacing the
manifest, again by one rename. So neither a reader nor a crash ever leaves half a voice. All changes are under a lock.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import manifest as manifests
from understudy.voices import names, recording_files, recordings
from understudy.voices.recordings import Finding, RecordingReport
from understudy.voices.voice import (
    MANIFEST,
    MODEL,
    RECORDINGS,
    TRAINING,
    Consent,
    Manifest,
    Recording,
    Voice,
    content_hash,
    file_hash,
)

_MOST_RECORDINGS = 999
_STALE = 24 * 3600  # seconds after which a hidden folder is left over from a crash


@dataclass(frozen=True)
class BrokenVoice:
    """A folder in the library that isn't a readable voice, and why."""

    folder: Path
    error: UnderstudyError

    @property
    def name(self) -> str:
        return self.folder.name


def add(
    root: Path,
    name: str,
    files: Sequence[Path],
    consent: Consent,
    context: Context,
    *,
    replace: bool = False,
) -> tuple[Voice, list[Finding]]:
    """Make the voice `name` in the library `root` from recordings; returns it and the findings about them.

    `consent`: the voice is the user's own (``self``), or its owner has agreed (``granted``). Unusable recordings are
    left out and listed in the findings. Raises `UnderstudyError` for a bad or taken name,
    a missing file, recordings that hold less than `recordings.LEAST_VOICE` seconds of voice together, a full disk.
    """
    name = names.valid_name(name)
    refuse_without_consent(consent)
    if not 1 <= len(files) <= _MOST_RECORDINGS:
        raise UnderstudyError(
            "no-recordings" if not files else "too-many-recordings",
            f"A voice is made from 1 to {_MOST_RECORDINGS} recordings, not {len(files)}.",
            "Name one or more audio files of the voice; 15 to 40 seconds in all are enough.",
        )
    for path in files:
        if path.is_dir():
            raise UnderstudyError("file-not-found", f"{path} is a folder.", "Name the recordings in it, as with *.wav.")
        if not path.is_file():
            raise UnderstudyError("file-not-found", f"There is no file {path}.", "Check the path.")
    with building(root) as folder:
        if not replace:
            refuse_taken(root, name)
        stored, reports, left_out = _store_all(files, folder / RECORDINGS, context)
        findings = left_out + [finding for report in reports for finding in report.findings]
        findings += recordings.check_together(reports)
        usable = sum(report.voice for report in reports)
        if usable < recordings.LEAST_VOICE:
            worst = next((finding for finding in findings if finding.severity == "problem" and finding.recording), None)
            raise UnderstudyError(
                "voice-not-usable",
                f"The recordings hold {usable:.1f} s of usable voice; "
                f"at least {recordings.LEAST_VOICE:.0f} s are needed." + (f" {worst.sentence}" if worst else ""),
                "Record 15 to 40 seconds of one person speaking or singing, close to the microphone, in a quiet room.",
            )
        listed = tuple(stored)
        pitch_range = recordings.pitch_range(reports)
        rate = max(report.measures.rate for report in reports)
        manifest = Manifest(
            name=name,
            engine="instant",
            sample_rate=rate,
            pitch_range=pitch_range,
            recordings=listed,
            consent=consent,
            created=datetime.now(UTC).replace(microsecond=0),
            content_hash=content_hash("instant", rate, pitch_range, listed),
        )
        return settle(root, folder, manifest, replace=replace), findings


def load(root: Path, name: str, engine: str | None = None) -> Voice:
    """The voice `name` as sung by `engine` (None: its default), the files that this uses verified against their hashes.

    Raises `UnderstudyError`: unknown (with the nearest names), a broken manifest, ``engine-missing``, a missing or
    changed file.
    """
    voice = _open(root, name).sung_by(engine)
    if voice.manifest.engine == "instant" and not voice.manifest.recordings:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} has no recordings, so it cannot sing.",
            f"Make it again: `understudy voices add {voice.name!r} RECORDING... --replace`.",
        )
    while True:
        try:
            verify(voice)
            return voice
        except UnderstudyError:
            before, voice = voice, _open(root, name).sung_by(engine)
            if voice == before:  # otherwise it was replaced while we looked
                raise


def verify(voice: Voice, *, whole: bool = False) -> None:
    """Raise `UnderstudyError` unless the files that the engine of `voice` uses, or as a `whole` all of its files, exist
    with the hashes in its manifest."""
    for path, sha256 in (voice.stored_files if whole else voice.used_files).items():
        what, code, hint = "recording", "recording", _ADD_AGAIN
        if path.parent.name == MODEL:
            what, code, hint = "model", "voice-model", _IMPORT_AGAIN
        try:
            found = file_hash(path)
        except OSError as error:
            raise UnderstudyError(
                f"{code}-missing",
                f"The {what} {path} of the voice {voice.name!r} cannot be read ({error.strerror or error}).",
                hint.format(name=voice.name),
            ) from error
        if found != sha256:
            raise UnderstudyError(
                f"{code}-changed",
                f"The {what} {path} isn't what the voice {voice.name!r} was made from.",
                hint.format(name=voice.name),
            )


_ADD_AGAIN = (
    "Put the right file back, or make the voice again: `understudy voices add {name!r} RECORDING... --replace`."
)
_IMPORT_AGAIN = (
    "Put the right file back, or import the voice again: `understudy voices import FILE --name {name!r} --replace`."
)


def list_voices(root: Path) -> list[Voice | BrokenVoice]:
    """All voices by name; a folder that can't be read as one is listed as a `BrokenVoice`. No library: no voices."""
    return [_opened(folder) for folder in _folders(root)]


def remove(root: Path, name: str) -> None:
    """Take the voice `name`, broken or not, out of the library for good. Raises `UnderstudyError` if there is none."""
    _find(root, name)  # before a lock is put into a library that may not exist
    with _disk(root), _locked(root):
        folder = _find(root, name)
        doomed = _hidden(root, "removing")
        folder.rename(doomed / "voice")  # gone at once, even if the files take their time
        shutil.rmtree(doomed, ignore_errors=True)


def rename(root: Path, old: str, new: str) -> Voice:
    """Give the voice `old` the name `new`; its content hash stays. Raises `UnderstudyError` if `new` is taken."""
    new = names.valid_name(new)
    _find(root, old)
    with _disk(root), _locked(root):
        folder = _find(root, old)
        if new.casefold() != folder.name.casefold():
            refuse_taken(root, new)
        manifest = manifests.read(folder).model_copy(update={"name": new})
        target = folder.rename(root / new)
        # A voice's name is that of its folder: after a crash here the manifest's old name has no effect.
        manifests.write(target, manifest)
    return Voice(target, manifest)


def check(root: Path, name: str, context: Context) -> tuple[list[RecordingReport], list[Finding]]:
    """Check the voice `name` again: a report for each of its recordings, and findings about all of them and about the
    model."""
    voice = load(root, name)
    verify(voice, whole=True)
    manifest = voice.manifest
    reports: list[RecordingReport] = []
    findings: list[Finding] = []
    if manifest.recordings:
        sources = [recording.source for recording in manifest.recordings]
        reports, findings = recordings.check_files(context, voice.recording_files, sources)
    if manifest.model is not None:
        from understudy.voices.rvc.checks import check_stored

        findings += check_stored(voice)
    return reports, findings


def settle(root: Path, folder: Path, manifest: Manifest, *, replace: bool) -> Voice:
    """Move the voice built in `folder` (with all files that `manifest` lists) into the library under its name."""
    manifests.write(folder, manifest)
    target = root / manifest.name
    with _locked(root):
        if not target.exists():
            refuse_taken(root, manifest.name)
            folder.rename(target)
            return Voice(target, manifest)
        if not replace:
            raise _taken(manifest.name)
        new, kept = Voice(folder, manifest).stored_files, set(Voice(target, manifest).stored_files)
        for path in new:
            place = target / path.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
        (folder / MANIFEST).replace(target / MANIFEST)  # from here on it is the new voice
        for parent in (target / RECORDINGS, target / TRAINING, target / MODEL):
            for path in parent.glob("*"):
                if path not in kept:
                    path.unlink(missing_ok=True)
    return Voice(target, manifest)


def _store_all(
    files: Sequence[Path], folder: Path, context: Context
) -> tuple[list[Recording], list[RecordingReport], list[Finding]]:
    """Decode, check and store `files`; returns those stored, their reports, and findings about those left out."""
    folder.mkdir()
    decoded = folder.parent / "decoded.npy"
    stored: list[Recording] = []
    reports: list[RecordingReport] = []
    left_out: list[Finding] = []
    for position, path in enumerate(files):
        part = context.part(position / len(files), (position + 1) / len(files))
        name = names.printable(path.name)
        try:
            source = recording_files.decode(part.part(0, 0.2), path, decoded)
        except UnderstudyError as error:
            if error.code in ("cancelled", "disk-full"):
                raise
            left_out.append(Finding("unreadable", "problem", name, f"{name}: left out. {error}"))
            continue
        report = recordings.check(part.part(0.2, 0.9), source, name)
        if not report.usable:
            left_out += report.findings
            continue
        recording = recording_files.store(part.part(0.9, 1), source, folder, len(stored) + 1, name)
        if any(recording.sha256 == other.sha256 for other in stored):
            sentence = f"{name}: left out, the same sound is there already."
            left_out.append(Finding("duplicate", "advice", name, sentence))
            (folder / recording.file).unlink()
            continue
        stored.append(recording)
        reports.append(report)
    decoded.unlink(missing_ok=True)
    return stored, reports, left_out


@contextlib.contextmanager
def building(root: Path) -> Iterator[Path]:
    """A hidden folder in the library to build a voice in; it is removed with what is still in it."""
    with _disk(root):
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(".*ing-*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE:
                    shutil.rmtree(left, ignore_errors=True)
        folder = _hidden(root, "adding")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _hidden(root: Path, purpose: str) -> Path:
    # not tempfile.mkdtemp: that makes private folders, and a library may be shared
    folder = root / f".{purpose}-{secrets.token_hex(6)}"
    folder.mkdir()
    return folder


def _locked(root: Path) -> FileLock:
    """A lock on the library against other threads and processes. The system releases the lock of a killed process."""
    return FileLock(root / ".lock")


@contextlib.contextmanager
def _disk(root: Path) -> Iterator[None]:
    """Turns an `OSError` into an `UnderstudyError` about the library `root`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnderstudyError(
                "disk-full",
                f"The disk that holds the voice library {root} is full.",
                "Free some space and run the same command again; the library is as it was before.",
            ) from error
        raise UnderstudyError(
            "library-not-writable",
            f"The voice library {root} cannot be changed ({error.strerror or error}).",
            "Check that the folder exists and is yours, or choose another library.",
        ) from error


def _folders(root: Path) -> list[Path]:
    try:
        found = [entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnderstudyError(
            "library-unreadable",
            f"The voice library {root} cannot be read ({error.strerror or error}).",
            "Check the folder's permissions, or choose another library.",
        ) from error
    return sorted(found, key=lambda folder: (folder.name.casefold(), folder.name))


def _opened(folder: Path) -> Voice | BrokenVoice:
    try:
        manifest = manifests.read(folder)
    except UnderstudyError as error:
        return BrokenVoice(folder, error)
    return Voice(folder, manifest.model_copy(update={"name": folder.name}))


def _find(root: Path, name: str) -> Path:
    folders = {folder.name: folder for folder in _folders(root)}
    wanted = unicodedata.normalize("NFC", name)
    if wanted not in folders:
        raise names.unknown(wanted, folders)
    return folders[wanted]


def _open(root: Path, name: str) -> Voice:
    voice = _opened(_find(root, name))
    if isinstance(voice, BrokenVoice):
        raise voice.error
    return voice


def _taken(name: str) -> UnderstudyError:
    return UnderstudyError(
        "voice-exists",
        f"There is a voice named {name!r} already.",
        f"Choose another name, or replace the voice {name!r} with --replace.",
    )


def refuse_taken(root: Path, name: str) -> None:
    # "Nova" and "nova" are one folder on some file systems, so they are one name on all
    for folder in _folders(root):
        if folder.name.casefold() == name.casefold():
            raise _taken(folder.name)


def refuse_without_consent(consent: str | None) -> None:
    """Raise ``consent-missing`` unless `consent` states that the voice's owner agrees."""
    if consent not in ("self", "granted"):
        raise UnderstudyError(
            "consent-missing",
            "A voice belongs to a person: the consent of its owner must be stated.",
            "Use --consent self for your own voice, or --consent granted when its owner has agreed.",
        )
