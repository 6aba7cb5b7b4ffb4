"""Files are signed and marked, and what they say is read again."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.support import signals
from understudy.audio.encode import encode, parse_format
from understudy.audio.files import decode
from understudy.audio.samples import Audio, concatenate
from understudy.audio.tags import Tags, cover_tags
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.payload import Payload
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import credentials
from understudy.pipeline.provenance.manifest import SIGNABLE, sign, unsigned_hash
from understudy.pipeline.provenance.verification import verify

PAYLOAD = Payload("cover", 0, 0x12345)
TAGS = cover_tags(Tags(title="Song", artist="Singer"), "nova")


@pytest.fixture(autouse=True)
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "signing"))


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Audio:
    song = signals.recorded(signals.song(20.0).mix)
    return concatenate(list(watermarked(song, PAYLOAD, 0, Context(tmp_path_factory.mktemp("mark")))))


def written(sound: Audio, format: str, folder: Path, tags: Tags = TAGS) -> Path:
    form = parse_format(format)
    return encode(Context(folder), sound, folder / f"cover{form.extension}", form, tags)


def signed(file: Path, folder: Path, original: Path | None = None) -> Path:
    (folder / "made").mkdir(exist_ok=True)
    making = {"inputs": ["ab" * 32]}
    return sign(Context(folder / "made"), file, credentials(), "Song (nova)", making, original or file)


def test_a_cover_proves_what_it_is(marked: Audio, tmp_path: Path) -> None:
    found = verify(Context(tmp_path), signed(written(marked, "flac", tmp_path), tmp_path))
    assert found.marked
    assert found.watermark.payload == PAYLOAD
    assert (found.c2pa.present, found.c2pa.valid, found.c2pa.trusted, found.c2pa.generated) == (True,) * 4
    assert found.c2pa.problems == ()
    assert found.tags.made_by_understudy
    assert "12345" in found.conclusion
    data = json.loads(json.dumps(asdict(found)))
    assert data["watermark"]["payload"] == {"kind": "cover", "key": 0, "id": 0x12345}
    assert data["watermark"]["confidence"] > 0.999


@pytest.mark.parametrize("format", ["wav16", "flac", "mp3", "m4a"])
def test_signing_changes_no_sample_and_no_tag(format: str, marked: Audio, tmp_path: Path) -> None:
    file = written(marked.read(0, marked.rate), format, tmp_path)
    copy = signed(file, tmp_path)
    before, after = (
        decode(Context(tmp_path), path, tmp_path / f"{name}.npy").read()
        for name, path in (("before", file), ("after", copy))
    )
    assert np.array_equal(before.samples, after.samples)
    assert verify(Context(tmp_path), copy).tags.title == "Song (nova cover)"
    assert copy.suffix in SIGNABLE


def test_a_changed_byte_is_seen(marked: Audio, tmp_path: Path) -> None:
    copy = signed(written(marked, "wav16", tmp_path), tmp_path)
    content = bytearray(copy.read_bytes())
    content[20000] ^= 1
    changed = tmp_path / "changed.wav"
    changed.write_bytes(content)
    found = verify(Context(tmp_path), changed)
    assert (found.c2pa.present, found.c2pa.valid) == (True, False)
    assert "assertion.dataHash.mismatch" in found.c2pa.problems
    assert found.watermark.found  # one sample doesn't matter to it
    assert "changed after signing" in found.conclusion


def test_somebody_else_s_signature_is_valid_and_not_trusted(
    marked: Audio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = signed(written(marked.read(0, 44100), "flac", tmp_path), tmp_path)
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "another user"))
    found = verify(Context(tmp_path), copy)
    assert (found.c2pa.valid, found.c2pa.trusted) == (True, False)
    assert "not known here" in found.conclusion


def test_an_input_s_manifest_stays_as_ingredient(marked: Audio, tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    shutil.copy(signed(written(marked.read(0, 44100), "flac", tmp_path), tmp_path), song)
    found = verify(Context(tmp_path), signed(written(marked.read(0, 88200), "mp3", tmp_path), tmp_path, song))
    assert found.c2pa.valid
    assert found.c2pa.ingredients == ("song.flac",)


def test_the_same_file_signed_twice_is_known(marked: Audio, tmp_path: Path) -> None:
    file = written(marked.read(0, 44100), "flac", tmp_path)
    first = unsigned_hash(signed(file, tmp_path))
    assert first == unsigned_hash(signed(file, tmp_path))
    assert first is not None
    assert unsigned_hash(file) is None


def test_a_file_without_marks(tmp_path: Path) -> None:
    found = verify(Context(tmp_path), written(signals.song(12.0).mix, "mp3", tmp_path, Tags(title="Song")))
    assert not found.marked
    assert not found.watermark.found
    assert not found.c2pa.present
    assert found.conclusion == "No mark was found. That doesn't prove that no AI was used."


def test_only_tags(tmp_path: Path) -> None:
    found = verify(Context(tmp_path), written(signals.song(12.0).mix, "opus", tmp_path))
    assert not found.marked
    assert "tags say" in found.conclusion


def test_a_short_clip_says_so(marked: Audio, tmp_path: Path) -> None:
    found = verify(Context(tmp_path), written(marked.read(0, marked.rate), "mp3", tmp_path, Tags()))
    assert found.conclusion == "It is too short to find a watermark in."


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("nothing")
    with pytest.raises(UnderstudyError) as caught:
        verify(Context(tmp_path), tmp_path / "text.mp3")
    assert caught.value.code == "not-audio"
