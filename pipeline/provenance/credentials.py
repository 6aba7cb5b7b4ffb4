"""The key and the certificates that files are signed with.

Unless the user or the operator names their own, a key is made on first use. Its certificate is issued by an authority
that exists for this one certificate, since C2PA doesn't allow a certificate that signs itself. Others can see that a
file wasn't changed, and that two files are from the same signer; not who that is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from understudy.disk import explained
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

CERTIFICATES, KEY = "UNDERSTUDY_SIGNING_CERTIFICATES", "UNDERSTUDY_SIGNING_KEY"
"""Environment variables: PEM files of the operator's own chain, the signer's certificate first, and of its key."""

_YEARS = 10


@dataclass(frozen=True)
class Credentials:
    """`certificates`: PEM, the signer's first. `key`: PEM. `algorithm`: as C2PA names it."""

    certificates: bytes
    key: bytes
    algorithm: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signer's certificate."""
        from cryptography.hazmat.primitives.hashes import SHA256

        return _chain(self.certificates)[0].fingerprint(SHA256()).hex()


def signing_folder() -> Path:
    """``UNDERSTUDY_SIGNING``, or ``signing`` in the platform's data folder: the key that was made for the user."""
    return Path(os.environ.get("UNDERSTUDY_SIGNING") or user_data_path("understudy") / "signing")


def credentials() -> Credentials:
    """The operator's, or the user's own, which are made if there are none.

    Raises `UnderstudyError` ``signing-key-invalid`` for files that are no such key, have expired or don't belong
    together, ``output-not-writable``.
    """
    own = os.environ.get(CERTIFICATES), os.environ.get(KEY)
    if any(own):
        if not all(own):
            raise _invalid("One of the two is missing", f"{CERTIFICATES} and {KEY} belong together.")
        return _read(Path(str(own[0])), Path(str(own[1])))
    folder = signing_folder()
    certificates, key = folder / "certificates.pem", folder / "key.pem"
    if not certificates.exists():
        _make(certificates, key)
    return _read(certificates, key)


def own_certificates() -> bytes:
    """The certificates that this user or this server signs with, PEM; empty where nothing was signed yet."""
    path = Path(os.environ.get(CERTIFICATES) or signing_folder() / "certificates.pem")
    return path.read_bytes() if path.is_file() else b""


def _read(certificates: Path, key: Path) -> Credentials:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        chain, secret = certificates.read_bytes(), key.read_bytes()
        signer, private = _chain(chain)[0], load_pem_private_key(secret, None)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise _invalid(
            f"{certificates} and {key} can't be read ({error})", "Give PEM files without password."
        ) from error
    if signer.public_key() != private.public_key():
        raise _invalid(f"{key} doesn't belong to {certificates}", "Give the key of the first certificate.")
    if not signer.not_valid_before_utc <= datetime.now(UTC) <= signer.not_valid_after_utc:
        text = f"The certificate in {certificates} is valid from {signer.not_valid_before_utc:%Y-%m-%d} to "
        text += f"{signer.not_valid_after_utc:%Y-%m-%d}"
        raise _invalid(text, "Check this machine's clock, or move both files away: new ones are made.")
    return Credentials(chain, secret, _algorithm(private))


def _algorithm(key: PrivateKeyTypes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
        return {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}[key.curve.name]
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, RSAPrivateKey):
        return "ps256"
    raise _invalid("C2PA knows no signature with that kind of key", "Use P-256, P-384, P-521, Ed25519 or RSA.")


def _chain(certificates: bytes) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    return load_pem_x509_certificates(certificates)


def _invalid(what: str, hint: str) -> UnderstudyError:
    return UnderstudyError("signing-key-invalid", f"{what}, so that nothing can be signed.", hint)


def _make(certificates: Path, key: Path) -> None:
    """A new key with its certificates; readable by the user alone. Two processes that do so at once keep one pair."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from filelock import FileLock

    try:
        certificates.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(certificates.with_suffix(".lock")):
            if certificates.exists():
                return
            private = Ed25519PrivateKey.generate()
            authority = Ed25519PrivateKey.generate()  # signs once and is forgotten
            chain = _certificates(private, authority)
            _write_private(key, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            _write_private(certificates, b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    except OSError as error:
        raise explained(certificates, error) from error


def _write_private(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def _certificates(private: object, authority: object) -> list[Certificate]:
    """The signer's certificate and the authority's, with the extensions that the C2PA specification asks for
    (section "X.509 certificates")."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        fields = ((NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, "Understudy user"))
        return x509.Name([x509.NameAttribute(field, value) for field, value in fields])

    def usage(*, signs: bool) -> x509.KeyUsage:
        return x509.KeyUsage(signs, False, False, False, False, not signs, not signs, False, False)

    start = datetime.now(UTC) - timedelta(days=1)  # clocks differ
    issuer, subject = name("Understudy user's authority"), name("Understudy")
    public, issuing = private.public_key(), authority.public_key()  # type: ignore[attr-defined]
    bare = x509.CertificateBuilder().issuer_name(issuer).not_valid_before(start)
    bare = bare.not_valid_after(start + timedelta(days=365 * _YEARS))
    root = bare.subject_name(issuer).public_key(issuing).serial_number(x509.random_serial_number())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(usage(signs=False), critical=True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(issuing), critical=False)
    leaf = bare.subject_name(subject).public_key(public).serial_number(x509.random_serial_number())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(usage(signs=True), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    leaf = leaf.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return [made.sign(authority, None) for made in (leaf, root)]  # type: ignore[arg-type]
