"""Certificates and time stamps as they shouldn't be, and a small time-stamp authority."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
_CREATED = {
    "action": "c2pa.created",
    "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
}
CLAIM = {
    "claim_generator_info": [{"name": "Elsewhere", "version": "1"}],
    "title": "A work",
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
}


def _name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)]
    )


def _usage(*wanted: str) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    every = [*names.split(), "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: name in wanted for name in every})


def certificate(
    subject: str, issuer: str, key: Any, by: Any, start: datetime, end: datetime, purpose: x509.ObjectIdentifier
) -> x509.Certificate:
    """A certificate of `key` for that purpose, issued with the key `by`."""
    built = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).serial_number(1 << 100)
    built = built.public_key(key.public_key()).not_valid_before(start).not_valid_after(end)
    built = built.add_extension(x509.BasicConstraints(False, None), True)
    built = built.add_extension(_usage("digital_signature"), True)
    built = built.add_extension(x509.ExtendedKeyUsage([purpose]), purpose == ExtendedKeyUsageOID.TIME_STAMPING)
    built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return built.sign(by, hashes.SHA256() if isinstance(by, ec.EllipticCurvePrivateKey) else None)


def signed_by(file: Path, signer: str, start: datetime, end: datetime, media_type: str, own: bool = False) -> Path:
    """`file` signed in place with a certificate for `signer` that is valid from `start` to `end`, issued by itself if
    `own`.

    C2PA signs with none that isn't valid now. So one of the same key and length that is valid is swapped for the
    wanted one, in what is signed and in the file.
    """
    key = Ed25519PrivateKey.generate()
    issuer, by = (signer, key) if own else ("Issuer", Ed25519PrivateKey.generate())
    now = datetime.now(UTC)
    purpose = ExtendedKeyUsageOID.EMAIL_PROTECTION
    usable = certificate(signer, issuer, key, by, now - DAY, now + DAY, purpose)
    wanted = certificate(signer, issuer, key, by, start, end, purpose).public_bytes(Encoding.DER)
    placeholder = usable.public_bytes(Encoding.DER)
    chain = usable.public_bytes(Encoding.PEM).decode()

    def sign(content: bytes) -> bytes:
        return key.sign(content.replace(placeholder, wanted))

    signed = BytesIO()
    with (
        c2pa.Settings.from_dict({"verify": {"verify_after_sign": False}}) as settings,
        c2pa.Context(settings=settings) as context,
        c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ED25519, chain) as made,
        c2pa.Builder(json.dumps(CLAIM), context) as builder,
    ):
        builder.sign(made, media_type, BytesIO(file.read_bytes()), signed)
    file.write_bytes(signed.getvalue().replace(placeholder, wanted))
    return file


@contextmanager
def time_stamp_authority(folder: Path) -> Iterator[tuple[str, Path]]:
    """The URL of an RFC 3161 authority that runs OpenSSL, and the PEM file of its issuer."""
    now = datetime.now(UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x509.CertificateBuilder().subject_name(_name("Root")).issuer_name(_name("Root")).serial_number(1 << 90)
    root = root.public_key(authority.public_key()).not_valid_before(now - DAY).not_valid_after(now + 99 * DAY)
    root = root.add_extension(x509.BasicConstraints(True, None), True)
    root = root.add_extension(_usage("key_cert_sign", "crl_sign"), True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), False)
    purpose = ExtendedKeyUsageOID.TIME_STAMPING
    leaf = certificate("Stamper", "Root", key, authority, now - DAY, now + 9 * DAY, purpose)
    (folder / "root.pem").write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "tsa.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "serial").write_text("01")
    options = {
        "serial": folder / "serial",
        "signer_cert": folder / "tsa.pem",
        "certs": folder / "root.pem",
        "signer_key": folder / "key.pem",
        "signer_digest": "sha256",
        "default_policy": "1.2.3.4",
        "digests": "sha256,sha384,sha512",
        "ess_cert_id_alg": "sha256",
    }
    lines = ["[tsa]", "default_tsa = one", "[one]", *(f"{name} = {value}" for name, value in options.items())]
    (folder / "tsa.cnf").write_text("\n".join(lines))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", folder / "root.pem"
    finally:
        server.shutdown()
        server.server_close()
