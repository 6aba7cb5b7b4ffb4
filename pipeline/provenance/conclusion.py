"""`conclusion`: what follows, and what doesn't, from the marks that were found in a file, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from understudy.pipeline.provenance.found import ManifestFound, SoundFound, TagsFound, WatermarkFound
from understudy.wording import counted

_SHORT = 10.0  # seconds in which no watermark may be found although one is there
_CLOCKS = timedelta(hours=1)  # by which clocks may differ


def conclusion(tags: TagsFound, manifest: ManifestFound, mark: WatermarkFound, sound: SoundFound) -> str:
    sentences = [*_watermark(mark), *_credentials(manifest, mark), *_agreement(manifest, mark)]
    if manifest.alone:
        return " ".join(sentences)
    if sound.unreadable:
        sentences.append(f"No watermark could be looked for: {sound.unreadable}")
    elif not mark.found:
        sentences += _nothing(tags, manifest, sound)
    return " ".join(sentences)


def _watermark(mark: WatermarkFound) -> Iterator[str]:
    if mark.payload is None:
        return
    what = {"cover": "a cover", "conversion": "a converted vocal"}[mark.payload.kind]
    yield f"Made by Understudy: its watermark is there, of {what} with the id {mark.payload.id:05x}."
    changes = [
        f"{name} by {100 * (factor - 1):+.1f} %"
        for name, factor in (("pitch", mark.pitch), ("speed", mark.speed))
        if abs(factor - 1) > 0.002
    ]
    if changes:
        yield f"Since then its {' and '.join(changes)} were changed."


def _credentials(manifest: ManifestFound, mark: WatermarkFound) -> Iterator[str]:
    if not manifest.present:
        return
    where = f"The credentials in {manifest.beside}" if manifest.beside else "The file's signed credentials"
    if manifest.unreadable:
        yield f"{where} can't be read ({manifest.unreadable.rstrip('.')}): nothing follows from them."
        return
    if manifest.alone:
        yield (
            f"These are signed credentials of {manifest.tool or 'a program'} without the file that they are of: "
            "they say nothing of any sound until both are checked together."
        )
        return
    if manifest.valid or manifest.outdated:
        made = "AI made it or a part of it" if manifest.generated else "they don't say that AI made it"
        yield f"{where} fit it: from {manifest.tool or 'a program'}, {made}; signer: {manifest.signer or 'no name'}."
        yield from _signer(manifest)
        yield from _time(manifest)
    elif manifest.changed:
        yield from _changed(manifest, where, mark)
    else:
        yield f"{where} have a certificate that C2PA doesn't allow: nobody can say who signed."
    if manifest.earlier:
        kept = counted(manifest.earlier, "earlier manifest")
        yield f"They keep {kept} of what the file was made from; only the last one tells of the file itself."


def _signer(manifest: ManifestFound) -> Iterator[str]:
    if manifest.revoked:
        yield (
            "Its key was revoked here, as a stolen key is: who signed, and whether what they say is true, "
            "can't be concluded."
        )
    elif manifest.outdated:
        yield (
            "By this machine's clock its certificate has expired or isn't valid yet, and no time stamp says when it "
            "was used: nothing has changed since it was signed, but by whom can't be concluded."
        )
    elif manifest.trusted:
        yield "It was signed with a key that is known here."
    else:
        yield (
            "That signer is not known here: the name is what the certificate says, and anyone can make one "
            "for any name."
        )


def _time(manifest: ManifestFound) -> Iterator[str]:
    if not manifest.time:
        return
    known = "a time-stamp authority" if manifest.time_trusted else "a time-stamp authority that is not known here"
    yield f"Signed before {manifest.time}, says {known}."
    try:
        ahead = datetime.fromisoformat(manifest.time) - datetime.now(UTC)
    except (ValueError, TypeError):
        return
    if ahead > _CLOCKS:
        yield "That is still to come: the authority's clock or this machine's is wrong."


def _changed(manifest: ManifestFound, where: str, mark: WatermarkFound) -> Iterator[str]:
    labels = [part for part in manifest.changed if part not in ("file", "signature")]
    if manifest.changed == ("file",) and manifest.beside:
        if mark.payload is not None and manifest.work is not None and mark.payload.id != manifest.work:
            yield f"{where} are of another work, with the id {manifest.work:05x}: they say nothing of this file."
        else:
            yield f"{where} don't fit: they are of another file, or this one was changed after signing."
        return
    parts = [
        *(["its sound, tags or other bytes"] if "file" in manifest.changed else []),
        *(["what they say"] if "signature" in manifest.changed else []),
        *([f"what they say in {', '.join(labels)}"] if labels else []),
    ]
    yield (
        f"{where} don't fit: {' and '.join(parts)} changed after signing. "
        "What was changed and by whom can't be concluded."
    )


def _agreement(manifest: ManifestFound, mark: WatermarkFound) -> Iterator[str]:
    if mark.payload is None or not manifest.valid or manifest.work is None:
        return
    if mark.payload.id == manifest.work:
        yield "Watermark and credentials name the same work."
    else:
        yield (
            f"The credentials name another work, {manifest.work:05x}: "
            "one of the two marks was put on by somebody who didn't make the other."
        )


def _nothing(tags: TagsFound, manifest: ManifestFound, sound: SoundFound) -> Iterator[str]:
    """What no watermark means."""
    if tags.made_by_understudy and not manifest.valid:
        yield "Its tags say that Understudy made it; tags are easily written and removed."
    if sound.silent:
        yield "It is silent, and silence carries no watermark."
    elif sound.seconds < _SHORT:
        yield "It is too short to find a watermark in."
    elif tags.made_by_understudy or manifest.present:
        yield "No watermark was found."
    else:
        yield "No mark was found. That doesn't prove that no AI was used."
    if sound.searched < sound.seconds - 1:
        yield f"Only the first {sound.searched / 60:.0f} of {sound.seconds / 60:.0f} minutes were searched for one."
