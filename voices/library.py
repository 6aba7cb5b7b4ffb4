"""The voice library: a folder with a folder per voice, each with a manifest (`voice.json`) and its recordings or model.

A voice is built in a hidden folder beside the others and appears under its name by one rename. An existing voice is
replaced by putting the new files (their names contain their hashes) beside the old ones and then replacing the
manifest, again by one rename. So neither a reader nor a crash ever leaves half a voice. All changes are under a lock.
What is decided about a voice is written into the consent log (`consent/log.py`) before its manifest says so, and the
log is what counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import blocklist, names, recording_files, recordings, speaker
from understudy.voices import manifest as manifests
from understudy.voices.consent import levels
from understudy.voices.consent.log import ConsentLog, Entry, decided, files_of
from understudy.voices.recordings import Finding, RecordingReport
from understudy.voices.voice import (
    MANIFEST,
    MODEL,
    RECORDINGS,
    TRAINING,
    Consent,
    Level,
    Manifest,
    PitchRange,
    Recording,
    Trained,
    TunedModel,
    Use,
    Voice,
    ZeroShotModel,
    content_hash,
    file_hash,
)

if TYPE_CHECKING:
    from understudy.voices.rvc.checkpoint import Checkpoint

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
    a missing file, recordings that hold less than `recordings.LEAST_VOICE` seconds of voice together, a full disk, and
    ``voice-blocked`` for the recordings of somebody on the blocklist.
    """
    name = names.valid_name(name)
    refuse_without_consent(consent)
    _refuse_missing(files)
    with building(root) as folder:
        if not replace:
            refuse_taken(root, name)
        stored, reports, left_out = _store_all(files, folder / RECORDINGS, context, _why_unusable)
        findings = left_out + [finding for report in reports for finding in report.findings]
        findings += recordings.check_together(reports)
        blocklist.refuse_listed([report.embedding for report in reports])
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


def add_training_recordings(
    root: Path, name: str, files: Sequence[Path], consent: Consent | None, context: Context, *, separate: bool = False
) -> tuple[Voice, list[Finding]]:
    """Add `files` to the recordings on which models of the voice `name` are trained; returns it and the findings.

    The instant voice and its content hash stay as they are. Left out, and listed in the findings, are recordings that
    the voice has already, unusable ones, and those with a problem for training: music, a second speaker, noise,
    reverberation, clipping, or a speaker unlike the voice's own recordings. With `separate` the voice will be separated
    from what else sounds in them before training, and only unusable ones are left out.
    The voice keeps the weaker consent: ``granted`` if either is, and no longer ``verified`` where nobody compared the
    speakers. Raises `UnderstudyError` as `load` and `add` do,
    ``voice-without-recordings`` for a voice that is only a model, and ``voice-removed``.
    """
    refuse_without_consent(consent)
    _refuse_missing(files)
    voice = load_recorded(root, name)
    with building(root) as folder:
        own = [] if separate else recordings.embeddings(context.part(0, 0.1), voice.recording_files, folder)

        def why_unfit(report: RecordingReport) -> Sequence[Finding]:
            if separate or not report.usable:
                return _why_unusable(report)
            return [*recordings.unfit(report), *recordings.unlike(report, own)]

        known = (*voice.manifest.recordings, *voice.manifest.training_recordings)
        stored, reports, findings = _store_all(files, folder / TRAINING, context.part(0.1, 1), why_unfit, known)
        blocklist.refuse_listed([report.embedding for report in reports])
        findings += [finding for report in reports for finding in report.findings]
        if not separate and not speaker.available():
            findings.append(recordings.speakers_not_compared())
        if not stored:
            return voice, findings

        def changed(manifest: Manifest) -> Manifest:
            there = {recording.sha256 for recording in manifest.training_recordings}
            new = (*manifest.training_recordings, *(recording for recording in stored if recording.sha256 not in there))
            if len(new) > _MOST_RECORDINGS:
                raise UnderstudyError(
                    "too-many-recordings",
                    f"A voice has at most {_MOST_RECORDINGS} recordings for training, not {len(new)}.",
                    "Join short recordings to longer ones.",
                )
            weaker = "granted" if "granted" in (consent, manifest.consent) else "self"
            more = manifest.model_copy(update={"training_recordings": new, "consent": weaker})
            if manifest.consent_level == "verified" and not (own and speaker.available()):
                return _decided(root, more, "stated", {"because": "recordings of an unverified speaker were added"})
            return _noted(root, more, "recordings added", {"consent": consent, "files": files_of(more)})

        return _change(root, folder, voice.name, voice.manifest.recordings_hash, changed), findings


