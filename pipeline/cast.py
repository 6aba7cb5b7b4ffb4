"""Who sings what: one voice, several in turns, another one for the backing vocals.

As people write it: ``nova``; ``lead=nova`` and ``backing=ada``; ``0:00-1:12=nova,1:12-=ada`` for a duet.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from understudy.errors import UnderstudyError
from understudy.pipeline.separation.settings import FrozenModel
from understudy.voices.voice import Voice
from understudy.wording import exact_clock, parse_clock

SHORTEST = 0.5
"""Seconds that a turn must have: a shorter one is not recognised as another voice."""

BRIDGED = 1.0
"""Seconds between two turns that are closed: 0:00-1:11 and 1:12-2:00 are meant to touch."""

Transpose = Literal["auto"] | int

# possessive (*+): what is a space or a digit is nothing else, and a long run of them is looked at once
_RANGE = re.compile(r"\s*+([\d:.]*+)\s*+[-–]\s*+([\d:.]*+)\s*+=(.*)", re.DOTALL)
_NEXT = re.compile(r",(?=\s*+[\d:.]*+\s*+[-–]\s*+[\d:.]*+\s*+=)")  # a comma in a name is followed by no range

_MOVE = re.compile(r"\s*(?P<name>[^=\s][^=]*)=\s*(?P<value>auto|[+-]?\d{1,2})\s*(?:,(?=.)|$)")


class TimeRange(FrozenModel):
    """Seconds of the song, the end None where it is the song's. `exact_start` and `exact_stop`: whether the moment is
    meant as it is; otherwise the nearest pause in the singing is (see `understudy.pipeline.stages.cast`)."""

    start: float = 0.0
    stop: float | None = None
    exact_start: bool = True
    exact_stop: bool = True

    @property
    def text(self) -> str:
        """As it is written: ``0:00-1:12``."""
        return f"{exact_clock(self.start)}-{'' if self.stop is None else exact_clock(self.stop)}"


class TimeRanges(FrozenModel):
    """The turns of one voice, as a stage's settings. `offset`: the song's second at which the sound begins."""

    ranges: tuple[TimeRange, ...]
    offset: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A voice and when it sings."""

    voice: Voice
    time: TimeRange


@dataclass(frozen=True)
class Cast:
    """`lead`: the turns, in order, none overlapping; between them the original singer stays. `backing`: who sings
    the backing vocals, None for what the settings say. `transposes`: by a voice's name, what is set for it alone.
    """

    lead: tuple[Turn, ...]
    backing: Voice | None = None
    transposes: Mapping[str, Transpose] = field(default_factory=dict)

    @property
    def solo(self) -> Voice | None:
        """The voice that sings all of the lead, None where there is more to it."""
        return self.lead[0].voice if [turn.time for turn in self.lead] == [TimeRange()] else None

    @property
    def singers(self) -> tuple[Voice, ...]:
        """The voices of the lead, in the order in which they begin."""
        return tuple({turn.voice.name: turn.voice for turn in self.lead}.values())

    @property
    def voices(self) -> tuple[Voice, ...]:
        """All voices, those of the lead first."""
        everybody = (*self.singers, *([self.backing] if self.backing else []))
        return tuple({voice.name: voice for voice in everybody}.values())

    @property
    def name(self) -> str:
        """``nova``, or ``nova+ada``."""
        return "+".join(voice.name for voice in self.voices)

    @property
    def content_hash(self) -> str:
        """Stands for the voices, and for who sings what where that is more than one voice for everything."""
        solo = self.solo
        if solo and self.backing is None and not self.transposes:
            return solo.manifest.content_hash
        described = [
            [[turn.voice.manifest.content_hash, turn.time.model_dump()] for turn in self.lead],
            self.backing.manifest.content_hash if self.backing else None,
            sorted(self.transposes.items()),
        ]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    @property
    def leaves_gaps(self) -> bool:
        """Whether the original singer stays anywhere: before, between or after the turns."""
        times = [turn.time for turn in self.lead]
        touching = all(before.stop == after.start for before, after in pairwise(times))
        return not (times[0].start == 0 and times[-1].stop is None and touching)

    def sung_by(self, engine: str | None) -> Cast:
        """The same voices with `engine`, None: each with its default. Raises ``engine-missing`` for one that has
        nothing for it."""
        lead = tuple(Turn(turn.voice.sung_by(engine), turn.time) for turn in self.lead)
        return Cast(lead, self.backing and self.backing.sung_by(engine), self.transposes)

    def ranges_of(self, voice: Voice) -> tuple[TimeRange, ...]:
        return tuple(turn.time for turn in self.lead if turn.voice.name == voice.name)

    def within(self, start: float, duration: float | None) -> Cast:
        """Those turns that lie at least partly in the `duration` seconds (None: to the end) from `start`.

        Raises ``cast-silent`` if none is left.
        """
        end = float("inf") if duration is None else start + duration
        present = tuple(
            turn
            for turn in self.lead
            if min(end, float("inf") if turn.time.stop is None else turn.time.stop) - max(start, turn.time.start)
            >= SHORTEST
        )
        if not present:
            raise UnderstudyError(
                "cast-silent",
                "None of the voices has a turn in the requested part of the song.",
                "The times of --voice are those of the whole song, also with --start; change one of them.",
            )
        return Cast(present, self.backing, self.transposes)


