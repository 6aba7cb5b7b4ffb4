"""C2PA manifests: `sign` writes one, `manifest_store` reads those of any file.

C2PA (Coalition for Content Provenance and Authenticity, specification 2.x) binds the manifest to the bytes of the file:
whatever is changed later, tags too, can be seen. Ogg and Opus files can't hold one; theirs stands beside them, in a
file of the same name that ends in ``.c2pa``.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from understudy import __version__
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.credentials import Credentials

SIGNABLE = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".mp4": "video/mp4"}
"""The media type of files that can hold a manifest, by their extension."""

SIDECAR = {".opus": "audio/ogg", ".ogg": "audio/ogg"}
"""The same of those whose manifest stands beside them."""

SIDECAR_SUFFIX = ".c2pa"

MAKING = "org.understudy.making"
"""The label of our own assertion: how the file was made, see `sign`."""

_LABEL = "input"  # of an ingredient in its archive
_STORE = "application/c2pa"  # the media type of a manifest alone
_OTHER = "application/octet-stream"

_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source type of what is composed of recordings and of a model's output."""

_DISCLOSURE = {"vocals": "ai-generated", "instrumentation": "not-ai-generated", "composition": "not-ai-generated"}
"""By the parts of a recording that DDEX's AI disclosure (ERN 4.3.2) tells apart."""


def ingredient(context: Context, original: Path, title: str, content_hash: str) -> Path:
    """The file `original` as an ingredient for `sign`; if it has a manifest, that is in it. An archive of C2PA's.

    The only place where a work's input is read for its manifest, so that a server can do it in a bounded process. A
    manifest that can't be read is left out, with a warning. Raises `UnderstudyError` ``signing-failed``.
    """
    import c2pa

    archive = context.folder / "ingredient.c2pa"
    described = {
        "title": title,
        "relationship": "componentOf",
        "label": _LABEL,
        "instance_id": f"sha256:{content_hash}",
    }

    def written(media_type: str, content: BinaryIO) -> None:
        with _c2pa() as settings, c2pa.Builder("{}", settings) as builder, archive.open("w+b") as target:
            builder.add_ingredient(_json(described), media_type, content)
            builder.write_ingredient_archive(_LABEL, target)

    with _failing("The song can't be named in the credentials"):
        try:
            with original.open("rb") as content:
                written((SIGNABLE | SIDECAR).get(original.suffix.lower(), _OTHER), content)
        except c2pa.C2paError as error:
            written(_OTHER, BytesIO())
            context.warn(f"{title} has credentials of its own that can't be read and are left out: {str(error)[:160]}.")
    return archive


def sign(
    context: Context,
    file: Path,
    credentials: Credentials,
    title: str,
    making: Mapping[str, Any],
    ingredients: Sequence[Path] = (),
) -> Path:
    """A signed copy of `file`; of one that can hold no manifest (`SIDECAR`), the manifest alone.

    `title`: of the work. `making`: plain data about how it was made; its ``voices`` become ingredients. `ingredients`:
    what it was made from, see `ingredient`. C2PA salts its hashes, so two copies differ in their manifests, and not in
    their sound. A time-stamp authority that can't be reached is left out, with a warning. Raises `UnderstudyError`
    ``signing-failed``.
    """
    import c2pa

    with file.open("rb") as source:
        unsigned = hashlib.file_digest(source, "sha256").hexdigest()
    claim = _json(_claim(title, {**making, "unsigned": unsigned, "platform": this_platform()}))
    alone = file.suffix in SIDECAR
    signed = context.folder / (f"manifest{SIDECAR_SUFFIX}" if alone else f"signed{file.suffix}")

    def written(authority: str) -> None:
        info = c2pa.C2paSignerInfo(
            credentials.algorithm.encode(), credentials.certificates, credentials.key, authority.encode() or None
        )
        with _c2pa() as settings, c2pa.Signer.from_info(info) as signer, c2pa.Builder(claim, settings) as builder:
            for archive in ingredients:
                with archive.open("rb") as content:
                    builder.add_ingredient_from_archive(content)
            with file.open("rb") as source:
                if alone:
                    builder.set_no_embed()
                    signed.write_bytes(builder.sign(signer, SIDECAR[file.suffix], source, BytesIO()))
                else:
                    with signed.open("w+b") as target:
                        builder.sign(signer, SIGNABLE[file.suffix], source, target)

    with _failing("The file can't be signed"):
        try:
            written(credentials.authority)
        except c2pa.C2paError as error:
            if not credentials.authority:
                raise
            written("")
            context.warn(f"The file has no time stamp: {credentials.authority} gave none ({str(error)[:160]}).")
    return signed