def publish_model(
    root: Path,
    name: str,
    recordings_hash: str,
    checkpoint: Checkpoint,
    index: Path | None,
    trained: Trained,
    *,
    default: bool,
    pitch_range: PitchRange | None = None,
) -> Voice:
    """Give the voice `name` the model in `checkpoint` with the `index` file, in place of the model that it had.

    Who reads meanwhile gets the old voice or the new one. `recordings_hash`: of the voice's manifest when training
    began; a voice that was renamed since is found by it. `default`: whether the voice sings with the model from now on,
    or with its recordings. `pitch_range`: of all that it was trained on. The consent stays that of the recordings.
    Raises `UnderstudyError` ``voice-removed`` if there is no voice of these recordings any more, ``disk-full``,
    ``library-not-writable``, those of `check_index`.
    """
    from understudy.voices.rvc.storing import store_index, store_model

    of_recordings(root, name, recordings_hash)  # before anything is written
    with building(root) as folder:
        place = folder / MODEL
        place.mkdir()
        stored = None if index is None else store_index(index, place, "training", checkpoint.architecture.version)
        model = store_model(checkpoint, place, "training", 0, stored, trained, pitch_range)

        def changed(manifest: Manifest) -> Manifest:
            return manifest.model_copy(update={"model": model, "engine": "rvc" if default else "instant"})

        return _change(root, folder, name, recordings_hash, changed)


def publish_tuned(
    root: Path,
    name: str,
    recordings_hash: str,
    model: ZeroShotModel,
    weights: Path,
    configuration: Path,
    trained: Trained,
) -> Voice:
    """Give the voice `name` the zero-shot `model` of the catalogue as it is in `weights` (safetensors) now, with its
    `configuration`, in place of one that it had; with `zero-shot` it sings with that from now on. The rest is as of
    `publish_model`."""
    of_recordings(root, name, recordings_hash)  # before anything is written
    with building(root) as folder:
        place = folder / MODEL
        place.mkdir()
        hashes = {path: file_hash(path) for path in (weights, configuration)}
        names = {path: f"tuned-{sha256[:8]}" for path, sha256 in hashes.items()}
        tuned = TunedModel(
            model=model,
            file=f"{names[weights]}.safetensors",
            sha256=hashes[weights],
            configuration=f"{names[configuration]}.yml",
            configuration_sha256=hashes[configuration],
            trained=trained,
        )
        shutil.copyfile(weights, place / tuned.file)
        shutil.copyfile(configuration, place / tuned.configuration)
        return _change(
            root, folder, name, recordings_hash, lambda manifest: manifest.model_copy(update={"tuned": tuned})
        )


def sing_with(root: Path, name: str, engine: str) -> Voice:
    """Make `engine` the one that the voice `name` sings with by default. Raises `UnderstudyError` ``engine-missing``
    and as `load` does."""
    found = load(root, name, engine).manifest
    if found.engines == (engine,):
        return load(root, name)
    with building(root) as folder:
        return _change(root, folder, name, found.recordings_hash, lambda manifest: manifest.sung_by(engine))


def _change(
    root: Path, folder: Path, name: str, recordings_hash: str, changed: Callable[[Manifest], Manifest]
) -> Voice:
    """Change the manifest of the voice `name`, or of the voice with these recordings if it was renamed meanwhile, and
    give it the new files in `folder`. `changed` gets the manifest as it is then, without others' changes lost."""
    with _locked(root):
        voice = of_recordings(root, name, recordings_hash)
        levels.require(voice.manifest)
        manifest = changed(voice.manifest)
        manifest = manifest.sung_by(manifest.engine)  # its content hash
        manifests.write(folder, manifest)
        _put(folder, voice.folder, manifest)
    return Voice(voice.folder, manifest)


