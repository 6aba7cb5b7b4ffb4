"""Challenges: a phrase made up for one voice at one moment, and the recording that answers it.

A challenge stands in the consent log and nowhere else. It is open until a decision about its voice follows it there:
one recording answers it, right or wrong, and then the phrase is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from understudy.audio.samples import AudioSource
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library, recording_files
from understudy.voices.consent import phrase
from understudy.voices.consent.log import ConsentLog, Entry
from understudy.voices.consent.recording import Answer, Known, examine
from understudy.voices.voice import Voice, file_hash

MINUTES = 10
"""How long a challenge can be answered."""


def details(now: datetime) -> dict[str, str]:
    """A new challenge, as the consent log has it: its phrase, and until when it can be answered."""
    return {"phrase": phrase.made_up(), "expires": (now + timedelta(minutes=MINUTES)).isoformat()}


def pending(entries: Sequence[Entry], identity: str, now: datetime) -> Entry:
    """The open challenge of a voice. Raises ``challenge-missing`` and ``challenge-expired``."""
    found = [entry for entry in entries if entry.identity == identity and entry.decision not in _BESIDE]
    if not found or found[-1].decision != "challenged":
        raise UnderstudyError(
            "challenge-missing",
            "There is no phrase to answer: none was asked for, or a recording has answered it already.",
            "Ask for a new phrase: understudy voices consent challenge, or POST /v1/voices/{id}/consent/challenge.",
        )
    expires = datetime.fromisoformat(found[-1].details["expires"])
    if not datetime.fromisoformat(found[-1].at) - timedelta(seconds=60) <= now <= expires:
        raise UnderstudyError(
            "challenge-expired",
            f"The phrase could be answered until {expires:%H:%M} UTC; here it is {now:%Y-%m-%d %H:%M} UTC.",
            f"Ask for a new phrase and send the recording within {MINUTES} minutes; check this machine's clock.",
        )
    return found[-1]


_BESIDE = ("renamed", "added", "recordings added")
"""Entries that leave a challenge open."""


def make(root: Path, name: str) -> Entry:
    """Ask for a proof of the consent for the voice `name`: returns the entry with the phrase in its details. An earlier
    phrase is void. Raises ``voice-without-recordings`` for a voice that nobody's speech can be compared with, and as
    `library.decide` does."""
    voice = library.describe(root, name)
    refuse_without_recordings(voice)
    identity, now = voice.manifest.identity, datetime.now(UTC)
    library.decide(root, name, identity, "challenged", details(now))
    return pending(ConsentLog(root).read(), identity, now)


def answer(root: Path, name: str, recording: Path, context: Context) -> Voice:
    """Check the `recording` of the open phrase of the voice `name`, and make its consent ``verified``.

    Raises `UnderstudyError` with what is wrong with the recording (`recording.examine` lists the codes), after which a
    new phrase is needed; ``challenge-missing``, ``challenge-expired``; those of a file that can't be read, after which
    the phrase is still open.
    """
    voice = library.describe(root, name)
    library.refuse_revoked(voice)
    refuse_without_recordings(voice)
    library.verify(voice, {path: voice.stored_files[path] for path in voice.recording_files})
    identity = voice.manifest.identity
    open_one = pending(ConsentLog(root).read(), identity, datetime.now(UTC))
    sound = recording_files.decode(context.part(0, 0.1), recording, context.folder / "answer.npy")
    known = Known.of(decoded(voice.recording_files, context))
    found = examine(context.part(0.1, 1), sound, open_one.details["phrase"], known)

    def still_open(entries: Sequence[Entry]) -> None:
        refuse_another(pending(entries, identity, datetime.now(UTC)), open_one)

    decision = "refused" if found.refusal else "verified"
    voice = library.decide(root, name, identity, decision, told(found, recording), still_open)
    if found.refusal is not None:
        raise found.refusal
    return voice


def decoded(files: Sequence[Path], context: Context) -> list[AudioSource]:
    """A voice's own recordings as sound."""
    return [
        recording_files.decode(context.part(0, 0), file, context.folder / f"own-{number}.npy")
        for number, file in enumerate(files)
    ]


def refuse_another(open_one: Entry, answered: Entry) -> None:
    """Raise ``challenge-missing`` unless the challenge that was `answered` is still the open one."""
    if open_one != answered:
        raise UnderstudyError(
            "challenge-missing",
            "Another phrase was asked for meanwhile, and this one is void.",
            "Read the new one aloud.",
        )


def told(found: Answer, recording: Path) -> dict[str, object]:
    """What the consent log says about a recording: its hash and its figures, not its sound."""
    reason = {"reason": found.refusal.code} if found.refusal else {}
    return {"recording": file_hash(recording), "figures": found.figures, **reason}


def refuse_without_recordings(voice: Voice) -> None:
    if not voice.manifest.recordings:
        raise UnderstudyError(
            "voice-without-recordings",
            f"The voice {voice.name!r} is only a model: there is no recording to compare its owner's speech with.",
            "Its owner can sign a consent file instead: understudy voices consent sign.",
        )
