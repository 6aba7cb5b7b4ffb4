"""The outcomes of a batch as JSON lines. A batch that was killed reads them when it is started again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from understudy.pipeline.json_lines import append_line, read_lines

NAME = "batch.jsonl"


@dataclass(frozen=True)
class Outcome:
    """How one cover ended. Loudness in LUFS, `true_peak` in dBTP, `transpose` in semitones, `bpm` and `song_key` of the
    song, `similarity` of the new vocal to the voice (cosine, -1..1), `seconds` of wall time in this batch; None where
    there is none. `code` and `reason` of the error where it failed. The table has these columns, too, in this order."""

    identity: str
    song: str
    voice: str
    state: Literal["done", "failed"]
    cover: str = ""
    report: str = ""
    duration: float | None = None
    seconds: float = 0.0
    loudness: float | None = None
    song_loudness: float | None = None
    true_peak: float | None = None
    transpose: int | None = None
    bpm: float | None = None
    song_key: str | None = None
    similarity: float | None = None
    verdict: str = ""
    warnings: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""


class Journal:
    """The outcomes of the batches that were run into one folder, newest last."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def read(self) -> Mapping[str, Outcome]:
        """The latest outcome of each identity. An incomplete last line is ignored."""
        found: dict[str, Outcome] = {}
        for fields in read_lines(self.path):
            try:
                outcome = Outcome(**{**fields, "warnings": tuple(fields["warnings"])})
            except (TypeError, KeyError):
                continue
            found[outcome.identity] = outcome
        return found

    def add(self, outcome: Outcome) -> None:
        """Append, safe on the disk when this returns."""
        append_line(self.path, asdict(outcome))
