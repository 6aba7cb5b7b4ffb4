"""A voice as one file: a zip with its manifest and recordings, to carry it to another library.

The archive of a voice is always the same bytes. One that comes back may come from a stranger: it is listed, sized and
checked before a byte of it is unpacked, and everything in it must be what its manifest says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from audio.context import Context
from audio.disk import writing
from audio.errors import UnderstudyError
from audio.files import probe
from voices import intake, library, manifest, names, recordings
from voices.recordings import Finding
from voices.voice import MANIFEST, RECORDINGS, Recording, Voice

_LARGEST = 8 << 30  # bytes, packed and unpacked
_MOST_ENTRIES = 1001  # the manifest, the folder and 999 recordings
_MOST_RATIO = 100  # unpacked to packed; FLAC hardly packs, unless it is silence
_BLOCK = 1 << 20
_EXPECTED = re.compile(rf"{RECORDINGS}/[0-9]{{3}}-[a-z0-9-]{{1,80}}\.flac", re.ASCII)
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".index", ".safetensors", ".onnx")
_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16: end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR64 = struct.Struct("<4sLQL")  # 4.3.15


def export(voice: Voice, path: Path, context: Context, *, replace: bool = False) -> Path:
    """Write `voice` (as `library.load` gave it) to a zip at `path`: the same voice gives the same bytes.

    Raises `UnderstudyError`: ``file-exists`` unless `replace`, ``disk-full``, ``output-not-writable``,
    ``recording-changed`` or ``recording-missing``; leaves no half archive.
    """
    if path.exists() and not (replace and path.is_file()):
        raise UnderstudyError(
            "file-exists", f"{path} exists already.", "Choose another name, or say --overwrite to replace it."
        )
    library.verify(voice)
    part = path.with_name(f".{path.name}.part")
    with writing(part):
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry(MANIFEST), manifest.to_bytes(voice.manifest))
            for done, file in enumerate(voice.recording_files):
                context.progress(done / len(voice.recording_files))
                entry = _entry(f"{RECORDINGS}/{file.name}")
                entry.file_size = file.stat().st_size
                with file.open("rb") as source, archive.open(entry, "w") as target:
                    while block := source.read(_BLOCK):
                        target.write(block)
        part.replace(path)
    return path


def import_voice(
    root: Path, path: Path, context: Context, name: str | None = None, *, replace: bool = False
) -> tuple[Voice, list[Finding]]:
    """Put the voice in the archive at `path` into the library `root`, as `name` or under its own name; returns it and
    what was found in its recordings.

    Raises `UnderstudyError`: ``voice-kind-unknown`` for other files than our archives, ``archive-refused`` for what
    isn't exactly a manifest and the recordings that it lists, those of a bad manifest and of `library.add`.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnderstudyError(
            "file-not-found",
            f"{path} cannot be read ({error.strerror or error}).",
            "Check the path; give the zip that `understudy voices export` made.",
        ) from error
    with file:
        _refuse_other_kinds(file, path)
        _check_directory(file, path)
        with _reading(path):
            archive = zipfile.ZipFile(file)
        entries = _checked_entries(archive, path)
        with library.building(root) as folder:
            return _unpack(archive, entries, path, root, folder, context, name, replace)


def _unpack(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    path: Path,
    root: Path,
    folder: Path,
    context: Context,
    name: str | None,
    replace: bool,
) -> tuple[Voice, list[Finding]]:
    with _reading(path):
        document = archive.read(entries.pop(MANIFEST))
    told = manifest.parse(document, f"{path}:{MANIFEST}")
    if told.engine != "instant":
        raise UnderstudyError(
            "voice-kind-unknown",
            f"{path} holds a voice for the engine {told.engine!r}, which this Understudy doesn't have.",
            "Update Understudy, or import a voice of the engine 'instant'.",
        )
    told = told.model_copy(update={"name": names.valid_name(told.name if name is None else name)})
    if not replace:
        library.refuse_taken(root, told.name)
    listed = {f"{RECORDINGS}/{recording.file}" for recording in told.recordings}
    if not listed or listed != set(entries):
        raise _refused(path, "its recordings aren't those that its manifest lists")
    (folder / RECORDINGS).mkdir()
    files = []
    for done, recording in enumerate(told.recordings):
        context.progress(0.3 * done / len(told.recordings))
        target = folder / RECORDINGS / recording.file
        with _reading(path):
            found = _copy(archive, entries[f"{RECORDINGS}/{recording.file}"], target)
        if found != recording.sha256:
            raise _refused(path, f"the recording {recording.file} isn't the one that its manifest describes")
        _check_flac(target, recording, path)
        files.append(target)
    reports, findings = recordings.check_files(
        context.part(0.3, 1), files, [recording.source for recording in told.recordings], folder
    )
    for report, recording in zip(reports, told.recordings, strict=True):
        if abs(report.duration - recording.duration) > 0.05:
            raise _refused(path, f"the recording {recording.file} isn't as long as its manifest says")
    if max(report.measures.rate for report in reports) != told.sample_rate:
        raise _refused(path, "the sample rate in its manifest isn't that of its recordings")
    return library.settle(root, folder, told, replace=replace), findings


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Around code that only reads the archive: whatever `zipfile` stumbles over is damage."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise _refused(path, f"it is damaged ({error})") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position in the archive that no file has
            raise _refused(path, "it is damaged: it points outside itself") from error
        raise


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # wherever it is made
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _refuse_other_kinds(file: BinaryIO, path: Path) -> None:
    head = file.read(4)
    if head.startswith(b"PK") and path.suffix.lower() not in _CHECKPOINTS:
        return
    what = "a model checkpoint" if path.suffix.lower() in _CHECKPOINTS else "not a zip archive"
    raise _unknown_kind(path, what)


def _unknown_kind(path: Path, what: str) -> UnderstudyError:
    return UnderstudyError(
        "voice-kind-unknown",
        f"{path} is {what}, and no voice can be made of that here.",
        "Import takes the zip that `understudy voices export` makes; recordings become a voice with "
        "`understudy voices add`.",
    )


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Hold the size of the archive's directory against the limits before `zipfile` reads all of it into memory.

    The end record must stand at the very end (no comment), so that there is one way to read the archive.
    """
    size = file.seek(0, 2)
    if size > _LARGEST:
        raise _refused(path, f"it is larger than {_LARGEST >> 30} GB")
    try:
        file.seek(size - _END.size)
        mark, *_, entries, length, _, comment = _END.unpack(file.read(_END.size))
        if 0xFFFF in (entries,) or 0xFFFFFFFF in (length,):
            file.seek(size - _END.size - _LOCATOR64.size)
            _, _, at, _ = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
            file.seek(min(at, size))
            *_, entries, length, _ = _END64.unpack(file.read(_END64.size))
    except (struct.error, OSError, ValueError) as error:
        raise _refused(path, "it is cut off or damaged") from error
    if mark != b"PK\5\6" or comment:
        raise _refused(path, "it is cut off, or something follows its end")
    if entries > _MOST_ENTRIES or length > _MOST_ENTRIES * 1024:
        raise _refused(path, f"it has more than {_MOST_ENTRIES} entries")


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MOST_ENTRIES:
        raise _refused(path, f"it has more than {_MOST_ENTRIES} entries")
    if any(Path(info.filename).suffix.lower() in _CHECKPOINTS or info.filename.endswith("data.pkl") for info in infos):
        raise _unknown_kind(path, "a model checkpoint or an archive of one")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        shown = repr(info.orig_filename[:80])
        mode = info.external_attr >> 16
        if info.filename == f"{RECORDINGS}/" and info.file_size == 0:
            continue  # what other packers write for the folder
        if info.filename != info.orig_filename or not (info.filename == MANIFEST or _EXPECTED.fullmatch(info.filename)):
            raise _refused(path, f"it holds {shown}, which isn't part of a voice")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(path, f"{shown} in it is a link or a device")
        if info.filename in entries:
            raise _refused(path, f"it holds {shown} twice")
        if info.flag_bits & 0x1:
            raise _refused(path, "it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(path, f"{shown} in it is packed in an unusual way")
        if info.file_size > _MOST_RATIO * max(info.compress_size, 1000):
            raise _refused(path, f"{shown} in it would grow from {info.compress_size} to {info.file_size} bytes")
        entries[info.filename] = info
    if sum(info.file_size for info in entries.values()) > _LARGEST:
        raise _refused(path, f"it would unpack to more than {_LARGEST >> 30} GB")
    if MANIFEST not in entries:
        raise _refused(path, f"it has no {MANIFEST}")
    if entries[MANIFEST].file_size > manifest.LARGEST:
        raise _refused(path, f"its {MANIFEST} is too large")
    return entries


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> str:
    """Unpack one entry; never more bytes than were announced. Returns the SHA-256 in hex."""
    digest = hashlib.sha256()
    with archive.open(info) as source, target.open("xb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _check_flac(file: Path, recording: Recording, path: Path) -> None:
    found = probe(file)
    if found.container != "flac" or found.channels != 1 or found.rate > intake.HIGHEST_RATE:
        raise _refused(path, f"the recording {recording.file} isn't mono FLAC of at most {intake.HIGHEST_RATE} Hz")


def _refused(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError(
        "archive-refused",
        f"{path} isn't the archive of a voice: {why}.",
        "Export the voice again with `understudy voices export` and import that file unchanged.",
    )
