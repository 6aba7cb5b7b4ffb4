"""The certificate that a server signs itself."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from understudy.services import tls


def _greets(certificate: Path, key: Path, name: str) -> bool:
    """Whether a client that trusts the certificate accepts it for a server of that name."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    server.load_cert_chain(certificate, key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)]
    try:
        while ends:
            try:
                ends[0].do_handshake()
                ends.pop(0)
            except ssl.SSLWantReadError:
                ends.reverse()
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_it_holds_for_this_machine_and_stays_while_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "own_address", lambda: "192.168.7.8")
    certificate, key = tls.self_signed(tmp_path / "tls")
    for name in ("localhost", "127.0.0.1", "192.168.7.8"):
        assert _greets(certificate, key, name)
    assert not _greets(certificate, key, "192.168.7.9")
    assert key.stat().st_mode & 0o077 == 0
    before = certificate.read_bytes()
    assert x509.load_pem_x509_certificate(before).not_valid_after_utc < datetime.now(UTC) + timedelta(days=398)
    tls.self_signed(tmp_path / "tls")
    assert certificate.read_bytes() == before
    monkeypatch.setattr(tls, "own_address", lambda: "192.168.7.9")
    tls.self_signed(tmp_path / "tls")
    assert _greets(certificate, key, "192.168.7.9")
    before = certificate.read_bytes()
    monkeypatch.setattr(tls, "_LEFT", 400)  # soon over
    tls.self_signed(tmp_path / "tls")
    assert certificate.read_bytes() != before
