"""Statistics over the rows of an evaluation: a figure per separator and stem, and comparisons of separators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from understudy.pipeline.evaluation.run import Row

STEM_ORDER = ("vocals", "instrumental", "drums", "bass", "guitar", "piano", "other")
FEW = 5
"""Fewer songs than this have no interval: it would mean little."""

_DRAWS, _SEED = 2000, 1


@dataclass(frozen=True)
class Column:
    """`field`: of `understudy.pipeline.evaluation.score.Figures`. `over`: how songs become one figure."""

    field: str
    title: str
    over: Literal["mean", "median"]
    words: str


COLUMNS = (
    Column(
        "sdr", "SDR", "mean", "Signal to distortion of the whole song as in the Music Demixing Challenge; mean of songs"
    ),
    Column("si_sdr", "SI-SDR", "median", "The same whatever the gain; median of songs"),
    Column("bss_sdr", "SDR v4", "median", "BSSEval v4: median of the seconds, then of songs"),
    Column("sir", "SIR v4", "median", "Signal to interference: how little of other stems is in it"),
    Column("sar", "SAR v4", "median", "Signal to artefacts: how little is in it that is in no stem"),
    Column("isr", "ISR v4", "median", "Image to spatial distortion: place and colour"),
)


@dataclass(frozen=True)
class Summary:
    """Of one candidate and stem: `values` by the field of `COLUMNS`, dB, None where no song has it. `songs`: how many
    have an SDR. `low` and `high`: the 95 % bootstrap interval of the mean SDR, None with fewer than `FEW` songs."""

    candidate: str
    stem: str
    songs: int
    values: dict[str, float | None]
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Speed:
    """Of one candidate: `done` and `failed` songs; median `rtf`; `seconds` per song, mean; largest `peak_mib`."""

    candidate: str
    done: int
    failed: int
    seconds: float | None
    rtf: float | None
    peak_mib: float | None


@dataclass(frozen=True)
class Comparison:
    """SDR of `candidate` less that of `against`, dB, by song that both separated; `mean` with its 95 % bootstrap
    interval from `low` to `high`, None with fewer than `FEW` songs. `better`: in how many songs it is ahead by more
    than 0.1 dB, `worse` likewise."""

    candidate: str
    against: str
    stem: str
    differences: dict[str, float]
    mean: float
    low: float | None
    high: float | None
    better: int
    worse: int


def candidates_of(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.candidate for row in rows))


def stems_of(rows: Iterable[Row]) -> list[str]:
    there = {stem for row in rows for stem in row.stems}
    return [stem for stem in STEM_ORDER if stem in there]


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """One for each candidate and stem, candidates in the order of the rows."""
    found = []
    for candidate in candidates_of(rows):
        for stem in stems_of(rows):
            figures = [row.stems[stem] for row in rows if row.candidate == candidate and stem in row.stems]
            if not figures:
                continue
            values: dict[str, float | None] = {}
            for column in COLUMNS:
                there = [value for one in figures if (value := getattr(one, column.field)) is not None]
                average = np.mean if column.over == "mean" else np.median
                values[column.field] = float(average(there)) if there else None
            ratios = [one.sdr for one in figures if one.sdr is not None]
            low, high = interval(ratios)
            found.append(Summary(candidate, stem, len(ratios), values, low, high))
    return found


def speeds(rows: Sequence[Row]) -> list[Speed]:
    found = []
    for candidate in candidates_of(rows):
        mine = [row for row in rows if row.candidate == candidate]
        done = [row for row in mine if row.state == "done"]
        seconds = [row.seconds for row in done if row.seconds is not None]
        rtf = [row.rtf for row in done if row.rtf is not None]
        peaks = [row.peak_mib for row in done if row.peak_mib is not None]
        mean, median = float(np.mean(seconds)) if seconds else None, float(np.median(rtf)) if rtf else None
        found.append(Speed(candidate, len(done), len(mine) - len(done), mean, median, max(peaks, default=None)))
    return found


def comparisons(rows: Sequence[Row]) -> list[Comparison]:
    """Every candidate but the first against the first, by stem."""
    first, *rest = candidates_of(rows) or [""]
    found = []
    for candidate in rest:
        for stem in stems_of(rows):
            base, other = by_song(rows, first, stem), by_song(rows, candidate, stem)
            differences = {song: other[song] - base[song] for song in base if song in other}
            if not differences:
                continue
            values = list(differences.values())
            low, high = interval(values)
            better, worse = sum(value > 0.1 for value in values), sum(value < -0.1 for value in values)
            mean = float(np.mean(values))
            found.append(Comparison(candidate, first, stem, differences, mean, low, high, better, worse))
    return found


def interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """95 % of the means of as many values drawn with replacement (Efron 1979); always the same draws. None with fewer
    than `FEW` values."""
    if len(values) < FEW:
        return None, None
    drawn = np.random.default_rng(_SEED).integers(0, len(values), (_DRAWS, len(values)))
    means = np.asarray(values, np.float64)[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def by_song(rows: Sequence[Row], candidate: str, stem: str, field: str = "sdr") -> dict[str, float]:
    """The figure of each song that has it."""
    return {
        row.song: value
        for row in rows
        if row.candidate == candidate and stem in row.stems and (value := getattr(row.stems[stem], field)) is not None
    }
