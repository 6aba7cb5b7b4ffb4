"""What the consent of a voice permits: its level, its uses, its end.

Every path to a voice's sound comes by `require`: `library.load`, the graphs of covers and conversions, training, blend
and export. The consent log decides; the record in a manifest is a copy of its last decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from understudy.errors import UnderstudyError
from understudy.voices.voice import ConsentRecord, Level, Manifest, Use

LEVELS: tuple[Level, ...] = get_args(Level)
"""Weakest first."""

_CLOCKS = timedelta(minutes=10)  # by which the clocks of two machines may differ


def require(manifest: Manifest, use: Use | None = None, level: Level = "stated", now: datetime | None = None) -> None:
    """Raise `UnderstudyError` unless the consent for the voice permits `use` (None: any) `now` and is at least `level`:
    ``consent-revoked``, ``consent-expired``, ``consent-use-refused``, ``consent-too-weak``, and ``consent-from-future``
    where this machine's clock stands before the decision.
    """
    name, record, now = manifest.name, manifest.consent_record, now or datetime.now(UTC)
    if record is not None:
        if record.level == "revoked":
            raise revoked(name, record)
        if record.date > now + _CLOCKS:
            raise UnderstudyError(
                "consent-from-future",
                f"The consent for the voice {name!r} is of {record.date:%Y-%m-%d %H:%M} UTC, and here it is "
                f"{now:%Y-%m-%d %H:%M} UTC.",
                "Set this machine's clock.",
            )
        if record.expires is not None and record.expires <= now:
            raise UnderstudyError(
                "consent-expired",
                f"The consent for the voice {name!r} ended on {record.expires:%Y-%m-%d %H:%M} UTC.",
                "Ask its owner for a new consent file: understudy voices consent delegate.",
            )
        if use is not None and record.level == "delegated" and use not in record.uses:
            raise UnderstudyError(
                "consent-use-refused",
                f"The owner of the voice {name!r} allows {_listed(record.uses)}, not {use}.",
                "Ask for a consent file that names this use.",
            )
    if LEVELS.index(manifest.consent_level) < LEVELS.index(level):
        raise UnderstudyError(
            "consent-too-weak",
            f"The consent for the voice {name!r} is {manifest.consent_level}; here it must be {level}.",
            "Its owner proves it with a recording: understudy voices consent challenge, or POST "
            "/v1/voices/{id}/consent/challenge.",
        )


def revoked(name: str, record: ConsentRecord) -> UnderstudyError:
    """The error for a voice whose consent was withdrawn."""
    return UnderstudyError(
        "consent-revoked",
        f"The consent for the voice {name!r} was revoked on {record.date:%Y-%m-%d}.",
        "Nothing can be made with it any more. If its owner consents again, make a new voice from new recordings.",
    )


def inherited(parents: Sequence[Manifest]) -> tuple[Level, dict[str, Any]]:
    """The level and the limits of a voice made from others: a blend is as limited as its parents together are, and what
    was proven for one of them proves nothing for the blend."""
    limits = [one.consent_record for one in parents if one.consent_level == "delegated"]
    records = [record for record in limits if record is not None]
    if not records:
        return "stated", {}
    ends = [record.expires for record in records if record.expires is not None]
    uses = [use for use in get_args(Use) if all(use in record.uses for record in records)]
    return "delegated", {"uses": uses} | ({"expires": min(ends).isoformat()} if ends else {})


def _listed(uses: Sequence[str]) -> str:
    return ", ".join(uses) or "nothing"
