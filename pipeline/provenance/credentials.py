"""The keys that files are signed with, and the certificates that are known here.

Unless the user or the operator names their own, a key is made on first use. Its certificate is issued by an authority
that exists for this one certificate, since C2PA doesn't allow a certificate that signs itself. Others can see that a
file wasn't changed, and that two files are from the same signer; not who that is.

The folder `signing_folder` holds ``certificates.pem`` and ``key.pem``, the key that was made; ``known``, the
certificate of each key that has signed here; and ``revoked``, those of keys that count no more.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_data_path

from understudy.disk import explained
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

CERTIFICATES, KEY = "UNDERSTUDY_SIGNING_CERTIFICATES", "UNDERSTUDY_SIGNING_KEY"
"""Environment variables: PEM files of the operator's own chain, the signer's certificate first, and of its key."""

AUTHORITY, AUTHORITY_CERTIFICATES = "UNDERSTUDY_TIMESTAMPS", "UNDERSTUDY_TIMESTAMPS_CERTIFICATES"
"""Environment variables: URL of a time-stamp authority (RFC 3161), and a PEM file of those whose stamps count."""

_YEARS = 10
_LEAST_DIGITS = 8  # of a fingerprint that a user types


@dataclass(frozen=True)
class Credentials:
    """`certificates`: PEM, the signer's first. `key`: PEM. `algorithm`: as C2PA names it. `authority`: URL of a
    time-stamp authority, empty for none."""

    certificates: bytes
    key: bytes
    algorithm: str
    authority: str = ""

    @property
    def identity(self) -> str:
        """Stands for the signer in keys of artifacts: the SHA-256 of its certificate, and the authority."""
        return f"{_fingerprint(_chain(self.certificates)[0])} {self.authority}".strip()


@dataclass(frozen=True)
class SigningKey:
    """A key that signs or has signed here. `fingerprint`: SHA-256 of its certificate in hex. `state`: ``current``,
    ``known`` from before, or ``revoked``. `signer`: the name in the certificate, `until`: the end of its validity.
    `serial`: its number; `certificate`: PEM."""

    fingerprint: str
    state: Literal["current", "known", "revoked"]
    signer: str
    until: datetime
    serial: int
    certificate: str


def signing_folder() -> Path:
    """``UNDERSTUDY_SIGNING``, or ``signing`` in the platform's data folder."""
    return Path(os.environ.get("UNDERSTUDY_SIGNING") or user_data_path("understudy") / "signing")


def credentials() -> Credentials:
    """The operator's, or the user's own, which are made if there are none.

    Raises `UnderstudyError` ``signing-key-invalid`` for files that are no such key, have expired or don't belong
    together, ``signing-key-revoked``, ``output-not-writable``.
    """
    certificates, key = _places()
    if not _configured() and not certificates.exists():
        _make(certificates, key)
    found = _read(certificates, key)
    leaf = _chain(found.certificates)[0]
    if _stored("revoked", leaf).exists():
        raise UnderstudyError(
            "signing-key-revoked",
            f"The key of {certificates} was revoked here.",
            f"Name another one in {CERTIFICATES} and {KEY}."
            if _configured()
            else "'understudy signing rotate' makes a new one.",
        )
    _remember(leaf)
    return found


def signing_keys() -> list[SigningKey]:
    """All keys that sign or have signed here, the current one first. Makes none. Files that hold no certificate are
    passed over."""
    places = {"current": [_places()[0]]}
    places |= {state: sorted((signing_folder() / state).glob("*.pem")) for state in ("known", "revoked")}
    found: dict[str, SigningKey] = {}
    for state, files in places.items():
        for file in files:
            with suppress(OSError, ValueError, IndexError):
                key = _described(_chain(file.read_bytes())[0], state)  # type: ignore[arg-type]
                if state == "revoked" or key.fingerprint not in found:
                    found[key.fingerprint] = key
    return list(found.values())


