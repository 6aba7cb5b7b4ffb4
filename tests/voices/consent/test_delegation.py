"""Consent files: what their owner signed counts, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.library_voices import recorded_voice
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.consent import delegation
from understudy.voices.consent.delegation import OwnerKey

VOICE, OTHER = "a" * 64, "b" * 64
UNTIL = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def key(tmp_path: Path) -> tuple[OwnerKey, str]:
    made = OwnerKey(tmp_path / "owner.pem")
    fingerprint = made.make()
    assert made.path.stat().st_mode & 0o777 == 0o600
    return made, fingerprint


def test_a_signed_file_says_what_was_signed(key: tuple[OwnerKey, str]) -> None:
    given = delegation.read(key[0].sign(VOICE, ("cover", "train"), UNTIL), VOICE, key[1].upper())
    assert (given.voice, given.uses, given.expires, given.fingerprint) == (VOICE, ("cover", "train"), UNTIL, key[1])


def test_a_changed_foreign_or_expired_file_is_refused(key: tuple[OwnerKey, str], tmp_path: Path) -> None:
    good = key[0].sign(VOICE, ("cover",), UNTIL)
    foreign = OwnerKey(tmp_path / "other.pem")
    foreign.make()
    more = json.dumps({**json.loads(good), "uses": ["cover", "export"]}).encode()
    for data, voice, words in (
        (more, VOICE, "changed after signing"),
        (json.dumps({**json.loads(good), "signature": "AAAA"}).encode(), VOICE, "changed after signing"),
        (foreign.sign(VOICE, ("cover",), UNTIL), VOICE, "another key"),
        (good, OTHER, "another voice"),
        (b"{}", VOICE, "it isn't one"),
        (b"\xff" * 20000, VOICE, "it isn't one"),
        (json.dumps({**json.loads(good), "more": 1}).encode(), VOICE, "it isn't one"),
    ):
        with pytest.raises(UnderstudyError, match=words) as refused:
            delegation.read(data, voice, key[1])
        assert refused.value.code == "consent-file-invalid"
    with pytest.raises(UnderstudyError) as expired:
        delegation.read(good, VOICE, key[1], UNTIL + timedelta(seconds=1))
    assert expired.value.code == "consent-expired"
    with pytest.raises(UnderstudyError, match="dates"):
        delegation.read(good, VOICE, key[1], UNTIL - timedelta(days=60))  # a clock before the signature
    with pytest.raises(UnderstudyError) as unknown:
        key[0].sign(VOICE, ("sell",), UNTIL)  # type: ignore[arg-type]
    assert unknown.value.code == "consent-file-invalid"


def test_a_delegated_voice_is_used_as_its_owner_allows(key: tuple[OwnerKey, str], tmp_path: Path) -> None:
    root = tmp_path / "library"
    identity = recorded_voice(root).manifest.identity
    given = delegation.read(key[0].sign(identity, ("cover",), UNTIL), identity, key[1])
    voice = library.decide(root, "nova", identity, "delegated", given.details)
    assert voice == library.load(root, "nova")
    library.permit(voice, "cover")
    with pytest.raises(UnderstudyError, match="allows cover, not convert"):
        library.permit(voice, "convert")
    with pytest.raises(UnderstudyError) as refused:
        library.load_recorded(root, "nova")
    assert refused.value.code == "consent-use-refused"
