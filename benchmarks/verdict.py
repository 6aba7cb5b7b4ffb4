"""Does the verdict order covers rightly, and name the stage that is to blame? On covers with known faults.

    python benchmarks/verdict.py                                         # excerpts of the demo song
    python benchmarks/verdict.py SONGS --voices VOICES --split SPLIT.json --set test --save rows.json

SONGS is a folder as `benchmarks/leftover.py` takes it: a folder per song with `vocals` and files of the band.
VOICES holds a folder with recordings per voice. SPLIT.json has the names of ``songs`` and ``voices`` by ``development``
and ``test``. Each take is `--seconds` of a song, sung by the next voice, and spoilt in all ways of
`benchmarks/faulty_covers.py`.

A pair is two covers of one take of which one is worse by construction: no fault and a fault, a fault in two degrees, a
ruined cover and one with a slight fault. It is right if the worse one has the lower grade; equal grades are wrong. The
stage is right if it is the one in which the fault was made, in covers that the verdict doesn't call good. A slight
fault may weigh less than what is wrong with the take without a fault: covers that a fault makes worse by `PLAIN` points
are also counted alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.faulty_covers import FAULTS, Fault, Take, cover, scratch  # noqa: E402
from benchmarks.leftover import songs  # noqa: E402
from understudy import Session  # noqa: E402
from understudy.context import Context  # noqa: E402
from understudy.pipeline.report.figures import measure_figures  # noqa: E402
from understudy.pipeline.report.verdict import judge  # noqa: E402
from understudy.voices.voice import Voice  # noqa: E402

RECORDINGS = 5
"""Of each voice at most."""
PLAIN = 20.0
"""Points by which a fault makes a cover plainly worse."""
SAME = 5.0
"""Points that two covers of equal quality may be apart."""


@dataclass(frozen=True)
class Row:
    """A cover: what was done to it, and the verdict. `figures`: by name."""

    take: str
    fault: str
    degree: float
    grade: float
    word: str
    blame: str
    findings: tuple[tuple[str, str, str], ...]
    figures: dict[str, float | None]


def takes(options: argparse.Namespace, voices: Sequence[Voice], folder: Path) -> Iterator[Take]:
    """The most sung `--seconds` of each song; of the demo song, one excerpt after the other."""
    places = [
        place for place in sorted(options.songs.iterdir()) if place.is_dir() and chosen(options, "songs", place.name)
    ]
    found = [song for place in places or [options.songs] for song in songs(place)]
    number = 0
    for place, (name, vocals, band, rate) in enumerate(found):
        size = round(options.seconds * rate)
        power = np.concatenate(([0.0], np.cumsum((vocals**2).sum(axis=0), dtype=np.float64)))
        if len(found) > 1:
            starts = [int(np.argmax(power[size:] - power[:-size])) if len(power) > size + 1 else 0]
            other = found[(place + 1) % len(found)][1]
        else:
            starts = list(range(0, vocals.shape[1] - size + 1, size))
            other = np.roll(vocals, -size, axis=1)
        for start in starts:
            excerpt = slice(start, start + size)
            sung = vocals[:, excerpt]
            elsewhere = np.resize(other[:, : sung.shape[1]], sung.shape)
            if len(found) == 1:
                elsewhere = other[:, excerpt]
            voice, wrong = voices[2 * number % len(voices)], voices[(2 * number + 1) % len(voices)]
            label = f"{name} {start / rate:.0f} s ({voice.name})"
            yield Take(
                label, rate, sung, band[:, excerpt], voice, wrong, elsewhere,
                number % 2 == 1, scratch(folder / f"take {number}"),
            )  # fmt: skip
            number += 1


def chosen(options: argparse.Namespace, kind: str, name: str) -> bool:
    """Whether a song or voice is of the set, and among those that are named."""
    if options.split and name not in json.loads(options.split.read_text())[kind][options.set]:
        return False
    return not options.only or kind == "voices" or name in options.only


def rated(take: Take, fault: Fault, degree: float) -> Row:
    inputs = cover(take, fault.edit(take, degree))
    figures = measure_figures(Context(take.folder), inputs)
    verdict = judge(figures, inputs)
    return Row(
        take.name,
        fault.name,
        degree,
        verdict.grade,
        verdict.overall,
        verdict.blame,
        tuple((finding.severity, finding.stage, finding.sentence) for finding in verdict.findings),
        {one.scale.name: one.value for one in verdict.measured},
    )


def pairs(rows: Sequence[Row]) -> Iterator[tuple[str, Row, Row]]:
    """(kind of pair, the better cover, the worse one) of each take."""
    for name in dict.fromkeys(row.take for row in rows):
        of = {(row.fault, row.degree): row for row in rows if row.take == name}
        for fault in (fault for fault in FAULTS if fault.stage):
            covers = [of[fault.name, degree] for degree in fault.degrees if (fault.name, degree) in of]
            for covered in covers:
                yield f"none, {fault.name}", of["none", 0], covered
            if fault.ordered:
                for better, worse in pairwise(covers):
                    yield fault.name, better, worse
        slight = [of[key] for fault in FAULTS if fault.slight and (key := (fault.name, fault.degrees[0])) in of]
        ruined = [of[key] for fault in FAULTS if fault.ruins and (key := (fault.name, fault.degrees[-1])) in of]
        for better in slight:
            for worse in ruined:
                if better.fault != worse.fault:
                    yield "slight, ruined", better, worse


def tell(rows: Sequence[Row]) -> None:
    """The tables."""
    stages = {fault.name: fault.stage for fault in FAULTS}
    found = list(pairs(rows))
    right = {kind: [better.grade > worse.grade for one, better, worse in found if one == kind] for kind, *_ in found}
    print(f"\n{'fault':22}{'none above it':>16}{'degrees':>12}{'stage':>10}{'found':>9}   grades by degree, mean")
    print(f"{'none':22}{'':47}   {_mean(rows, 'none', 0):5.1f}")
    named: list[bool] = []
    for fault in FAULTS[1:]:
        mine = [row for row in rows if row.fault == fault.name]
        if not mine:
            continue
        blamed = [row.blame == fault.stage for row in mine if row.word != "good"] if fault.stage else []
        named += blamed
        called = [row.word != "good" for row in mine]
        grades = " ".join(f"{_mean(rows, fault.name, degree):5.1f}" for degree in fault.degrees)
        print(
            f"{fault.name:22}{_share(right.get(f'none, {fault.name}', [])):>16}{_share(right.get(fault.name, [])):>12}"
            f"{_share(blamed):>10}{_share(called):>9}   {grades}"
        )
    within = [one for kind, ones in right.items() if kind != "slight, ruined" for one in ones]
    print(f"\n{len(rows)} covers of {len({row.take for row in rows})} takes")
    print(f"pairs of one fault ordered rightly: {_share(within)}; slight and ruined: {_share(right['slight, ruined'])}")
    none = {row.take: row.grade for row in rows if row.fault == "none"}
    plain = [row for row in rows if stages[row.fault] and row.grade <= none[row.take] - PLAIN]
    told = [row.blame == stages[row.fault] for row in plain]
    print(f"stage named rightly: {_share(named)}; in covers worse by {PLAIN:.0f} points: {_share(told)}")
    clean = [row for row in rows if not stages[row.fault]]
    print(f"covers without a fault called good: {_share([row.word == 'good' for row in clean])}")
    of = {(row.take, row.fault): row.grade for row in clean}
    same = [abs(grade - of[take, "none"]) <= SAME for (take, fault), grade in of.items() if fault == "quiet song"]
    print(f"quiet songs within {SAME:.0f} points of loud ones: {_share(same)}")


def _share(ones: Sequence[bool]) -> str:
    return f"{sum(ones)}/{len(ones)} {100 * np.mean(ones):3.0f} %" if ones else "-"


def _mean(rows: Sequence[Row], fault: str, degree: float) -> float:
    return float(np.mean([row.grade for row in rows if (row.fault, row.degree) == (fault, degree)] or [np.nan]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, nargs="?", default=ROOT / "demo" / "stems")
    parser.add_argument("--voices", type=Path, help="a folder per voice")
    parser.add_argument("--split", type=Path)
    parser.add_argument("--set", choices=("development", "test"), default="test")
    parser.add_argument("--seconds", type=float, default=11.0)
    parser.add_argument("--only", nargs="+", help="names of songs")
    parser.add_argument("--faults", nargs="+", help="names of faults")
    parser.add_argument("--save", type=Path, help="a JSON file with all verdicts")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="understudy-") as temporary:
        folder = Path(temporary)
        session = Session(voices=folder / "voices", cache=folder / "cache")
        for name, files in _recordings(options):
            session.voices.add(name, [str(path) for path in files[:RECORDINGS]], consent="granted")
        voices = [session.voices.get(name) for name, _ in _recordings(options)]
        for take in takes(options, voices, folder):
            for fault in FAULTS:
                if options.faults and fault.name not in ("none", *options.faults):
                    continue
                for degree in fault.degrees:
                    rows.append(rated(take, fault, degree))
                    print(f"{take.name:40} {fault.name:20} {degree:7.2f} {rows[-1].grade:6.1f} {rows[-1].word:6}"
                          f"{rows[-1].blame}", flush=True)  # fmt: skip
    tell(rows)
    if options.save:
        options.save.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def _recordings(options: argparse.Namespace) -> list[tuple[str, list[Path]]]:
    """By voice; without folders, the demo's voice and the singer of the demo song."""
    if options.voices is None:
        return [
            ("demo", sorted((ROOT / "demo" / "voice").glob("*.flac"))),
            ("singer", [ROOT / "demo/stems/vocals.m4a"]),
        ]
    places = [place for place in sorted(options.voices.iterdir()) if place.is_dir()]
    return [(place.name, sorted(place.iterdir())) for place in places if chosen(options, "voices", place.name)]


if __name__ == "__main__":
    main()
