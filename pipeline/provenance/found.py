"""What is found in a file that is verified."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.audio.watermark.detection import Mark
from understudy.audio.watermark.payload import Payload

EXPIRED = "signingCredential.expired"
"""C2PA's status code of a certificate that isn't valid at the time of signing or, without a time stamp, now."""


@dataclass(frozen=True)
class TagsFound:
    """`made_by_understudy`: whether our own tag is there. `comment`, `artist`, `title`: as they are."""

    made_by_understudy: bool = False
    title: str = ""
    artist: str = ""
    comment: str = ""


@dataclass(frozen=True)
class ManifestFound:
    """A C2PA manifest; of a file that was signed several times, the last one.

    - `present`; `beside`: the name of the file that holds it, where the sound itself doesn't.
    - `valid`: whether signature and hashes fit the file and the certificate is valid. `trusted`: whether it was signed
      with a key of this user or this server, and `revoked`: with one that was revoked here.
    - `signer`, `tool`: as the certificate and the manifest name them. `generated`: whether it says that AI made the
      file or a part of it. `actions`: what was done, in C2PA's terms. `ingredients`: titles of what it was made from.
    - `time`: when it was signed by a time-stamp authority, ISO 8601, and `time_trusted`: whether that one counts here.
    - `work`: the id of the work that it is of, as in the watermark; None where it tells none.
    - `earlier`: how many manifests of what the file was made from it keeps.
    - `alone`: whether it was given without the file that it is of.
    - `problems`: C2PA's status codes of what doesn't fit, and `changed`: which parts these are about. `unreadable`: why
      it can't be read.
    """

    present: bool = False
    valid: bool = False
    trusted: bool = False
    signer: str = ""
    tool: str = ""
    generated: bool = False
    actions: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    revoked: bool = False
    beside: str = ""
    time: str = ""
    time_trusted: bool = False
    work: int | None = None
    earlier: int = 0
    changed: tuple[str, ...] = ()
    unreadable: str = ""
    alone: bool = False

    @property
    def outdated(self) -> bool:
        """Whether all that is wrong is the time at which the certificate is valid."""
        return bool(self.problems) and set(self.problems) == {EXPIRED}


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
class SoundFound:
    """`seconds`: how long the sound is, of which the first `searched` were searched for a watermark. `silent`: whether
    nothing is to be heard in these. `unreadable`: why there is no sound."""

    seconds: float = 0.0
    searched: float = 0.0
    silent: bool = False
    unreadable: str = ""
