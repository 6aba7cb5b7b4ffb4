"""The key that files are signed with."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import CERTIFICATES, KEY, credentials, own_certificates


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "signing"))
    monkeypatch.delenv(CERTIFICATES, raising=False)
    monkeypatch.delenv(KEY, raising=False)
    return tmp_path / "signing"


def test_a_key_is_made_once_and_for_this_user_alone(folder: Path) -> None:
    assert own_certificates() == b""
    first = credentials()
    assert credentials() == first
    assert own_certificates() == first.certificates
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
    assert not (tmp_path / "unused").exists()


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