def as_cast(voice: Voice | Cast) -> Cast:
    """One voice is a cast that sings everything."""
    return voice if isinstance(voice, Cast) else Cast((Turn(voice, TimeRange()),))


@dataclass(frozen=True)
class Parts:
    """A cast by names, before anybody looked whether there are such voices."""

    lead: tuple[tuple[TimeRange, str], ...]
    backing: str | None = None

    def cast(self, load: Callable[[str], Voice], transposes: Mapping[str, Transpose] | None = None) -> Cast:
        """The voices that `load` finds. Raises what it raises, and ``cast-invalid`` for a transpose of a voice that
        doesn't sing."""
        names = dict.fromkeys([*(name for _, name in self.lead), *([self.backing] if self.backing else [])])
        voices = {name: load(name) for name in names}
        known = {voice.name for voice in voices.values()}
        for name in transposes or {}:
            if name not in known:
                raise _invalid(f"--transpose names {name!r}, who doesn't sing here", f"Singing: {', '.join(known)}.")
        lead = tuple(Turn(voices[name], time) for time, name in self.lead)
        return Cast(lead, voices[self.backing] if self.backing else None, dict(transposes or {}))


def parse_voices(texts: Sequence[str]) -> Parts:
    """What the values of ``--voice`` say. Raises `UnderstudyError` ``cast-invalid`` saying what is wrong and where."""
    whole: list[str] = []
    backing: list[str] = []
    turns: list[tuple[TimeRange, str]] = []
    for text in texts:
        part, equals, rest = text.partition("=")
        match part.strip().casefold() if equals else "lead":
            case "lead" if not equals or not _RANGE.fullmatch(rest):
                whole.append((rest if equals else text).strip())
            case "lead":
                turns += _turns(rest)
            case "backing":
                backing.append(rest.strip())
            case _:
                turns += _turns(text)
    for part, names in (("lead", whole), ("backing", backing)):
        if len(names) > 1:
            raise _invalid(
                f"two voices have the {part} to themselves: {' and '.join(names)}",
                "Say when each sings, as in --voice '0:00-1:12=A,1:12-=B', or give one of them the backing vocals.",
            )
    if whole and turns:
        raise _invalid(
            f"{whole[0]!r} has the lead to itself, and {turns[0][1]!r} sings from {exact_clock(turns[0][0].start)}",
            f"Say when each sings: --voice '0:00-{exact_clock(turns[0][0].start)}={whole[0]},...'.",
        )
    if not whole and not turns:
        raise _invalid("nobody sings the lead", "Name its voice, too: --voice lead=NAME.")
    if any(not name for name in (*whole, *backing)):
        raise _invalid("a voice has no name", "Write --voice NAME, lead=NAME or backing=NAME.")
    lead = ((TimeRange(), whole[0]),) if whole else _in_order(turns)
    return Parts(lead, backing[0] if backing else None)


