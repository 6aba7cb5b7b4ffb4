"""`sign`: a copy of a file with a C2PA manifest that says how it was made, and by whom it is signed.

C2PA (Coalition for Content Provenance and Authenticity, specification 2.x) binds the manifest to the bytes of the file:
whatever is changed later, tags too, can be seen. Ogg and Opus files can't hold one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import Credentials

SIGNABLE = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".mp4": "video/mp4"}
"""The media type of files that can hold a manifest, by their extension."""

MAKING = "org.understudy.making"
"""The label of our own assertion: how the file was made, see `sign`."""

_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source type of what is composed of recordings and of a model's output."""

_DISCLOSURE = {"vocals": "ai-generated", "instrumentation": "not-ai-generated", "composition": "not-ai-generated"}
"""By the parts of a recording that DDEX's AI disclosure (ERN 4.3.2) tells apart."""


def sign(
    context: Context, file: Path, credentials: Credentials, title: str, making: Mapping[str, Any], original: Path
) -> Path:
    """A signed copy of `file`, whose extension is one of `SIGNABLE`.

    `title`: of the work. `making`: plain data about how it was made. `original`: the song, which becomes an ingredient;
    if it has a manifest, that stays in the new one. C2PA salts its hashes, so two copies differ in their manifests, and
    not in their sound. Raises `UnderstudyError` ``signing-failed``.
    """
    import c2pa

    signed = context.folder / f"signed{file.suffix}"
    with file.open("rb") as source:
        unsigned = hashlib.file_digest(source, "sha256").hexdigest()
    info = c2pa.C2paSignerInfo(credentials.algorithm.encode(), credentials.certificates, credentials.key, None)
    claim = _json(_claim(title, {**making, "unsigned": unsigned}))
    song = SIGNABLE.get(original.suffix.lower())
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(claim) as builder:
            if song is not None:
                with original.open("rb") as content:
                    ingredient = {"title": original.name, "relationship": "componentOf"}
                    builder.add_ingredient(_json(ingredient), song, content)
            with file.open("rb") as source, signed.open("w+b") as target:
                builder.sign(signer, SIGNABLE[file.suffix], source, target)
    except (c2pa.C2paError, OSError) as error:
        raise UnderstudyError(
            "signing-failed",
            f"The file can't be signed: {error}.",
            "Set provenance.sign to false to leave it unsigned; tags and watermark still say what it is.",
        ) from error
    return signed


def unsigned_hash(file: Path) -> str | None:
    """SHA-256 of what was signed to make `file`; None where it isn't signed by Understudy, or was changed since."""
    if SIGNABLE.get(file.suffix.lower()) is None:
        return None
    data = manifest_store(file)
    if data is None or data["validation_state"] == "Invalid":
        return None
    for assertion in data["manifests"][data["active_manifest"]].get("assertions", ()):
        if assertion.get("label") == MAKING:
            return str(assertion["data"].get("unsigned"))
    return None


def manifest_store(file: Path, anchors: bytes = b"") -> dict[str, Any] | None:
    """All manifests of `file` and C2PA's judgement of them, as its reader gives them; None where there are none or its
    kind can hold none. `anchors`: certificates that are trusted, PEM. Nothing is fetched. Raises `C2paError`."""
    import c2pa

    verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
    chosen = {"verify": verify, "trust": {"user_anchors": anchors.decode()} if anchors else {}}
    with c2pa.Settings.from_dict(chosen) as settings, c2pa.Context(settings=settings) as context:
        try:
            with file.open("rb") as content:
                reader = c2pa.Reader.try_create(SIGNABLE.get(file.suffix.lower()), content, None, context)
                if reader is None:
                    return None
                with reader:
                    return dict(json.loads(reader.json()))
        except c2pa.C2paError.NotSupported:
            return None


def _json(data: Any) -> str:
    """As JSON; names of files that are no text become text."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()


def _claim(title: str, making: Mapping[str, Any]) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": _SOURCE, "softwareAgent": {"name": "Understudy"}}
    return {
        "claim_generator_info": [{"name": "Understudy", "version": __version__}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": MAKING, "data": {**making, "ai_disclosure": _DISCLOSURE}},
        ],
    }
