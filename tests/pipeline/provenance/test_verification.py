"""Files are signed and marked, and what they say is read again."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image

from tests.support import signals
from tests.support.signing import CLAIM, DAY, certificate, signed_by, time_stamp_authority
from understudy.audio.encode import encode, parse_format
from understudy.audio.files import decode
from understudy.audio.samples import Audio, concatenate
from understudy.audio.tags import Tags, cover_tags
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.payload import Payload
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import (
    AUTHORITY,
    AUTHORITY_CERTIFICATES,
    credentials,
    revoke,
    rotate,
    signing_keys,
)
from understudy.pipeline.provenance.manifest import MAKING, SIGNABLE, ingredient, manifest_store, sign, unsigned_hash
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


def signed(file: Path, folder: Path, original: Path | None = None, **making: Any) -> Path:
    (folder / "made").mkdir(exist_ok=True)
    context = Context(folder / "made")
    origins = [] if original is None else [ingredient(context, original, original.name, "ab" * 32)]
    return sign(context, file, credentials(), "Song (nova)", {"watermark": PAYLOAD.id, **making}, origins)


def concluded(file: Path, folder: Path, sidecar: Path | None = None) -> str:
    return verify(Context(folder), file, sidecar).conclusion


def test_a_cover_proves_what_it_is(marked: Audio, tmp_path: Path) -> None:
    found = verify(Context(tmp_path), signed(written(marked, "flac", tmp_path), tmp_path))
    assert found.marked
    assert found.watermark.payload == PAYLOAD
    assert (found.c2pa.present, found.c2pa.valid, found.c2pa.trusted, found.c2pa.generated) == (True,) * 4
    assert found.c2pa.problems == ()
    assert found.tags.made_by_understudy
    assert "12345" in found.conclusion
    assert "name the same work" in found.conclusion
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
    voices = [{"name": "nova", "content_hash": "cd" * 32}]
    cover = signed(written(marked.read(0, 88200), "mp3", tmp_path), tmp_path, song, voices=voices)
    found = verify(Context(tmp_path), cover)
    assert found.c2pa.valid
    assert found.c2pa.ingredients == ("voice nova", "song.flac")
    assert "1 earlier manifest" in found.conclusion


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
    for name, code in (("text.mp3", "not-audio"), ("missing.mp3", "file-not-found"), (".", "file-is-a-folder")):
        with pytest.raises(UnderstudyError) as caught:
            verify(Context(tmp_path), tmp_path / name)
        assert caught.value.code == code


# --- bad input: what can be concluded, and what can't -----------------------------------------------------------------


@pytest.fixture
def clip(marked: Audio, tmp_path: Path) -> Path:
    return written(marked.read(0, 44100), "mp3", tmp_path, Tags())


def test_a_certificate_out_of_its_time(clip: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for start, end in ((now - 9 * DAY, now - DAY), (now + DAY, now + 9 * DAY)):  # expired; a signer's clock is wrong
        shutil.copy(clip, tmp_path / "foreign.mp3")
        found = verify(Context(tmp_path), signed_by(tmp_path / "foreign.mp3", "Studio", start, end, "audio/mpeg"))
        assert (found.c2pa.present, found.c2pa.valid, found.c2pa.signer) == (True, False, "Studio")
        assert "nothing has changed since it was signed, but by whom can't be concluded" in found.conclusion
        assert "clock" in found.conclusion


@pytest.mark.parametrize("own", [False, True])
def test_a_foreign_or_self_signed_certificate(own: bool, clip: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    file = signed_by(clip, "Famous Label", now - DAY, now + DAY, "audio/mpeg", own=own)
    found = verify(Context(tmp_path), file)
    assert (found.c2pa.valid, found.c2pa.trusted, found.c2pa.tool) == (True, False, "Elsewhere 1")
    assert "signer: Famous Label. That signer is not known here" in found.conclusion
    assert "anyone can make one for any name" in found.conclusion


def test_a_stolen_key(clip: Path, tmp_path: Path) -> None:
    copy = signed(clip, tmp_path)
    rotate()
    assert verify(Context(tmp_path), copy).c2pa.trusted  # a key of before
    (old,) = (key for key in signing_keys() if key.state == "known")
    revoke(old.fingerprint)
    found = verify(Context(tmp_path), copy)
    assert (found.c2pa.valid, found.c2pa.trusted, found.c2pa.revoked) == (True, False, True)
    assert "revoked here" in found.conclusion


def test_a_trusted_certificate_makes_its_issuer_s_others_not_trusted(clip: Path, tmp_path: Path) -> None:
    def state(certificate: str) -> str:
        store = manifest_store(copy, None, [certificate])
        assert store is not None
        return str(store["validation_state"])

    copy, ours, now = signed(clip, tmp_path), credentials().certificates.decode(), datetime.now(UTC)
    issuer = Ed25519PrivateKey.generate()
    other = certificate("Other", "Issuer", issuer, issuer, now - DAY, now + DAY, ExtendedKeyUsageOID.EMAIL_PROTECTION)
    assert state(other.public_bytes(Encoding.PEM).decode()) == "Valid"
    signer, root = ours.split("-----END CERTIFICATE-----\n", 1)
    assert state(f"{signer}-----END CERTIFICATE-----\n") == "Trusted"
    assert state(root) == "Valid"


def test_a_broken_manifest(clip: Path, tmp_path: Path) -> None:
    copy = signed(clip, tmp_path)
    content = bytearray(copy.read_bytes())
    place = content.index(b"c2pa.claim")
    content[place - 20 : place] = b"\xff" * 20
    copy.write_bytes(content)
    found = verify(Context(tmp_path), copy)
    assert (found.c2pa.present, found.c2pa.valid) == (True, False)
    assert "nothing follows from them" in found.conclusion


def test_a_changed_statement_is_named(clip: Path, tmp_path: Path) -> None:
    copy = signed(clip, tmp_path, voices=[{"name": "nova", "content_hash": "cd" * 32}])
    copy.write_bytes(copy.read_bytes().replace(b"ai-generated", b"by-a-singer.", 1))
    found = verify(Context(tmp_path), copy)
    assert not found.c2pa.valid
    assert MAKING in found.c2pa.changed
    assert f"what they say in {MAKING} changed after signing" in found.conclusion


def test_a_sidecar(marked: Audio, tmp_path: Path) -> None:
    cover = written(marked, "opus", tmp_path)
    beside = signed(cover, tmp_path).rename(tmp_path / "cover.c2pa")
    found = verify(Context(tmp_path), cover, beside)
    assert (found.c2pa.valid, found.c2pa.trusted, found.c2pa.beside) == (True, True, "cover.c2pa")
    assert "name the same work" in found.conclusion
    assert unsigned_hash(beside) == hashlib.sha256(cover.read_bytes()).hexdigest()
    assert not verify(Context(tmp_path), cover).c2pa.present
    alone = concluded(beside, tmp_path)
    assert "without the file that they are of" in alone

    other = written(marked.read(0, 44100), "opus", tmp_path)  # in the same place
    assert "of another file, or this one was changed" in concluded(other, tmp_path, beside)


def test_a_sidecar_of_another_work(marked: Audio, tmp_path: Path) -> None:
    other = written(marked.read(0, 44100), "opus", tmp_path)
    beside = signed(other, tmp_path, watermark=0x99)
    cover = written(marked, "opus", tmp_path)
    assert "are of another work, with the id 00099" in concluded(cover, tmp_path, beside)


def test_credentials_of_another_work_than_the_watermark(marked: Audio, tmp_path: Path) -> None:
    copy = signed(written(marked, "mp3", tmp_path), tmp_path, watermark=0x99)
    assert "The credentials name another work, 00099" in concluded(copy, tmp_path)


def test_a_manifest_without_sound(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    now = datetime.now(UTC)
    found = verify(Context(tmp_path), signed_by(picture, "Studio", now - DAY, now + DAY, "image/png"))
    assert (found.c2pa.valid, found.watermark.found) == (True, False)
    assert "No watermark could be looked for" in found.conclusion


def test_silence(tmp_path: Path) -> None:
    file = written(Audio(np.zeros((1, 12 * 8000), np.float32), 8000), "flac", tmp_path, Tags())
    assert concluded(file, tmp_path) == "It is silent, and silence carries no watermark."


def test_ten_hours_are_searched_in_part(tmp_path: Path) -> None:
    """A sparse file: nothing is held in memory, and half an hour is decoded."""
    rate, frames = 8000, 8000 * 36000
    header = (
        b"RIFF"
        + struct.pack("<I", 36 + 2 * frames)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    )
    file = tmp_path / "long.wav"
    with file.open("wb") as long:
        long.write(header + b"data" + struct.pack("<I", 2 * frames))
        long.truncate(44 + 2 * frames)
    assert "Only the first 30 of 600 minutes were searched" in concluded(file, tmp_path)


def test_a_time_stamp(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tsa").mkdir()
    with time_stamp_authority(tmp_path / "tsa") as (url, root):
        monkeypatch.setenv(AUTHORITY, url)
        copy = signed(clip, tmp_path)
        first = verify(Context(tmp_path), copy).c2pa
        assert (first.time[:10], first.time_trusted) == (f"{datetime.now(UTC):%Y-%m-%d}", False)
        monkeypatch.setenv(AUTHORITY_CERTIFICATES, str(root))
        found = verify(Context(tmp_path), copy)
        assert (found.c2pa.valid, found.c2pa.trusted, found.c2pa.time_trusted) == (True, True, True)
        assert f"Signed before {found.c2pa.time}, says a time-stamp authority." in found.conclusion
    context = Context(tmp_path / "made")
    again = sign(context, clip, credentials(), "Song", {})  # the authority is gone
    assert verify(Context(tmp_path), again).c2pa.time == ""
    assert [warning for warning in context.warnings if "no time stamp" in warning]


def test_nothing_that_a_song_names_is_fetched(clip: Path, tmp_path: Path) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    song = tmp_path / "remote.mp3"
    with c2pa.Builder(json.dumps(CLAIM)) as builder, song.open("w+b") as target:
        builder.set_no_embed()
        builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/manifest")
        made = credentials()
        info = c2pa.C2paSignerInfo(made.algorithm.encode(), made.certificates, made.key, None)
        with c2pa.Signer.from_info(info) as signer:
            builder.sign(signer, "audio/mpeg", BytesIO(clip.read_bytes()), target)
    signed(clip, tmp_path, song)
    assert not verify(Context(tmp_path), song).c2pa.valid
    server.shutdown()
    server.server_close()
    assert asked == []
