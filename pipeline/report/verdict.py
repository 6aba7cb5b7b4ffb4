"""From figures to a verdict: a grade, what is wrong, which stage caused it, and what to do about it.

Four steps. `_measured` pairs each figure with its scale (`understudy.pipeline.report.grade`) and the stage that it
belongs to. `_causes` corrects that: an earlier stage may be the cause, since instruments in the separated vocal confuse
the pitch tracker, and a wrong pitch track makes the engine sing wrong notes; and a figure that only repeats another one
is left out. The grade follows from the losses; the stage that loses most is blamed. Each figure that loses more than
goes unnoticed becomes a finding: a sentence (`understudy.pipeline.report.words`), where to hear it, and one action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from understudy.pipeline.report.figures import Figures, ReportInputs
from understudy.pipeline.report.grade import AT_GOOD, SCALES, STAGES, Scale, Severity, grade_of, word_of
from understudy.pipeline.report.words import HEADLINES, Action, reported, words_for
from understudy.pipeline.values import stored

PART_STAGES = {
    "song": "separate",
    "original_vocals": "separate",
    "instrumental": "separate",
    "converted": "convert",
    "vocals": "finish",
    "cover": "remix",
}
_OF_SINGING = (
    "bleed", "leftover", "tracking_octaves", "tracking_agreement", "range", "on_note", "out_of_tune", "octave_errors",
    "unsung", "vocal_delay", "voice", "hiss", "brightness", "unsteadiness", "balance_shift",
)  # fmt: skip
"""Figures of which there is nothing to say where nobody sings."""
_AGAINST_OLD = ("balance_shift", "unsteadiness")
"""Figures that compare with the level of the separated vocal."""
_CERTAIN = 90.0
"""Percent of the grade that a fault of the program takes: a cover of another length, a silent one."""


@dataclass(frozen=True)
class Measured:
    """A figure on its scale. `value` is in the scale's unit, None where not measured, and `note` says why. `counts`:
    whether it takes its loss; not where it only repeats another figure."""

    scale: Scale
    stage: str
    value: float | None
    note: str = ""
    counts: bool = True

    @property
    def loss(self) -> float:
        return 0.0 if self.value is None or not self.counts else self.scale.loss(self.value)

    @property
    def verdict(self) -> Severity | Literal["unknown"]:
        return "unknown" if self.value is None else self.scale.verdict(self.value)


@stored
@dataclass(frozen=True)
class Weakness:
    """One weakness. `severity`: ``mind`` or ``wrong``. `stage`: the one that caused it. `sentence`: what is wrong, in
    everyday words; `action`: what to do about it. `at`: seconds at which it is audible. `loss`: percent of the grade
    that it takes. `measured`: the figure behind it, with its limit; empty where there is none."""

    severity: Severity
    stage: str
    figure: str
    sentence: str
    action: Action
    at: tuple[float, ...] = ()
    loss: float = 0.0
    measured: str = ""


@dataclass(frozen=True)
class Verdict:
    """`grade`: 0 to 100. `overall`: the same in a word, ``good``, ``mind`` or ``wrong``. `blame`: the stage to look at
    first, empty when all is good. `stages`: severity per stage. `measured`: all figures in graph order. `findings`:
    what takes most of the grade first."""

    grade: float
    overall: Severity
    blame: str
    headline: str
    reason: str
    stages: dict[str, Severity]
    measured: tuple[Measured, ...]
    findings: tuple[Weakness, ...]


def judge(figures: Figures, inputs: ReportInputs) -> Verdict:
    measured = tuple(_causes(tuple(_measured(figures, inputs)), figures))
    faults = tuple(_faults(figures))
    losses = [*((one.stage, one.loss) for one in measured), *((one.stage, one.loss) for one in faults)]
    grade = round(grade_of(loss for _, loss in losses), 1)
    overall = word_of(grade)
    by_stage = {stage: grade_of(loss for other, loss in losses if other == stage) for stage in STAGES}
    # small losses count together, and one of them has to be named
    least = AT_GOOD if overall == "good" else min(AT_GOOD, max(loss for _, loss in losses))
    nobody = any(one.scale.name == "singing" and one.verdict == "wrong" for one in measured)
    said = [
        _finding(one, figures, inputs)
        for one in measured
        if one.loss > 0 and one.loss >= least and not (nobody and one.scale.name in _OF_SINGING)
    ]
    findings = tuple(sorted((*faults, *said), key=lambda finding: (-finding.loss, STAGES.index(finding.stage))))
    return Verdict(
        grade,
        overall,
        "" if overall == "good" else min(by_stage, key=lambda stage: by_stage[stage]),
        HEADLINES[overall],
        findings[0].sentence if findings else "Nothing in it is likely to be noticed.",
        {stage: word_of(left) for stage, left in by_stage.items()},
        measured,
        findings,
    )


def _finding(one: Measured, figures: Figures, inputs: ReportInputs) -> Weakness:
    assert one.value is not None
    words = words_for(one.scale.name, one.value, one.stage, figures, inputs)
    severity: Severity = "wrong" if one.verdict == "wrong" else "mind"
    measured = one.scale.measured(one.value)
    return Weakness(severity, one.stage, one.scale.name, words.sentence, words.action, words.at, one.loss, measured)


def _faults(figures: Figures) -> Iterator[Weakness]:
    """Faults of the program, which have no scale."""

    def fault(stage: str, figure: str, sentence: str) -> Weakness:
        return Weakness("wrong", stage, figure, sentence, reported(), (), _CERTAIN)

    if figures.wrong_length:
        stage = min((PART_STAGES[name] for name in figures.wrong_length), key=STAGES.index)
        names = ", ".join(name.replace("_", " ") for name in figures.wrong_length)
        yield fault(stage, "length", f"Not as long as the song: {names}.")
    if figures.cover_loudness.silent and not figures.song_loudness.silent:
        yield fault("remix", "silence", "The cover is silent.")


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _measured(figures: Figures, inputs: ReportInputs) -> Iterable[Measured]:
    """Every figure in the order of the graph, with the stage that it belongs to."""

    def of(name: str, stage: str, value: float | None, note: str = "") -> Measured:
        return Measured(SCALES[name], stage, value, note)

    before, quality, mixture = figures.before, inputs.quality, figures.mixture
    balance, seconds = before.balance, max(before.duration, 1.0)
    nobody = "There is no singing to measure." if before.sung_share == 0 else "There is too little singing to measure."
    silent = "Nothing to tell apart: one of the two stems is silent."
    yield of("singing", "separate", _singing(figures, inputs), "The vocals are the user's own.")
    yield of("fit", "separate", _percent(quality.fit), silent)
    yield of("missing_of_song", "separate", quality.missing, silent)
    cutoff = quality.cutoffs.get("instrumental")
    yield of("cutoff", "separate", None if cutoff is None else cutoff / 1000, "It goes as high as the song.")
    yield of("bleed", "separate", None if quality.bleed is None else quality.bleed.estimate, silent)
    yield of("leftover", "separate", figures.leftover, silent)
    tracked, sung = before.tracking, before.intonation
    # Praat checks the pitch track on the original vocal: where they disagree, the engine got wrong notes to sing
    yield of("tracking_octaves", "pitch", _percent(tracked.octave_errors) if tracked.enough else None, nobody)
    yield of("tracking_agreement", "pitch", _percent(tracked.on_note) if tracked.enough else None, nobody)
    alone = "There is no band to be in key with."
    yield of("off_key", "transpose", None if balance.before is None else float(off_key(inputs)), alone)
    beyond = before.beyond
    yield of("range", "transpose", None if beyond is None else abs(beyond), "The voice's range is not known.")
    yield of("on_note", "convert", _percent(sung.on_note) if sung.enough else None, nobody)
    yield of("out_of_tune", "convert", abs(sung.bias) if sung.enough else None, nobody)
    yield of("octave_errors", "convert", _percent(sung.octave_errors) if sung.enough else None, nobody)
    yield of("unsung", "convert", _percent(sung.unsung) if before.pitched >= 1.0 else None, nobody)
    missing, lost = _percent(balance.missing), _percent(balance.missing_finished)
    finishing = missing is not None and lost is not None and lost > 2 * missing + 1
    yield of("missing", "finish" if finishing else "convert", lost if finishing else missing, nobody)
    late, stage = _vocal_delay(figures)
    yield of("vocal_delay", stage, late, "The melodies don't fit at any delay.")
    likeness = before.likeness
    yield of("voice", "convert", _percent(likeness.way), likeness.note)
    converted, finished = (len(before.faults[part].clicks or ()) for part in ("converted", "vocals"))
    yield of("clicks", _later(converted, finished, 2 * converted), 60 * max(converted, finished) / seconds)
    own, placed = _hiss(balance.hiss)
    yield of("hiss", _later(own, placed, own + 6), max(own, placed) if balance.hiss else None, nobody)
    bright = balance.brightness
    yield of("brightness", "convert", None if bright is None else abs(bright), nobody)
    yield of("crests", "convert", (before.faults["converted"].crests or 0) / seconds)
    yield of("unsteadiness", "finish", balance.unsteadiness, nobody)
    shift = None if figures.vocal_level is None else abs(figures.vocal_level)
    yield of("balance_shift", "remix", shift, "There is no vocal or no instrumental to compare.")
    loud = figures.cover_loudness
    target = inputs.loudness.target if inputs.wanted_lufs is None else inputs.wanted_lufs
    # what the remix left softer so that the dynamics stay is a figure of its own
    shortfall = inputs.loudness.shortfall
    difference = None if loud.silent or target is None else abs(loud.integrated + shortfall - target)
    yield of("loudness_difference", "remix", difference, "One of the two is silent.")
    yield of("shortfall", "remix", shortfall)
    yield of("limiting", "remix", inputs.loudness.reduction_heavy)
    yield of("distortion", "remix", mixture.residual, "The parts are silent.")
    yield of("true_peak", "remix", loud.true_peak)
    yield of("clipped", _clipping_stage(figures), figures.faults["cover"].clipped / seconds)
    yield of("bad_samples", _bad_stage(figures), float(sum(faults.bad_samples for faults in figures.faults.values())))
    late_band = None if mixture.delay is None else abs(1000 * mixture.delay / before.rate)
    yield of("delay", "remix", late_band, "The instrumental is too quiet to tell.")


def _singing(figures: Figures, inputs: ReportInputs) -> float | None:
    """Whether what the separator found is a singer, in dB (see the scale); the user's own vocals are, unless silent."""
    before = figures.before
    if before.sung_share == 0:
        return SCALES["singing"].wrong - 6
    if inputs.separation is None or before.balance.level is None:
        return None
    known = before.tracking.on_note if before.tracking.enough else 0.0
    return before.balance.level - 15 * (1 - known)