def of_recordings(root: Path, name: str, recordings_hash: str) -> Voice:
    """The voice with these recordings: `name` if that has them, else another one, e.g. because it was renamed. Raises
    `UnderstudyError` ``voice-removed`` if there is none."""
    found = {
        voice.name: voice
        for voice in list_voices(root)
        if isinstance(voice, Voice) and voice.manifest.recordings and voice.manifest.recordings_hash == recordings_hash
    }
    if not found:
        raise _removed(name)
    return found.get(unicodedata.normalize("NFC", name)) or next(iter(found.values()))


def load(root: Path, name: str, engine: str | None = None) -> Voice:
    """The voice `name` as sung by `engine` (None: its default), the files that this uses verified against their hashes.

    Raises `UnderstudyError`: unknown (with the nearest names), a broken manifest, ``engine-missing``, a missing or
    changed file, and what `levels.require` raises.
    """
    voice = describe(root, name).sung_by(engine)
    levels.require(voice.manifest)
    if voice.manifest.engine != "rvc" and not voice.manifest.recordings:
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
            before, voice = voice, describe(root, name).sung_by(engine)
            levels.require(voice.manifest)
            if voice == before:  # otherwise it was replaced while we looked
                raise


def load_recorded(root: Path, name: str) -> Voice:
    """The voice `name` to train a model from: its recordings and those for training verified, whatever its model.

    Raises `UnderstudyError` as `load` does, and ``voice-without-recordings`` for a voice that is only a model.
    """
    voice = describe(root, name)
    levels.require(voice.manifest, "train")
    if not voice.manifest.recordings:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} is an imported model: there are no recordings of it to train from.",
            "Make a voice from recordings with `understudy voices add`, and train that.",
        )
    verify(voice, {path: sha256 for path, sha256 in voice.stored_files.items() if path.parent.name != MODEL})
    return voice


def verify(voice: Voice, files: Mapping[Path, str] | None = None) -> None:
    """Raise `UnderstudyError` unless `files` of `voice`, None: those that its engine uses, have the SHA-256 given."""
    for path, sha256 in (voice.used_files if files is None else files).items():
        what, code, hint = "recording", "recording", _ADD_AGAIN
        if path.parent.name == MODEL:
            model = voice.manifest.model
            trained = path in voice.tuned_files or (model and model.trained)
            what, code, hint = "model", "voice-model", _TRAIN_AGAIN if trained else _IMPORT_AGAIN
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
_TRAIN_AGAIN = "Put the right file back, or train again with `understudy voices train {name!r}`."
_IMPORT_AGAIN = (
    "Put the right file back, or import the voice again: `understudy voices import FILE --name {name!r} --replace`."
)


def list_voices(root: Path) -> list[Voice | BrokenVoice]:
    """All voices by name; a folder that can't be read as one is listed as a `BrokenVoice`. No library: no voices."""
    entries = ConsentLog(root).read()
    return [_opened(folder, entries) for folder in _folders(root)]


def remove(root: Path, name: str) -> None:
    """Take the voice `name`, broken or not, out of the library for good. Raises `UnderstudyError` if there is none."""
    _find(root, name)  # before a lock is put into a library that may not exist
    with _disk(root), _locked(root):
        folder = _find(root, name)
        voice = _opened(folder, ())
        identity = voice.manifest.identity if isinstance(voice, Voice) else ""
        ConsentLog(root).append(datetime.now(UTC), voice.name, identity, "removed")
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
        _noted(root, manifest, "renamed", {"from": folder.name})
        target = folder.rename(root / new)
        # A voice's name is that of its folder: after a crash here the manifest's old name has no effect.
        manifests.write(target, manifest)
    return Voice(target, manifest)


def check(root: Path, name: str, context: Context) -> tuple[list[RecordingReport], list[Finding]]:
    """Check the voice `name` again: a report for each of its recordings, and findings about all of them and about the
    model."""
    voice = load(root, name)
    verify(voice, voice.stored_files)
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


def settle(root: Path, folder: Path, manifest: Manifest, *, replace: bool, parents: Sequence[Manifest] = ()) -> Voice:
    """Move the voice built in `folder` (with all files that `manifest` lists) into the library under its name.

    `parents`: of the voices that it was blended from. Raises ``consent-revoked`` if it has recordings or a model of a
    voice whose consent was revoked here.
    """
    target = root / manifest.name
    with _locked(root):
        if target.exists() and not replace:
            raise _taken(manifest.name)
        if not target.exists():
            refuse_taken(root, manifest.name)
        manifest = _admitted(root, manifest, parents)
        manifests.write(folder, manifest)
        if target.exists():
            _put(folder, target, manifest)
        else:
            folder.rename(target)
    return Voice(target, manifest)


