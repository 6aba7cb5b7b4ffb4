"""A certificate that a server signs itself. Browsers give the microphone to pages with HTTPS alone, and in a network at
home nobody signs for a server's address: its visitors are asked once whether they trust it."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 397  # browsers refuse certificates that are valid for longer
_LEFT = 30  # days before its end from which on it is made anew


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of the certificate and of its key in `folder`, both PEM. They are made where there are none yet, where
    they end soon, and where this machine has got another name or address."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    now, names = datetime.now(UTC), _names()
    if certificate.is_file() and key.is_file():
        known = x509.load_pem_x509_certificate(certificate.read_bytes())
        covered = set(known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        if set(names) <= covered and known.not_valid_after_utc > now + timedelta(days=_LEFT):
            return certificate, key
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Understudy")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    key.unlink(missing_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def own_address() -> str:
    """The address of this machine in its network; that of the loopback where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of a network for documentation: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _names() -> list[x509.GeneralName]:
    addresses: dict[IPv4Address | IPv6Address, None] = dict.fromkeys(
        ip_address(address) for address in ("127.0.0.1", "::1", own_address())
    )
    hosts = dict.fromkeys(name for name in ("localhost", socket.gethostname()) if name.isascii())
    return [*map(x509.DNSName, hosts), *map(x509.IPAddress, addresses)]
