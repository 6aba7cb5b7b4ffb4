"""`verify`: what a file says of itself in its tags, in a C2PA manifest and in a watermark, and what follows from that.

Any file that can be read as sound may be given, also one of another program. Nothing is fetched from the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.audio.files import decode
from understudy.audio.tags import made_by_understudy, read_tags
from understudy.audio.watermark.detection import Mark, detect
from understudy.audio.watermark.layout import PUBLIC_KEY
from understudy.audio.watermark.payload import Payload
from understudy.context import Context
from understudy.pipeline.provenance.credentials import own_certificates
from understudy.pipeline.provenance.manifest import manifest_store

_SEARCHED = 1800.0  # seconds in which the watermark is searched
_SHORT = 10.0  # seconds in which none may be found although it is there
_GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")


@dataclass(frozen=True)
class TagsFound:
    """`made_by_understudy`: whether our own tag is there. `comment`, `artist`, `title`: as they are."""

    made_by_understudy: bool
    title: str
    artist: str
    comment: str


@dataclass(frozen=True)
class ManifestFound:
    """`present`; `valid`: whether signature and hashes fit the file; `trusted`: whether the signer is known here (this
    user's or this server's own key). `signer`, `tool`: as the certificate and the manifest name them. `generated`:
    whether it says that AI made it or a part of it. `actions`: what was done, in C2PA's terms. `ingredients`: titles
    of what it was made from. `problems`: C2PA's status codes of what doesn't fit."""

    present: bool = False
    valid: bool = False
    trusted: bool = False
    signer: str = ""
    tool: str = ""
    generated: bool = False
    actions: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class WatermarkFound:
    """`found`: whether there is one; a short or a strongly changed sound may have lost it. `confidence`: 1 less the
    probability that a sound without a mark gives one. `position`, `duration`: seconds of the sound in which it was
    found. `pitch`, `speed`: by what the sound was changed since it was marked, as factors."""

    found: bool = False
    payload: Payload | None = None
    confidence: float = 0.0
    position: float = 0.0
    duration: float = 0.0
    pitch: float = 1.0
    speed: float = 1.0

    @staticmethod
    def of(mark: Mark | None) -> WatermarkFound:
        if mark is None:
            return WatermarkFound()
        where = (mark.position, mark.duration, mark.pitch, mark.speed)
        return WatermarkFound(True, mark.payload, 1 - mark.false_alarm, *where)


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


def verify(context: Context, file: Path, keys: Sequence[int] = (PUBLIC_KEY,)) -> Verification:
    """Read the marks of the sound in `file`; the watermark, of its first half hour. `keys`: of the watermarks that are
    searched.

    Raises `UnderstudyError` for what can't be read as sound; see `understudy.audio.files.decode`.
    """
    found = read_tags(file)
    tags = TagsFound(made_by_understudy(file), found.title, found.artist, found.comment)
    manifest = read_manifest(file)
    sound = decode(context.part(0.0, 0.2), file, context.folder / "decoded.npy", duration=_SEARCHED)
    mark = WatermarkFound.of(detect(sound, context.part(0.2, 1.0), keys))
    return Verification(mark, manifest, tags, _conclusion(tags, manifest, mark, sound.duration))


def read_manifest(file: Path) -> ManifestFound:
    """The C2PA manifest of `file`, checked; of a file that was signed several times, the last one."""
    import c2pa

    try:
        data = manifest_store(file, own_certificates())
    except c2pa.C2paError as error:
        return ManifestFound(present=True, problems=(str(error)[:200],))
    return ManifestFound() if data is None else _manifest(data)


def _manifest(data: Mapping[str, Any]) -> ManifestFound:
    active = data["manifests"][data["active_manifest"]]
    actions = [
        action
        for assertion in active.get("assertions", ())
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion["data"].get("actions", ())
    ]
    tools = active.get("claim_generator_info") or [{"name": active.get("claim_generator", "")}]
    problems = [str(status["code"]) for status in data.get("validation_status", ())]
    return ManifestFound(
        present=True,
        valid=data["validation_state"] in ("Valid", "Trusted"),
        trusted=data["validation_state"] == "Trusted",
        signer=str((active.get("signature_info") or {}).get("issuer", "")),
        tool=" ".join(filter(None, (str(tools[0].get("name", "")), str(tools[0].get("version", ""))))),
        generated=any(str(action.get("digitalSourceType", "")).endswith(_GENERATED) for action in actions),
        actions=tuple(str(action.get("action", "")) for action in actions),
        ingredients=tuple(str(one.get("title", "")) for one in active.get("ingredients", ())),
        problems=tuple(problem for problem in problems if problem != "signingCredential.untrusted"),
    )


def _conclusion(tags: TagsFound, manifest: ManifestFound, mark: WatermarkFound, seconds: float) -> str:
    sentences = []
    if mark.payload is not None:
        what = {"cover": "a cover", "conversion": "a converted vocal"}[mark.payload.kind]
        sentences.append(f"Made by Understudy: its watermark is there, of {what} with the id {mark.payload.id:05x}.")
        changes = [
            f"{name} by {100 * (factor - 1):+.1f} %"
            for name, factor in (("pitch", mark.pitch), ("speed", mark.speed))
            if abs(factor - 1) > 0.002
        ]
        if changes:
            sentences.append(f"Since then its {' and '.join(changes)} were changed.")
    if manifest.present and manifest.valid:
        made = "AI made it or a part of it" if manifest.generated else "it doesn't say that AI made it"
        known = "" if manifest.trusted else ", who is not known here"
        tool = manifest.tool or "a program"
        sentences.append(f"Signed credentials of {tool} ({made}) fit the file; signer: {manifest.signer}{known}.")
    elif manifest.present:
        sentences.append("The file has signed credentials that don't fit it: it was changed after signing.")
    if not mark.found and not manifest.valid:
        if tags.made_by_understudy:
            sentences.append("Its tags say that Understudy made it; tags are easily written and removed.")
        if seconds < _SHORT:
            sentences.append("It is too short to find a watermark in.")
        elif tags.made_by_understudy or manifest.present:
            sentences.append("No watermark was found.")
        else:
            sentences.append("No mark was found. That doesn't prove that no AI was used.")
    return " ".join(sentences)