def time_stampers() -> str:
    """PEM of the authorities whose time stamps count, empty for none. Raises ``signing-key-invalid``."""
    path = os.environ.get(AUTHORITY_CERTIFICATES)
    if not path:
        return ""
    try:
        content = Path(path).read_bytes()
        _chain(content)
    except (OSError, ValueError) as error:
        raise _invalid(f"{path} can't be read ({error})", f"{AUTHORITY_CERTIFICATES} names a PEM file.") from error
    return content.decode("ascii", "ignore")


def rotate() -> SigningKey:
    """Make a new key; the one before stays known, and its secret part is removed.

    Raises ``signing-key-configured`` where the key is the operator's own, and what `credentials` raises.
    """
    from filelock import FileLock

    if _configured():
        raise UnderstudyError(
            "signing-key-configured",
            f"The key is the one that {CERTIFICATES} and {KEY} name.",
            "Point both at the new files. What was signed with the old ones here stays known.",
        )
    certificates, key = _places()
    try:
        if certificates.exists():
            with suppress(ValueError, IndexError):  # no certificate: nothing to remember
                _remember(_chain(certificates.read_bytes())[0])
            with FileLock(certificates.with_suffix(".lock")):
                certificates.unlink(missing_ok=True)
                key.unlink(missing_ok=True)
    except OSError as error:
        raise explained(certificates, error) from error
    return _described(_chain(credentials().certificates)[0], "current")


def revoke(fingerprint: str) -> SigningKey:
    """Trust the key no more, which `fingerprint` begins with. Where it is the current one that was made here, a new one
    takes its place.

    Raises ``signing-key-unknown`` unless it fits one key, ``output-not-writable``.
    """
    wanted = fingerprint.lower()
    keys = [key for key in signing_keys() if key.fingerprint.startswith(wanted)]
    if len(keys) != 1 or len(wanted) < _LEAST_DIGITS:
        raise UnderstudyError(
            "signing-key-unknown",
            f"No single key has a fingerprint that begins with {fingerprint!r}.",
            f"'understudy signing list' shows them; give at least {_LEAST_DIGITS} digits.",
        )
    (leaf,) = _chain(keys[0].certificate.encode())
    revoked = _stored("revoked", leaf)
    try:
        revoked.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(revoked, keys[0].certificate.encode())
        _stored("known", leaf).unlink(missing_ok=True)
    except OSError as error:
        raise explained(revoked, error) from error
    if keys[0].state == "current" and not _configured():
        rotate()
    return _described(leaf, "revoked")


def _places() -> tuple[Path, Path]:
    """Where the current certificates and their key are. Raises ``signing-key-invalid`` if only one is configured."""
    own = os.environ.get(CERTIFICATES), os.environ.get(KEY)
    if any(own):
        if not all(own):
            raise _invalid("One of the two is missing", f"{CERTIFICATES} and {KEY} belong together.")
        return Path(str(own[0])), Path(str(own[1]))
    return signing_folder() / "certificates.pem", signing_folder() / "key.pem"


def _configured() -> bool:
    return bool(os.environ.get(CERTIFICATES) or os.environ.get(KEY))


def _stored(state: str, certificate: Certificate) -> Path:
    return signing_folder() / state / f"{_fingerprint(certificate)}.pem"


def _remember(certificate: Certificate) -> None:
    """Keep the signer's certificate, so that what it has signed stays known when another key follows."""
    from cryptography.hazmat.primitives.serialization import Encoding

    place = _stored("known", certificate)
    if not place.exists() and not _stored("revoked", certificate).exists():
        with suppress(OSError):  # an operator's read-only system: there the file is put by hand
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_private(place, certificate.public_bytes(Encoding.PEM))


def _described(certificate: Certificate, state: Literal["current", "known", "revoked"]) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    names = names or certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    pem = certificate.public_bytes(Encoding.PEM).decode()
    signer = str(names[0].value) if names else ""
    until = certificate.not_valid_after_utc
    return SigningKey(_fingerprint(certificate), state, signer, until, certificate.serial_number, pem)


def _fingerprint(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


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
    return Credentials(chain, secret, _algorithm(private), os.environ.get(AUTHORITY, ""))


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
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
