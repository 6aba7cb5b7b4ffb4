"""The key that files are signed with."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import (
    AUTHORITY,
    CERTIFICATES,
    KEY,
    credentials,
    revoke,
    rotate,
    signing_keys,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "signing"))
    monkeypatch.delenv(CERTIFICATES, raising=False)
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.delenv(AUTHORITY, raising=False)
    return tmp_path / "signing"


def test_a_key_is_made_once_and_for_this_user_alone(folder: Path) -> None:
    assert signing_keys() == []
    first = credentials()
    assert credentials() == first
    (key,) = signing_keys()
    assert key.state == "current"
    assert first.certificates.startswith(key.certificate.encode())
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    leaf, root = load_pem_x509_certificates(first.certificates)
    assert leaf.issuer == root.subject
    leaf.verify_directly_issued_by(root)
    assert leaf.not_valid_before_utc < datetime.now(UTC) < leaf.not_valid_after_utc


def test_own_files_are_taken(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = credentials()
    for name, content in (("chain.pem", made.certificates), ("secret.pem", made.key)):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "unused"))
    monkeypatch.setenv(CERTIFICATES, str(tmp_path / "chain.pem"))
    with pytest.raises(UnderstudyError, match="missing"):
        credentials()
    monkeypatch.setenv(KEY, str(tmp_path / "secret.pem"))
    assert credentials() == made
    assert not (tmp_path / "unused" / "key.pem").exists()
    assert [key.state for key in signing_keys()] == ["current"]
    with pytest.raises(UnderstudyError, match="The key is the one") as caught:
        rotate()
    assert caught.value.code == "signing-key-configured"


def test_what_is_no_key_is_refused(folder: Path) -> None:
    credentials()
    (folder / "key.pem").write_text("nothing")
    with pytest.raises(UnderstudyError, match="can't be read") as caught:
        credentials()
    assert caught.value.code == "signing-key-invalid"


def test_a_key_of_another_certificate_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials()
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "other"))
    other = credentials()
    (folder / "key.pem").write_bytes(other.key)
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(folder))
    with pytest.raises(UnderstudyError, match="doesn't belong"):
        credentials()


def test_keys_of_before_stay_known_and_stolen_ones_do_not() -> None:
    first = credentials()
    second = rotate()
    assert credentials() != first
    assert [key.state for key in signing_keys()] == ["current", "known"]
    assert signing_keys()[0].fingerprint == second.fingerprint
    revoke(second.fingerprint[:12])  # the current one: a new one takes its place
    assert sorted(key.state for key in signing_keys()) == ["current", "known", "revoked"]
    assert credentials().identity not in (first.identity, second.fingerprint)
    revoke(first.identity)
    assert sorted(key.state for key in signing_keys()) == ["current", "revoked", "revoked"]
    with pytest.raises(UnderstudyError) as caught:
        revoke("0" * 12)
    assert caught.value.code == "signing-key-unknown"


def test_an_operator_s_key_that_was_revoked_signs_no_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = credentials()
    (tmp_path / "chain.pem").write_bytes(made.certificates)
    (tmp_path / "secret.pem").write_bytes(made.key)
    monkeypatch.setenv(CERTIFICATES, str(tmp_path / "chain.pem"))
    monkeypatch.setenv(KEY, str(tmp_path / "secret.pem"))
    revoke(made.identity)
    with pytest.raises(UnderstudyError) as caught:
        credentials()
    assert caught.value.code == "signing-key-revoked"
