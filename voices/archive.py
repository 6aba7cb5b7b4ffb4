"""A voice as one file: a zip with its manifest, recordings and model, to carry it to another library.

The same voice gives the same bytes. An imported archive is untrusted: besides the checks of
`understudy.models.unpacking`, everything in it must match its manifest.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from pathlib import Path

from understudy.audio.files import probe
from understudy.context import Context
from understudy.disk import replacing
from understudy.errors import UnderstudyError
from understudy.models.unpacking import Archive, Limits, opened
from understudy.voices import blocklist, library, manifest, names, recording_files, recordings
from understudy.voices.consent import levels
from understudy.voices.recordings import Finding
from understudy.voices.voice import MANIFEST, MODEL, RECORDINGS, TRAINING, Consent, Manifest, Recording, Voice

HINT = "Export the voice again with `understudy voices export` and import that file unchanged."
_LIMITS = Limits(
    bytes=8 << 30, entries=2006
)  # the manifest, the folders, twice 999 recordings, model, index and tuned model
_BLOCK = 1 << 20
_EXPECTED = re.compile(
    rf"({RECORDINGS}|{TRAINING})/[0-9]{{3}}-[a-z0-9-]{{1,80}}\.flac"
    rf"|{MODEL}/((model|tuned)-[0-9a-f]{{8}}\.safetensors|index-[0-9a-f]{{8}}\.index|tuned-[0-9a-f]{{8}}\.yml)",
    re.ASCII,
)


def export(voice: Voice, path: Path, context: Context, *, replace: bool = False) -> Path:
    """Write `voice` (as `library.load` gave it) to a zip at `path`: the same voice gives the same bytes.

    Raises `UnderstudyError`: ``file-exists`` unless `replace`, ``disk-full``, ``output-not-writable``,
    those of `library.verify` and `levels.require`; leaves no half archive.
    """
    if path.exists() and not (replace and path.is_file()):
        raise UnderstudyError(
            "file-exists", f"{path} exists already.", "Choose another name, or say --overwrite to replace it."
        )
    levels.require(voice.manifest, "export")
    library.verify(voice, voice.stored_files)
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry(MANIFEST), manifest.to_bytes(voice.manifest))
        for done, file in enumerate(voice.stored_files):
            context.progress(done / len(voice.stored_files))
            entry = _entry(file.relative_to(voice.folder).as_posix())
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _BLOCK)
    return path


def import_voice(
    root: Path,
    path: Path,
    context: Context,
    name: str | None = None,
    *,
    consent: Consent | None = None,
    replace: bool = False,
) -> tuple[Voice, list[Finding]]:
    """Put the voice in the archive at `path` into the library `root`, as `name` or under its own name, with `consent`
    or the consent in its manifest; returns it and the findings of its recordings or its model. Only that statement is
    taken over: a consent that another library verified has to be verified again.

    Raises `UnderstudyError`: ``archive-refused`` unless it holds exactly a manifest and the files that it lists,
    ``voice-kind-unknown`` for an unknown engine, those of `manifest.parse`, of an invalid model and of `library.add`.
    """
    with opened(path, _LIMITS, HINT) as archive:
        _check_names(archive)
        with library.building(root) as folder:
            content = manifest.parse(archive.read(MANIFEST, manifest.LARGEST), f"{archive.path}:{MANIFEST}")
            if content.engine not in ("instant", "zero-shot", "rvc"):
                raise UnderstudyError(
                    "voice-kind-unknown",
                    f"{archive.path} holds a voice for the engine {content.engine!r}, which this version doesn't have.",
                    "Update Understudy, or import a voice of the engine 'instant', 'zero-shot' or 'rvc'.",
                )
            name = names.valid_name(content.name if name is None else name)
            if content.consent_record is not None and content.consent_level == "revoked":
                raise levels.revoked(name, content.consent_record)
            # what another library decided is not proven here
            stated = {"consent": consent or content.consent, "consent_record": None}
            content = content.model_copy(update={"name": name, **stated})
            if not replace:
                library.refuse_taken(root, content.name)
            voice = Voice(folder, content)
            listed = {file.relative_to(folder).as_posix(): sha256 for file, sha256 in voice.stored_files.items()}
            if not listed or listed.keys() != archive.entries.keys() - {MANIFEST}:
                raise archive.refused("its files are not those that its manifest lists")
            for done, (entry, sha256) in enumerate(listed.items()):
                part = context.part(0.3 * done / len(listed), 0.3 * (done + 1) / len(listed))
                (folder / entry).parent.mkdir(exist_ok=True)
                if archive.copy(entry, folder / entry, part) != sha256:
                    raise archive.refused(f"the SHA-256 of {entry} is not the one in its manifest")
            findings: list[Finding] = []
            if content.recordings:
                findings = _check_recordings(archive, folder, content, context.part(0.3, 1))
            if content.model is not None:
                from understudy.voices.rvc.checks import check_stored

                findings += check_stored(voice)
            if content.tuned is not None:
                from understudy.voices.zero_shot.engine import tuned_weights
                from understudy.voices.zero_shot.singing import read_converter

                weights = tuned_weights(voice)
                assert weights is not None
                read_converter(weights)  # refuses what isn't one
            return library.settle(root, folder, content, replace=replace), findings


def _check_names(archive: Archive) -> None:
    for entry in archive.entries:
        if entry != MANIFEST and not _EXPECTED.fullmatch(entry):
            raise archive.refused(f"it holds {entry[:80]!r}, which isn't part of a voice")
    if MANIFEST not in archive.entries:
        raise archive.refused(f"it has no {MANIFEST}")


def _check_recordings(archive: Archive, folder: Path, content: Manifest, context: Context) -> list[Finding]:
    files = Voice(folder, content).recording_files
    further = Voice(folder, content).training_files
    listed = (*content.recordings, *content.training_recordings)
    for file, recording in zip((*files, *further), listed, strict=True):
        _check_flac(archive, file, recording)
    reports, findings = recordings.check_files(
        context, files, [recording.source for recording in content.recordings], folder
    )
    blocklist.refuse_listed([report.embedding for report in reports])
    for report, recording in zip(reports, content.recordings, strict=True):
        if abs(report.duration - recording.duration) > 0.05:
            raise archive.refused(f"the recording {recording.file} is not as long as its manifest states")
    if max(report.measures.rate for report in reports) != content.sample_rate:
        raise archive.refused("the sample rate in its manifest isn't that of its recordings")
    return findings


def _check_flac(archive: Archive, file: Path, recording: Recording) -> None:
    found = probe(file)
    if found.container != "flac" or found.channels != 1 or found.rate > recording_files.HIGHEST_RATE:
        raise archive.refused(
            f"the recording {recording.file} isn't mono FLAC of at most {recording_files.HIGHEST_RATE} Hz"
        )


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # wherever it is made
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry
