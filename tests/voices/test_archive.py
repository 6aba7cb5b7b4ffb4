"""Voices as archives: the same bytes every time, and a stranger's archive is checked before anything is unpacked."""

from __future__ import annotations

import contextlib
import io
import json
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.library_voices import TRAINED, small_model, without_consent
from tests.support.recording_takes import take, write
from tests.support.rvc_files import write_random_index
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.archive import export, import_voice
from understudy.voices.voice import MANIFEST, Voice


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def voice(context: Context) -> Voice:
    recording = write(context.folder / "take.wav", take(6, 16000))
    return library.add(context.folder / "library", "nova", [recording], "granted", context)[0]


@pytest.fixture(scope="module")
def exported(voice: Voice, context: Context) -> bytes:
    return export(voice, context.folder / "nova.zip", context).read_bytes()


def rezip(
    data: bytes,
    change: Callable[[str, bytes], list[tuple[Any, bytes]]],
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """The archive with each entry replaced by what `change` makes of it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w", method) as new:
        for info in old.infolist():
            for name, content in change(info.filename, old.read(info)):
                new.writestr(name, content)
    return packed.getvalue()


def refusal(data: bytes, tmp_path: Path, context: Context, name: str = "a.zip") -> UnderstudyError:
    path = tmp_path / name
    path.write_bytes(data)
    root = tmp_path / "other"
    with pytest.raises(UnderstudyError) as refused:
        import_voice(root, path, context)
    assert library.list_voices(root) == []
    assert not root.exists() or {entry.name for entry in root.iterdir()} <= {".lock"}
    return refused.value


def test_there_and_back(voice: Voice, exported: bytes, tmp_path: Path, context: Context) -> None:
    path = tmp_path / "nova.zip"
    path.write_bytes(exported)
    imported, findings = import_voice(tmp_path / "other", path, context)
    record = imported.manifest.consent_record
    assert record is not None
    assert imported.manifest == voice.manifest.model_copy(update={"consent_record": record})
    assert [file.read_bytes() for file in imported.recording_files] == [
        file.read_bytes() for file in voice.recording_files
    ]
    assert library.load(tmp_path / "other", "nova") == imported
    assert [finding.code for finding in findings if finding.recording] == []
    with pytest.raises(UnderstudyError) as taken:
        import_voice(tmp_path / "other", path, context)
    assert taken.value.code == "voice-exists"
    renamed, _ = import_voice(tmp_path / "other", path, context, name="vega")
    assert renamed.name == library.load(tmp_path / "other", "vega").name == "vega"
    assert renamed.manifest.content_hash == voice.manifest.content_hash
    own, _ = import_voice(tmp_path / "other", path, context, consent="self", replace=True)
    assert (own.manifest.consent, renamed.manifest.consent) == ("self", "granted")


@pytest.mark.slow
def test_a_trained_voice_there_and_back(voice: Voice, tmp_path: Path, context: Context) -> None:
    root = tmp_path / "own"
    path = export(voice, tmp_path / "before.zip", context)
    import_voice(root, path, context)
    further = write(tmp_path / "further.wav", take(4, 16000, seed=3))
    library.add_training_recordings(root, "nova", [further], "granted", context)
    index = write_random_index(tmp_path / "own.index", "v2", 60)
    hashed = voice.manifest.recordings_hash
    trained = library.publish_model(root, "nova", hashed, small_model(), index, TRAINED, default=True)
    assert len(trained.stored_files) == 4
    packed = export(trained, tmp_path / "trained.zip", context)
    imported, findings = import_voice(tmp_path / "other", packed, context)
    assert without_consent(imported) == without_consent(trained)
    library.verify(imported, imported.stored_files)
    assert imported.engines == ("instant", "zero-shot", "rvc")
    assert imported.sung_by("instant").manifest.content_hash == voice.manifest.content_hash
    assert [finding.code for finding in findings if finding.severity == "problem"] == []
    again = export(imported, tmp_path / "again.zip", context)
    contents = [_hashes(path) for path in (packed, again)]
    assert contents[0].pop(MANIFEST) != contents[1].pop(MANIFEST)  # each library has its own entry of consent
    assert contents[0] == contents[1]

    def without(part: str) -> bytes:
        return rezip(packed.read_bytes(), lambda name, data: [] if name.startswith(part) else [(name, data)])

    for part in ("training/", "model/index"):
        (tmp_path / part.replace("/", " ")).mkdir()
        refused = refusal(without(part), tmp_path / part.replace("/", " "), context)
        assert "its files are not those that its manifest lists" in refused.message


def test_the_same_voice_is_the_same_bytes(voice: Voice, exported: bytes, tmp_path: Path, context: Context) -> None:
    assert export(voice, tmp_path / "again.zip", context).read_bytes() == exported
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_export_overwrites_only_when_told(voice: Voice, exported: bytes, tmp_path: Path, context: Context) -> None:
    path = tmp_path / "mine.zip"
    path.write_text("precious")
    with pytest.raises(UnderstudyError) as refused:
        export(voice, path, context)
    assert refused.value.code == "file-exists"
    assert path.read_text() == "precious"
    assert export(voice, path, context, replace=True).read_bytes() == exported
    with pytest.raises(UnderstudyError) as nowhere:
        export(voice, tmp_path / "no" / "where.zip", context)
    assert nowhere.value.code == "output-not-writable"


def test_an_archive_packed_by_another_tool_is_taken(exported: bytes, tmp_path: Path, context: Context) -> None:
    folder_first = rezip(
        exported,
        lambda name, data: ([("recordings/", b"")] if name == "voice.json" else []) + [(name, data)],
        zipfile.ZIP_DEFLATED,
    )
    (tmp_path / "a.zip").write_bytes(folder_first)
    assert import_voice(tmp_path / "other", tmp_path / "a.zip", context)[0].name == "nova"


@pytest.mark.parametrize(
    "name",
    ["../evil.flac", "/etc/evil", "recordings/../../evil.flac", "C:\\evil.flac", "recordings\\001-a.flac", "evil.zip",
     "recordings/nested.zip", "recordings/001-a.flac/", "recordings/001-a.wav", "run.sh", "RECORDINGS/001-a.flac",
     "recordings/001-a.flac\n", "recordings/001-é.flac"],
)  # fmt: skip
def test_unexpected_names_are_refused(name: str, exported: bytes, tmp_path: Path, context: Context) -> None:
    data = rezip(exported, lambda entry, data: [(entry, data)] + ([(name, b"x")] if entry == "voice.json" else []))
    assert refusal(data, tmp_path, context).code == "archive-refused"


def test_links_are_refused(exported: bytes, tmp_path: Path, context: Context) -> None:
    def link(name: str, data: bytes) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        return [(info if name.endswith(".flac") else name, b"/etc/passwd" if name.endswith(".flac") else data)]

    assert "link" in refusal(rezip(exported, link), tmp_path, context).message


def test_bombs_are_refused_before_they_go_off(exported: bytes, tmp_path: Path, context: Context) -> None:
    zeros = bytes(50_000_000)
    data = rezip(exported, lambda name, data: [(name, zeros if name.endswith(".flac") else data)], zipfile.ZIP_DEFLATED)
    assert len(data) < 200_000
    assert "would grow" in refusal(data, tmp_path, context).message
    many = rezip(
        exported,
        lambda name, data: (
            [(f"recordings/{n % 1000:03d}-{n}.flac", b"") for n in range(2100)] if name == "voice.json" else []
        ),
    )
    assert "entries" in refusal(many, tmp_path, context).message


def test_twice_the_same_name_is_refused(exported: bytes, tmp_path: Path, context: Context) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = rezip(exported, lambda name, data: [(name, data)] * 2)
    assert "twice" in refusal(data, tmp_path, context).message


def test_recordings_must_be_those_of_the_manifest(exported: bytes, tmp_path: Path, context: Context) -> None:
    def told(**changes: object) -> bytes:
        def change(name: str, data: bytes) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
            document = json.loads(data) if name == "voice.json" else {}
            for key, value in changes.items():
                (document if key in document else document.get("recordings", [{}])[0])[key] = value
            return [(name, json.dumps(document).encode() if name == "voice.json" else data)]

        return rezip(exported, change)

    changed = rezip(exported, lambda name, data: [(name, data if name == "voice.json" else data[:-1] + b"!")])
    assert "is not the one" in refusal(changed, tmp_path, context).message
    missing = rezip(exported, lambda name, data: [(name, data)] if name == "voice.json" else [])
    assert "lists" in refusal(missing, tmp_path, context).message
    headless = rezip(exported, lambda name, data: [] if name == "voice.json" else [(name, data)])
    assert "voice.json" in refusal(headless, tmp_path, context).message
    assert "lists" in refusal(told(recordings=[]), tmp_path, context).message
    assert "long" in refusal(told(duration=60.0), tmp_path, context).message
    assert "sample rate" in refusal(told(sample_rate=44100), tmp_path, context).message
    assert refusal(told(name="../up"), tmp_path, context).code == "voice-name-invalid"
    assert refusal(told(engine="rvc"), tmp_path, context).code == "manifest-bad-field"  # it has no model
    assert refusal(told(engine="tape"), tmp_path, context).code == "voice-kind-unknown"
    assert refusal(told(consent=None), tmp_path, context).code == "manifest-bad-field"


def test_what_is_no_archive_is_refused(exported: bytes, tmp_path: Path, context: Context) -> None:
    checkpoint = rezip(exported, lambda name, data: [("archive/data.pkl", data)] if name == "voice.json" else [])
    nested = rezip(exported, lambda name, data: [("model.pth" if name == "voice.json" else name, data)])
    for data in (checkpoint, nested, b"\x80\x02", b"RIFF", b"", exported[1:], exported + b"x"):
        assert refusal(data, tmp_path, context).code == "archive-refused"


def test_files_that_are_not_there(tmp_path: Path, context: Context) -> None:
    for path in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(UnderstudyError) as refused:
            import_voice(tmp_path / "other", path, context)
        assert refused.value.code == "file-not-found"


def test_a_directory_of_millions_is_not_read(tmp_path: Path, context: Context) -> None:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFE, 0xFFFE, 400_000_000, 0, 0)
    assert "entries" in refusal(b"PK\3\4" + bytes(1000) + end, tmp_path, context).message
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 50, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 4, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert "entries" in refusal(b"PK\3\4" + end64 + locator + end, tmp_path, context).message


@pytest.mark.slow
def test_any_damage_ends_in_a_refusal_or_in_the_same_voice(exported: bytes, tmp_path: Path, context: Context) -> None:
    """Bytes flipped in the headers, where flips matter; and archives cut short anywhere."""
    directory = exported.index(b"PK\1\2")
    fuzz = random.Random(0)
    path = tmp_path / "a.zip"
    for turn in range(60):
        data = bytearray(exported)
        if turn % 6 == 0:
            del data[fuzz.randrange(len(data)) :]
        else:
            for _ in range(fuzz.randint(1, 3)):
                at = fuzz.choice([fuzz.randrange(directory, len(data)), fuzz.randrange(40), fuzz.randrange(2000)])
                data[at] ^= 1 << fuzz.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(UnderstudyError):
            imported, _ = import_voice(tmp_path / "other", path, context, replace=True)
            assert library.load(tmp_path / "other", imported.name).manifest == imported.manifest
    for listed in library.list_voices(tmp_path / "other"):
        assert isinstance(listed, Voice)


def _hashes(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as packed:
        return {entry.filename: entry.CRC for entry in packed.infolist()}