def parse_transposes(text: str) -> dict[str, Transpose]:
    """``nova=-12,ada=auto`` by name. Raises ``cast-invalid``."""
    found: dict[str, Transpose] = {}
    position = 0
    while position < len(text) or not found:
        match = _MOVE.match(text, position)
        if match is None:
            raise _invalid(
                f"{text[position:].strip()!r} is no transpose of a voice",
                "Write --transpose 'NAME=-12,OTHER=auto', or one number.",
            )
        name, value = match["name"].strip(), match["value"]
        found[name] = "auto" if value == "auto" else int(value)
        if value != "auto" and abs(int(value)) > 36:
            raise _invalid(f"{value} semitones are more than three octaves", "Stay between -36 and 36.")
        position = match.end()
    return found


def _turns(text: str) -> list[tuple[TimeRange, str]]:
    found = []
    for item in _NEXT.split(text):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise _invalid(
                f"{item.strip()!r} is neither a part nor a range of time",
                "Write --voice NAME, --voice lead=NAME, --voice backing=NAME, or --voice '0:00-1:12=A,1:12-=B'.",
            )
        first, last, name = (part.strip() for part in match.groups())
        start, exact_start = (0.0, True) if not first else _moment(first, item)
        stop, exact_stop = (None, True) if not last else _moment(last, item)
        if not name or "=" in name:
            raise _invalid(f"{item.strip()!r} names no voice", "Write one voice after the '=' of each range.")
        if stop is not None and stop - start < SHORTEST:
            reason = "ends before it begins" if stop < start else f"is shorter than {SHORTEST} s"
            raise _invalid(f"the turn {item.strip()!r} {reason}", "Give it a later end.")
        exact_start = exact_start or start == 0
        found.append((TimeRange(start=start, stop=stop, exact_start=exact_start, exact_stop=exact_stop), name))
    return found


def _moment(text: str, item: str) -> tuple[float, bool]:
    """Seconds, and whether a fraction was given: then they are meant exactly."""
    seconds = parse_clock(text)
    if seconds is None:
        raise _invalid(
            f"{text!r} in {item.strip()!r} is no time", "Write 1:12, 1:02:30, or seconds such as 72 or 72.5."
        )
    return seconds, "." in text


def _in_order(turns: list[tuple[TimeRange, str]]) -> tuple[tuple[TimeRange, str], ...]:
    """The turns in order; neighbours that leave next to nothing between them touch at one moment."""
    ordered = sorted(turns, key=lambda turn: turn[0].start)
    for position in range(len(ordered) - 1):
        (before, first), (after, second) = ordered[position], ordered[position + 1]
        if before.stop is None or before.stop > after.start:
            raise _invalid(
                f"{first!r} ({before.text}) and {second!r} ({after.text}) sing at the same time",
                "Two voices share the lead one after the other: let one range end where the next begins.",
            )
        if after.start - before.stop <= BRIDGED:
            exact = after.exact_start or (before.exact_stop and before.stop == after.start)
            after = after.model_copy(update={"exact_start": exact})
            before = before.model_copy(update={"stop": after.start, "exact_stop": exact})
            ordered[position], ordered[position + 1] = (before, first), (after, second)
    return tuple(ordered)


def _invalid(reason: str, hint: str) -> UnderstudyError:
    return UnderstudyError("cast-invalid", f"It isn't clear who sings what: {reason}.", hint)