def _admitted(root: Path, manifest: Manifest, parents: Sequence[Manifest]) -> Manifest:
    """A new voice's manifest with the record of its consent. A voice of the same recordings has what they have."""
    entries, files = ConsentLog(root).read(), files_of(manifest)
    for entry in entries:
        if entry.decision == "revoked" and set(files) & set(entry.details["files"]):
            raise levels.revoked(manifest.name, entry.record)
    known = decided(entries, manifest.identity)
    details: dict[str, Any] = {"consent": manifest.consent, "files": files}
    if known is not None:
        return _noted(root, manifest.model_copy(update={"consent_record": known}), "added", details)
    level, limits = levels.inherited(parents)
    made_from = {"blended_from": [parent.identity for parent in parents]} if parents else {}
    return _decided(root, manifest, level, details | limits | made_from)


def _decided(root: Path, manifest: Manifest, level: Level, details: Mapping[str, Any]) -> Manifest:
    """The manifest with a new decision about its consent, which is written into the log."""
    entry = ConsentLog(root).append(datetime.now(UTC), manifest.name, manifest.identity, level, details)
    return manifest.model_copy(update={"consent_record": entry.record})


def _noted(root: Path, manifest: Manifest, what: str, details: Mapping[str, Any]) -> Manifest:
    """The manifest, after the log was told what happened to the voice."""
    ConsentLog(root).append(datetime.now(UTC), manifest.name, manifest.identity, what, details)
    return manifest


def decide(
    root: Path,
    name: str,
    identity: str,
    decision: str,
    details: Mapping[str, Any],
    check: Callable[[Sequence[Entry]], object] = len,
) -> Voice:
    """Write a decision about the voice `name` into the log and, if it is a level, into its manifest.

    `check` gets the log's entries first and may raise an error. Raises ``voice-removed`` if the voice isn't `identity`
    any more, ``consent-revoked``, and as `describe` does.
    """
    with _disk(root), _locked(root):
        voice = describe(root, name)
        if voice.manifest.identity != identity:
            raise _removed(name)
        refuse_revoked(voice)
        log = ConsentLog(root)
        check(log.read())
        entry = log.append(datetime.now(UTC), voice.name, identity, decision, details)
        if decision not in levels.LEVELS:
            return voice
        manifest = voice.manifest.model_copy(update={"consent_record": entry.record})
        manifests.write(voice.folder, manifest)
    return Voice(voice.folder, manifest)


def revoke(root: Path, name: str, reason: str = "") -> list[Voice]:
    """Withdraw the consent for the voice `name` for good: its recordings and its model are deleted, and its manifest
    stays to tell. The same happens to voices that share a recording or the model with it, or were blended from it.

    Returns these voices as they were. Raises ``voice-unknown``.
    """
    _find(root, name)
    with _disk(root), _locked(root):
        log = ConsentLog(root)
        withdrawn = {describe(root, name).manifest.identity}
        files = set(files_of(describe(root, name).manifest))
        ended: list[Voice] = []
        while found := [voice for voice in _concerned(root, withdrawn, files) if voice not in ended]:
            for voice in found:
                ended.append(voice)
                withdrawn.add(voice.manifest.identity)
                files |= set(files_of(voice.manifest))
        for voice in ended:
            if voice.manifest.consent_level == "revoked":
                continue
            details = {"reason": reason[:500], "files": files_of(voice.manifest)}
            entry = log.append(datetime.now(UTC), voice.name, voice.manifest.identity, "revoked", details)
            manifests.write(voice.folder, voice.manifest.model_copy(update={"consent_record": entry.record}))
            for place in (RECORDINGS, TRAINING, MODEL):
                shutil.rmtree(voice.folder / place, ignore_errors=True)
    return ended