def _hiss(levels: Mapping[str, float]) -> tuple[float, float]:
    """Of the conversion and the finished vocal, less what the original vocal has beyond a clean one: cymbals in it are
    no fault of the engine."""
    clean = SCALES["hiss"].best
    inherited = max(0.0, levels.get("original_vocals", clean) - clean)
    return levels.get("converted", clean) - inherited, levels.get("vocals", clean) - inherited


def off_key(inputs: ReportInputs) -> int:
    """Semitones between the keys of the vocal and of the band, 0 to 6; of several voices the farthest."""
    moved = [singer.transpose for singer in inputs.singers] or [inputs.transposition.semitones]
    return max(min((semitones - inputs.key) % 12, (inputs.key - semitones) % 12) for semitones in moved)


def _vocal_delay(figures: Figures) -> tuple[float | None, str]:
    """The largest delay that one stage adds, in ms, and the stage."""
    before, mixed = figures.before, figures.mixture.vocal_delay
    delays = {
        "convert": before.vocal_delay,
        "finish": before.finish_delay,
        "remix": None if mixed is None else mixed / before.rate,
    }
    known = {stage: abs(1000 * delay) for stage, delay in delays.items() if delay is not None}
    stage = max(known, key=lambda stage: known[stage], default="convert")
    return known.get(stage), stage


