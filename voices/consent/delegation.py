"""A consent file: the owner of a voice allows named uses of it until a day, signed with the owner's key (Ed25519).

The file is JSON. It names the voice by `Manifest.identity`, so that it holds for these recordings or this model and no
others. Whose key it is, the signature can't say: who uses the file has the owner's public key, or its fingerprint, from
the owner.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from understudy.disk import explained, reading
from understudy.errors import UnderstudyError
from understudy.voices.voice import Sha256, Use

LARGEST = 10_000  # bytes of a consent file


class Delegation(BaseModel):
    """What the owner signed. `voice`: `Manifest.identity`. `owner`: the public key, 32 bytes in Base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    understudy_consent: Literal[1] = 1
    voice: Sha256
    uses: tuple[Use, ...] = Field(min_length=1, max_length=5)
    signed: AwareDatetime
    expires: AwareDatetime
    owner: str = Field(pattern=r"^[A-Za-z0-9+/]{43}=$")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the owner's public key."""
        return hashlib.sha256(base64.b64decode(self.owner)).hexdigest()

    @property
    def details(self) -> dict[str, Any]:
        """As the consent log has it."""
        return {"uses": list(self.uses), "expires": self.expires.isoformat(), "owner": self.fingerprint}


class _Signed(Delegation):
    signature: str = Field(max_length=200)


@dataclass(frozen=True)
class OwnerKey:
    """The key pair of a voice's owner; `path` is a PEM file that only its owner can read."""

    path: Path

    def make(self) -> str:
        """Make a new pair; returns its fingerprint. Raises ``file-exists``, ``output-not-writable``."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
        except FileExistsError as error:
            raise UnderstudyError(
                "file-exists", f"{self.path} exists already.", "A key isn't replaced: choose another name."
            ) from error
        except OSError as error:
            raise explained(self.path, error) from error
        return hashlib.sha256(_raw(key)).hexdigest()

    def sign(self, voice: str, uses: Sequence[Use], expires: datetime) -> bytes:
        """The consent file for the voice with that identity. Raises ``file-not-found``, ``owner-key-invalid``, and
        ``consent-file-invalid`` for what no consent file may say."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with reading(self.path):
            pem = self.path.read_bytes()
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise _invalid_key(self.path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _invalid_key(self.path)
        said = {"voice": voice, "uses": uses, "signed": datetime.now(UTC), "expires": expires}
        try:
            content = Delegation.model_validate({**said, "owner": base64.b64encode(_raw(key)).decode()})
        except ValidationError as error:
            raise _refused(f"it can't say this: {error.errors()[0]['msg']}") from error
        signature = base64.b64encode(key.sign(_message(content))).decode()
        return (json.dumps({**content.model_dump(mode="json"), "signature": signature}, indent=2) + "\n").encode()


def read(data: bytes, voice: str, owner: str, now: datetime | None = None) -> Delegation:
    """The consent file in `data`, checked.

    `voice`: the identity of the voice that it is to be used for; `owner`: the fingerprint of the owner's key. Raises
    ``consent-file-invalid`` for what is no such file, was changed, is of another owner or for another voice, and
    ``consent-expired``.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    now = now or datetime.now(UTC)
    try:
        signed = _Signed.model_validate_json(data[: LARGEST + 1])
        content = Delegation.model_validate(signed.model_dump(exclude={"signature"}))
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(content.owner))
        public.verify(base64.b64decode(signed.signature, validate=True), _message(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise _refused(f"it isn't one ({place}: {first['msg'][:100]})") from None
    except (InvalidSignature, ValueError) as error:
        raise _refused("its signature doesn't fit: it was changed after signing") from error
    if content.fingerprint != owner.strip().lower():
        raise _refused(f"another key signed it: {content.fingerprint}")
    if content.voice != voice:
        raise _refused("it is for another voice, or for other recordings of this one")
    if content.signed > now or content.signed >= content.expires:
        raise _refused("its dates can't be right")
    if content.expires <= now:
        raise UnderstudyError(
            "consent-expired",
            f"The consent file ended on {content.expires:%Y-%m-%d %H:%M} UTC.",
            "Ask the owner for a new one, or set this machine's clock.",
        )
    return content


def _raw(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _message(content: Delegation) -> bytes:
    return json.dumps(content.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


def _refused(why: str) -> UnderstudyError:
    return UnderstudyError(
        "consent-file-invalid",
        f"The consent file can't be used: {why}.",
        "The owner signs one with `understudy voices consent sign`, and tells you the key's fingerprint.",
    )


def _invalid_key(path: Path) -> UnderstudyError:
    return UnderstudyError(
        "owner-key-invalid",
        f"{path} holds no Ed25519 key in PEM without password.",
        "Make one: understudy voices consent key FILE.",
    )
