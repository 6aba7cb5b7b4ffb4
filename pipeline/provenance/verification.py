"""`verify`: what a file says of itself in its tags, in a C2PA manifest and in a watermark, and what follows from that.

Any file that can be read as sound may be given, also one of another program. Nothing is fetched from the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.audio.files import LIMITS, decode, probe
from understudy.audio.libav import check_readable
from understudy.audio.stored import AudioFile
from understudy.audio.tags import Tags, made_by_understudy
from understudy.audio.watermark.detection import detect
from understudy.audio.watermark.layout import PUBLIC_KEY
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.provenance.conclusion import conclusion
from understudy.pipeline.provenance.credentials import signing_keys, time_stampers
from understudy.pipeline.provenance.found import ManifestFound, SoundFound, TagsFound, WatermarkFound
from understudy.pipeline.provenance.manifest import SIDECAR_SUFFIX, making_of, manifest_store

SEARCHED = 1800.0
"""Seconds in which the watermark is searched."""

_GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
_CERTIFICATE = "signingCredential."  # C2PA's status codes of what is wrong with the signer, not with the file
_STAMPED = ("timeStamp.validated", "timeStamp.trusted")


@dataclass(frozen=True)
class Verification:
    """What was found in a file. `conclusion`: in a few sentences."""

    watermark: WatermarkFound
    c2pa: ManifestFound
    tags: TagsFound
    conclusion: str

    @property
    def marked(self) -> bool:
        """Whether anything that can be relied on says that AI made it: a valid manifest, or the watermark."""
        return self.watermark.found or (self.c2pa.valid and self.c2pa.generated)


def verify(
    context: Context, file: Path, sidecar: Path | None = None, keys: Sequence[int] = (PUBLIC_KEY,)
) -> Verification:
    """Read the marks of `file`. `sidecar`: its manifest, where it holds none. `keys`: of the watermarks that are
    searched.

    Raises `UnderstudyError`: what `decode` raises of a file with neither sound nor manifest.
    """
    check_readable(file, LIMITS.bytes)
    manifest = read_manifest(file, sidecar)
    tags, mark = TagsFound(), WatermarkFound()
    try:
        header = probe(file)
        tags = _tags(file, header.tags)
        heard = decode(context.part(0.0, 0.2), file, context.folder / "verified.npy", duration=SEARCHED)
        seconds = max(heard.duration, header.duration or 0.0) if heard.duration > SEARCHED - 1 else heard.duration
        sound = SoundFound(seconds, heard.duration, _silent(heard))
        if not sound.silent:
            mark = WatermarkFound.of(detect(heard, context.part(0.2, 1.0), keys))
    except UnderstudyError as error:
        if not manifest.present or error.code == "cancelled":
            raise
        sound = SoundFound(unreadable=error.message)
    return Verification(mark, manifest, tags, conclusion(tags, manifest, mark, sound))


def read_manifest(file: Path, sidecar: Path | None = None) -> ManifestFound:
    """The C2PA manifest of `file`, or else the one of it in `sidecar`, checked."""
    import c2pa

    keys = signing_keys()
    trusted = [key.certificate for key in keys if key.state != "revoked"]
    revoked = {str(key.serial) for key in keys if key.state == "revoked"}
    beside = ""
    try:
        data = manifest_store(file, None, trusted, time_stampers())
        if data is None and sidecar is not None:
            beside = sidecar.name
            data = manifest_store(file, sidecar, trusted, time_stampers())
    except c2pa.C2paError as error:
        return ManifestFound(present=True, beside=beside, unreadable=str(error)[:200])
    if data is None:
        return ManifestFound()
    found = _manifest(data, revoked, beside)
    # without its file, a manifest can't fit it
    return found if file.suffix.lower() != SIDECAR_SUFFIX else replace(found, alone=True, valid=False, trusted=False)


def _manifest(data: Mapping[str, Any], revoked: set[str], beside: str) -> ManifestFound:
    active = data["manifests"][data["active_manifest"]]
    actions = [
        action
        for assertion in active.get("assertions", ())
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion["data"].get("actions", ())
    ]
    tools = active.get("claim_generator_info") or [{"name": active.get("claim_generator", "")}]
    signature = active.get("signature_info") or {}
    unfit = [status for status in data.get("validation_status", ()) if status["code"] != f"{_CERTIFICATE}untrusted"]
    states = (data.get("validation_results") or {}).get("activeManifest") or {}
    passed = {status["code"] for status in states.get("success", ())}
    work = making_of(data).get("watermark")
    return ManifestFound(
        present=True,
        valid=data["validation_state"] in ("Valid", "Trusted"),
        trusted=data["validation_state"] == "Trusted",
        signer=str(signature.get("issuer") or signature.get("common_name") or ""),
        tool=" ".join(filter(None, (str(tools[0].get("name", "")), str(tools[0].get("version", ""))))),
        generated=any(str(action.get("digitalSourceType", "")).endswith(_GENERATED) for action in actions),
        actions=tuple(str(action.get("action", "")) for action in actions),
        ingredients=tuple(str(one.get("title", "")) for one in active.get("ingredients", ())),
        problems=tuple(str(status["code"]) for status in unfit),
        revoked=str(signature.get("cert_serial_number", "")) in revoked,
        beside=beside,
        time=str(signature.get("time") or "") if passed.intersection(_STAMPED) else "",
        time_trusted="timeStamp.trusted" in passed,
        work=work if isinstance(work, int) else None,
        earlier=len(data["manifests"]) - 1,
        changed=tuple(dict.fromkeys(_part(status) for status in unfit if _CERTIFICATE not in status["code"])),
    )


def _part(status: Mapping[str, Any]) -> str:
    """Which part of a signed file a status of C2PA's is about: ``file``, ``signature`` or the label of a statement."""
    code, place = str(status["code"]), str(status.get("url", "")).rpartition("/")[2]
    if code.startswith(("assertion.dataHash", "assertion.bmffHash", "assertion.boxesHash")):
        return "file"
    return "signature" if code.startswith("claimSignature") else place or code


def _tags(file: Path, tags: Tags) -> TagsFound:
    return TagsFound(made_by_understudy(file), tags.title, tags.artist, tags.comment)


def _silent(sound: AudioFile) -> bool:
    """Whether all samples are below -80 dBFS, in blocks of a minute."""
    minute = 60 * sound.rate
    return all(
        abs(sound.read(start, start + minute).samples).max(initial=0) < 1e-4 for start in range(0, sound.frames, minute)
    )