def _later(before: float, after: float, limit: float) -> str:
    """Where a fault of the vocal arose: in the finish if there is more of it `after` than the `limit`."""
    return "finish" if after > max(before, limit) else "convert"


def _clipping_stage(figures: Figures) -> str:
    """A song that is clipped hands it on."""
    return "separate" if 2 * figures.faults["song"].clipped >= figures.faults["cover"].clipped else "remix"


def _bad_stage(figures: Figures) -> str:
    order = ("song", "original_vocals", "instrumental", "converted", "vocals", "cover")
    return next((PART_STAGES[name] for name in order if figures.faults[name].bad_samples), "remix")


def _causes(measured: tuple[Measured, ...], figures: Figures) -> Iterator[Measured]:
    """The figures with the stages that caused them; what only repeats another figure doesn't count."""
    of = {one.scale.name: one for one in measured}
    foreign = any(of[name].verdict in ("mind", "wrong") for name in ("singing", "fit", "missing_of_song"))
    bleeding = foreign or of["bleed"].verdict in ("mind", "wrong")
    doubtful = any(of[name].loss > AT_GOOD for name in ("tracking_agreement", "tracking_octaves"))
    late = of["vocal_delay"].loss > AT_GOOD
    strained = of["range"].loss > AT_GOOD
    moved = of["delay"].loss > AT_GOOD or (late and of["vocal_delay"].stage == "remix")
    gone = (of["missing"].value or 0) > 50
    for one in measured:
        name = one.scale.name
        if moved and name in ("distortion", "balance_shift", "leftover"):
            yield replace(one, counts=False)
        elif name in ("tracking_agreement", "tracking_octaves") and bleeding:
            yield replace(one, stage="separate")
        elif name in ("on_note", "octave_errors", "out_of_tune", "unsung"):
            stage = "separate" if bleeding else "pitch" if doubtful and name != "unsung" else one.stage
            yield replace(one, stage=stage, counts=not (gone or (late and of["vocal_delay"].stage == "convert")))
        elif name in ("voice", "hiss", "brightness", "balance_shift", "unsteadiness", "vocal_delay") and gone:
            yield replace(one, counts=False)
        elif name == "voice" and strained:
            yield replace(one, stage="transpose")
        elif (foreign and name in ("voice", "brightness", "vocal_delay")) or (bleeding and name in _AGAINST_OLD):
            yield replace(one, stage="separate")
        else:
            yield one