def _concerned(root: Path, withdrawn: set[str], files: set[str]) -> list[Voice]:
    """The voices in the library that the end of those in `withdrawn`, made from `files`, ends, too."""
    blends = {
        entry.identity for entry in ConsentLog(root).read() if withdrawn & set(entry.details.get("blended_from", ()))
    }
    voices = [voice for voice in list_voices(root) if isinstance(voice, Voice)]
    return [
        voice
        for voice in voices
        if voice.manifest.identity in withdrawn | blends or files & set(files_of(voice.manifest))
    ]


def permit(voice: Voice, use: Use) -> None:
    """Raise `UnderstudyError` unless `voice` may be used so now: as `levels.require`."""
    levels.require(voice.manifest, use)
    refuse_revoked(voice)


def refuse_revoked(voice: Voice) -> None:
    """Raise ``consent-revoked`` if the consent for a voice that was loaded earlier has been withdrawn since."""
    record = decided(ConsentLog(voice.folder.parent).read(), voice.manifest.identity)
    if record is not None and record.level == "revoked":
        raise levels.revoked(voice.name, record)


def _put(folder: Path, target: Path, manifest: Manifest) -> None:
    """Make the voice in `target` the one that `manifest` describes; files that it hasn't yet are in `folder`, with the
    manifest. Files that are no longer listed are removed. The library must be locked."""
    listed = Voice(target, manifest).stored_files
    for place in listed:
        path = folder / place.relative_to(target)
        if path.exists():
            with path.open("rb+") as file:
                os.fsync(file.fileno())  # on disk before the manifest that lists it
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
    (folder / MANIFEST).replace(target / MANIFEST)  # from here on it is the new voice
    for parent in (target / RECORDINGS, target / TRAINING, target / MODEL):
        for path in parent.glob("*"):
            if path not in listed:
                path.unlink(missing_ok=True)


def _why_unusable(report: RecordingReport) -> Sequence[Finding]:
    return () if report.usable else report.findings


def _refuse_missing(files: Sequence[Path]) -> None:
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


def _store_all(
    files: Sequence[Path],
    folder: Path,
    context: Context,
    why_not: Callable[[RecordingReport], Sequence[Finding]],
    known: Sequence[Recording] = (),
) -> tuple[list[Recording], list[RecordingReport], list[Finding]]:
    """Decode, check and store `files`; returns those stored, their reports, and findings about those left out.

    Left out are those that can't be read, those among `known` or stored already, and those for which there are reasons
    `why_not`.
    """
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
            reason = str(error).removeprefix(f"{path} ")
            left_out.append(Finding("unreadable", "problem", name, f"{name}: left out, {reason}"))
            continue
        # stored before it is checked: what is there already needs no check, which takes longer
        recording = recording_files.store(
            part.part(0.2, 0.3), source, folder, (len(known) + len(stored)) % 999 + 1, name
        )
        reasons = [Finding("duplicate", "advice", name, f"{name}: left out, the same sound is there already.")]
        if not any(recording.sha256 == other.sha256 for other in (*known, *stored)):
            report = recordings.check(part.part(0.3, 1), source, name)
            reasons = list(why_not(report))
        if reasons:
            left_out += reasons
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


def _opened(folder: Path, entries: Sequence[Entry]) -> Voice | BrokenVoice:
    """The voice in `folder`, its consent as the log's `entries` say."""
    try:
        manifest = manifests.read(folder)
    except UnderstudyError as error:
        return BrokenVoice(folder, error)
    record = decided(entries, manifest.identity)
    if record is None and manifest.consent_level != "verified":  # without the log nothing is proven
        record = manifest.consent_record
    return Voice(folder, manifest.model_copy(update={"name": folder.name, "consent_record": record}))


def _find(root: Path, name: str) -> Path:
    folders = {folder.name: folder for folder in _folders(root)}
    wanted = unicodedata.normalize("NFC", name)
    if wanted not in folders:
        raise names.unknown(wanted, folders)
    return folders[wanted]


def describe(root: Path, name: str) -> Voice:
    """The voice `name` to read about it, its files not verified and its consent not asked for. Raises as `load`."""
    voice = _opened(_find(root, name), ConsentLog(root).read())
    if isinstance(voice, BrokenVoice):
        raise voice.error
    return voice


def _removed(name: str) -> UnderstudyError:
    return UnderstudyError(
        "voice-removed",
        f"The voice {name!r} was removed, or made again from other recordings.",
        "Make it again from the same recordings with `understudy voices add`, then run the same command again.",
    )


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