def unsigned_hash(file: Path) -> str | None:
    """SHA-256 of what was signed to make `file`, or of what the manifest `file` is of; None where it isn't signed by
    Understudy, or was changed since."""
    alone = file.suffix.lower() == SIDECAR_SUFFIX
    if not alone and file.suffix.lower() not in SIGNABLE:
        return None
    data = manifest_store(file)
    if data is None or (data["validation_state"] == "Invalid" and not alone):
        return None
    unsigned = making_of(data).get("unsigned")
    return None if unsigned is None else str(unsigned)


def making_of(store: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the last manifest of `store` says of how the file was made; empty where Understudy didn't sign it."""
    for assertion in store["manifests"][store["active_manifest"]].get("assertions", ()):
        if assertion.get("label") == MAKING and isinstance(assertion.get("data"), dict):
            return dict(assertion["data"])
    return {}


def manifest_store(
    file: Path, sidecar: Path | None = None, trusted: Sequence[str] = (), stampers: str = ""
) -> dict[str, Any] | None:
    """All manifests of `file`, or of it in `sidecar`, and C2PA's judgement of them, as its reader gives them; None
    where there are none or its kind can hold none.

    `trusted`: certificates of signers, PEM; those that they may have issued aren't trusted. `stampers`: PEM of the
    authorities whose time stamps count. Nothing is fetched. Raises `C2paError` for what can't be read.
    """
    import c2pa

    anchors = [{"trust_kind": "manifest", "trust_anchors": "", "allowed_list": "\n".join(trusted)}]
    if stampers:
        anchors.append({"trust_kind": "tsa", "trust_anchors": stampers})
    known = {**SIGNABLE, **SIDECAR, SIDECAR_SUFFIX: _STORE}
    with _c2pa(anchors) as settings:
        try:
            with file.open("rb") as content:
                manifest = None if sidecar is None else sidecar.read_bytes()
                reader = c2pa.Reader.try_create(known.get(file.suffix.lower()), content, manifest, settings)
                if reader is None:
                    return None
                with reader:
                    return dict(json.loads(reader.json()))
        except c2pa.C2paError.NotSupported:
            return None


@contextmanager
def _c2pa(anchors: Sequence[Mapping[str, str]] = ()) -> Iterator[Any]:
    """C2PA with our settings: nothing that a file names is fetched from the network."""
    import c2pa

    verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
    chosen = {"verify": verify, "trust": {"anchors": list(anchors)} if anchors else {}}
    with c2pa.Settings.from_dict(chosen) as settings, c2pa.Context(settings=settings) as made:
        yield made


@contextmanager
def _failing(what: str) -> Iterator[None]:
    import c2pa

    try:
        yield
    except (c2pa.C2paError, OSError) as error:
        raise UnderstudyError(
            "signing-failed",
            f"{what}: {error}.",
            "Set provenance.sign to false to leave the file unsigned; tags and watermark still say what it is.",
        ) from error


def this_platform() -> dict[str, str]:
    """What the bytes of a work depend on beside its inputs: the same work may differ in its last bits elsewhere."""
    packages = {name: version(name) for name in ("numpy", "scipy", "torch", "av")}
    return {"system": f"{platform.system()} {platform.machine()}", **packages}


def _json(data: Any) -> str:
    """As JSON; names of files that are no text become text."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace").decode()


def _claim(title: str, making: Mapping[str, Any]) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": _SOURCE, "softwareAgent": {"name": "Understudy"}}
    voices = [
        {
            "title": f"voice {voice['name']}",
            "format": _OTHER,
            "relationship": "inputTo",
            "instance_id": f"sha256:{voice['content_hash']}",
        }
        for voice in making.get("voices", ())
    ]
    return {
        "claim_generator_info": [{"name": "Understudy", "version": __version__}],
        "title": title,
        "ingredients": voices,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": MAKING, "data": {**making, "ai_disclosure": _DISCLOSURE}},
        ],
    }
