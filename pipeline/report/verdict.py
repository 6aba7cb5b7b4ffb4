"""From figures to a verdict: what is good, what to mind, what is wrong, and which stage caused it.

Three steps. `_measured` pairs each figure with its limit (`understudy.pipeline.report.limits`) and the stage that it
belongs to. `_findings` turns each figure beyond its limit into a sentence, some advice and a cause, which may be an
earlier stage than the one that the figure belongs to: instruments in the separated vocal confuse the pitch tracker, and
a wrong pitch track makes the engine sing wrong notes. The verdict is that of the worst finding; of equally bad ones the
earliest stage is named, because what it spoils the later ones can't repair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from understudy.pipeline.report.figures import LEFTOVER_ERROR, Figures, ReportInputs
from understudy.pipeline.report.limits import LIMITS, STAGES, Limit, Severity
from understudy.pipeline.separation.advice import better_than, remarks
from understudy.wording import clock

SEVERITIES: tuple[Severity, ...] = ("good", "mind", "wrong")

PART_STAGES = {
    "song": "separate",
    "original_vocals": "separate",
    "instrumental": "separate",
    "converted": "convert",
    "vocals": "finish",
    "cover": "remix",
}


@dataclass(frozen=True)
class Measured:
    """A figure against its limit. `value` is in the limit's unit, None where not measured, and `note` says why."""

    limit: Limit
    stage: str
    value: float | None
    note: str = ""

    @property
    def verdict(self) -> Severity | Literal["unknown"]:
        return "unknown" if self.value is None else self.limit.verdict(self.value)


@dataclass(frozen=True)
class Finding:
    """One problem. `severity`: ``mind`` or ``wrong``. `stage`: the one that caused it. `sentence`: what is wrong;
    `advice`: what to do about it. `at`: seconds at which it is audible."""

    severity: Severity
    stage: str
    figure: str
    sentence: str
    advice: str
    at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """`overall`: ``good``, ``mind`` or ``wrong``. `blame`: the stage to look at first, empty when all is good.
    `stages`: severity per stage. `measured`: all figures in graph order. `findings`: worst first."""

    overall: Severity
    blame: str
    headline: str
    reason: str
    stages: dict[str, Severity]
    measured: tuple[Measured, ...]
    findings: tuple[Finding, ...]


def judge(figures: Figures, inputs: ReportInputs) -> Verdict:
    measured = tuple(_measured(figures, inputs))
    findings = sorted(
        _findings(measured, figures, inputs),
        key=lambda finding: (-SEVERITIES.index(finding.severity), STAGES.index(finding.stage)),
    )
    stages = {stage: _worst(finding.severity for finding in findings if finding.stage == stage) for stage in STAGES}
    overall = _worst(stages.values())
    first = findings[0] if findings else None
    headline = {
        "good": "This cover is good",
        "mind": "This cover is usable, with something to mind",
        "wrong": "Something is wrong with this cover",
    }[overall]
    reason = first.sentence if first else "All figures are where they should be."
    return Verdict(overall, first.stage if first else "", headline, reason, stages, measured, tuple(findings))


def _worst(severities: Iterable[Severity]) -> Severity:
    found = set(severities)
    return next((severity for severity in reversed(SEVERITIES) if severity in found), "good")


def _percent(share: float) -> float:
    return 100 * share


def _measured(figures: Figures, inputs: ReportInputs) -> Iterable[Measured]:
    """Every figure in the order of the graph, with the stage that it belongs to."""

    def of(name: str, stage: str, value: float | None, note: str = "") -> Measured:
        return Measured(LIMITS[name], stage, value, note)

    nobody = (
        "There is no singing to measure."
        if figures.before.sung_share == 0
        else "There is too little singing to measure."
    )
    silent = "Nothing to tell apart: one of the two stems is silent."
    for name, level in (("bleed", inputs.quality.bleed), ("residue", inputs.quality.residue)):
        yield of(name, "separate", None if level is None else level.estimate, silent)
    tracked, sung = figures.before.tracking, figures.before.intonation
    # Praat checks the pitch track on the original vocal: where they disagree, the engine got wrong notes to sing
    yield of("tracking_agreement", "pitch", _percent(tracked.on_note) if tracked.enough else None, nobody)
    yield of("tracking_octaves", "pitch", _percent(tracked.octave_errors) if tracked.enough else None, nobody)
    expected = figures.before.pitched >= 1.0
    yield of("on_note", "convert", _percent(sung.on_note) if sung.enough else None, nobody)
    yield of("octave_errors", "convert", _percent(sung.octave_errors) if sung.enough else None, nobody)
    yield of("unsung", "convert", _percent(sung.unsung) if expected else None, nobody)
    missing = figures.before.balance.missing
    yield of("missing", "convert", None if missing is None else _percent(missing), nobody)
    lost = figures.before.balance.missing_finished
    swallowed = None if lost is None or missing is None else _percent(max(0.0, lost - missing))
    # late or early notes would also count as wrong notes: see `delayed` in `_explain`
    delay = figures.before.vocal_delay
    yield of(
        "vocal_delay", "convert", None if delay is None else abs(1000 * delay), "The melodies don't fit at any delay."
    )
    likeness = figures.before.likeness
    yield of("voice", "convert", likeness.to_voice, likeness.note)
    lead = None
    if likeness.to_voice is not None and likeness.to_singer is not None:
        lead = likeness.to_voice - likeness.to_singer
    yield of("voice_lead", "convert", lead, likeness.note)
    minutes = max(figures.before.duration / 60, 1 / 60)
    yield of("clicks", _click_stage(figures), max(_clicks(figures)) / minutes)
    yield of("missing_finished", "finish", swallowed, nobody)
    yield of("unsteadiness", "finish", figures.before.balance.unsteadiness, nobody)
    shift = None if figures.vocal_level is None else abs(figures.vocal_level)
    unhinted = "Only the embedded separator's mask tells how much is left."
    yield of("leftover", "separate", figures.leftover, unhinted)
    bright = figures.before.balance.brightness
    yield of("brightness", "convert", None if bright is None else abs(bright), nobody)
    yield of("balance_shift", "remix", shift, "There is no vocal or no instrumental to compare.")
    loud, target = figures.cover_loudness, figures.song_loudness.integrated
    target = target if inputs.wanted_lufs is None else inputs.wanted_lufs
    measurable = not loud.silent and not figures.song_loudness.silent
    # what the remix left softer so that the dynamics stay is a figure of its own
    shortfall = inputs.loudness.shortfall
    yield of(
        "loudness_difference",
        "remix",
        abs(loud.integrated + shortfall - target) if measurable else None,
        "One of the two is silent.",
    )
    yield of("shortfall", "remix", shortfall)
    yield of("limiting", "remix", inputs.loudness.reduction_heavy)
    yield of("true_peak", "remix", loud.true_peak)
    yield of("clipped", "remix", float(figures.faults["cover"].clipped))
    yield of("bad_samples", _bad_stage(figures), float(sum(faults.bad_samples for faults in figures.faults.values())))
    mixture = figures.mixture
    yield of(
        "delay",
        "remix",
        None if mixture.delay is None else float(abs(mixture.delay)),
        "The instrumental is too quiet to tell.",
    )


def _clicks(figures: Figures) -> tuple[int, int]:
    return len(figures.faults["converted"].clicks or ()), len(figures.faults["vocals"].clicks or ())


def _click_stage(figures: Figures) -> str:
    converted, finished = _clicks(figures)
    return "finish" if finished > 2 * converted else "convert"


def _bad_stage(figures: Figures) -> str:
    order = ("song", "original_vocals", "instrumental", "converted", "vocals", "cover")
    return next((PART_STAGES[name] for name in order if figures.faults[name].bad_samples), "remix")


def _findings(measured: tuple[Measured, ...], figures: Figures, inputs: ReportInputs) -> Iterable[Finding]:
    if figures.wrong_length:
        stage = min((PART_STAGES[name] for name in figures.wrong_length), key=STAGES.index)
        names = ", ".join(name.replace("_", " ") for name in figures.wrong_length)
        yield Finding(
            "wrong", stage, "length", f"Not as long as the song: {names}.",
            "This is a fault of the program; please report it with this page.",
        )  # fmt: skip
    if figures.cover_loudness.silent and not figures.song_loudness.silent:
        yield Finding(
            "wrong", "remix", "silence", "The cover is silent.", "This is a fault of the program; please report it."
        )
    if figures.before.sung_share == 0:
        yield _nobody_sings(figures)
    for remark in remarks(inputs.quality, inputs.separation):
        if remark.about in ("cutoffs", "missing"):
            yield Finding("mind", "separate", remark.about, remark.sentence, remark.advice)
    values = {one.limit.name: one for one in measured}
    # Two faults explain others: instruments in the vocal mislead the pitch tracker and the engine, and a late vocal is
    # never on the note. Findings that follow from these blame their cause or are left out.
    bleeding, delayed = (values[name].verdict in ("mind", "wrong") for name in ("bleed", "vocal_delay"))
    for one in measured:
        if one.verdict in ("mind", "wrong") and one.value is not None:
            finding = _explain(one, one.value, figures, inputs, bleeding, delayed)
            if finding is not None:
                yield finding


def _nobody_sings(figures: Figures) -> Finding:
    if figures.before.vocal_silent:
        return Finding(
            "wrong", "separate", "sung_share", "No singing was found: the separated vocal is silent.",
            "If somebody does sing in this song, try another separation model or give the vocal with --vocals.",
        )  # fmt: skip
    return Finding(
        "wrong", "pitch", "sung_share", "The separated vocal makes sound, but no sung note was found in it.",
        "If it is sung rather than spoken or rapped, try another pitch tracker.",
    )  # fmt: skip


def _spans(places: Iterable[tuple[float, float]]) -> str:
    return ", ".join(f"{clock(first)}–{clock(last)}" for first, last in places)


def _voice_name(figures: Figures) -> str:
    """The voice whose likeness was measured: by name where several sing."""
    before = figures.before
    name = next((name for name, one in before.likenesses.items() if one == before.likeness), None)
    return f"the voice {name}" if name else "the voice"


def _explain(
    one: Measured, value: float, figures: Figures, inputs: ReportInputs, bleeding: bool, delayed: bool
) -> Finding | None:
    """The finding for one figure that isn't good; None where the finding of another figure covers it."""
    sung, balance, likeness = figures.before.intonation, figures.before.balance, figures.before.likeness
    separation = "Try a stronger separation model, or give your own vocal with --vocals and --instrumental."
    stage, severity = one.stage, one.limit.verdict(value)
    at: tuple[float, ...] = ()
    match one.limit.name:
        case "bleed" | "residue" as name:
            left = figures.leftover
            if name == "residue" and left is not None and LIMITS["leftover"].verdict(left) != "good":
                return None  # what is left in the cover itself says more
            remark = next((one for one in remarks(inputs.quality, inputs.separation) if one.about == name), None)
            if remark is None:
                return None
            effect = "The new voice then sings along with the instruments. " if name == "bleed" else ""
            own = "give your own vocal with --vocals and --instrumental."
            better = f"{remark.advice} Or {own}" if remark.advice else f"If you have them, {own}"
            sentence, advice, at = remark.sentence, f"{effect}{better}", inputs.quality.bleed_at
        case "tracking_agreement" | "tracking_octaves":
            octaves = one.limit.name == "tracking_octaves"
            if octaves:
                sentence = f"The pitch track jumps by an octave in {value:.0f} % of the singing."
            else:
                sentence = f"Two pitch trackers agree on only {value:.0f} % of the original singing."
            advice = "Harmonies do that. If there is only one singer, try another pitch tracker or a median of several."
            at = figures.before.tracking.worst
            if bleeding and not octaves:  # the stem is to blame, not the tracker that got it as input
                stage, advice = "separate", f"Instruments in the separated vocal confuse them. {separation}"
                severity = "mind"
        case "on_note" | "octave_errors" if delayed:
            return None  # the delay is the finding
        case "on_note":
            sentence = f"Only {value:.0f} % of the notes are sung where they should be."
            if abs(sung.bias) > 30:
                way = "high" if sung.bias > 0 else "low"
                sentence = (
                    f"The new vocal sings about {abs(sung.bias):.0f} cents too {way} ({value:.0f} % on the note)."
                )
            advice, at = (
                "Listen to the moments below; the plot of the melody shows where the two lines part.",
                sung.worst,
            )
            stage, advice = _cause_of_wrong_notes(figures, bleeding, stage, advice)
        case "octave_errors":
            sentence = f"{value:.1f} % of the singing is an octave off."
            advice, at = "Set --transpose by hand if a passage is out of the voice's range.", sung.worst
            stage, advice = _cause_of_wrong_notes(figures, bleeding, stage, advice)
        case "unsung":
            if (balance.missing or 0) > 0.05:
                return None  # a silent vocal has no pitch either: "missing" says so
            sentence = f"In {value:.0f} % of the sung notes the new vocal has no clear pitch."
            advice = (
                "It sounds hoarse or whispered there. A lower --index-rate or a --transpose nearer to the voice helps."
            )
            if bleeding:
                stage, advice = "separate", f"Instruments in the separated vocal are sung as noise. {separation}"
        case "missing":
            sentence = f"{value:.0f} % of the singing is missing: the new vocal is silent there."
            if value > 95:
                sentence = "The new vocal is silent."
            advice, at = (
                "Run the conversion again with another engine or voice; if it stays, report it.",
                balance.missing_at,
            )
        case "missing_finished":
            sentence = (
                f"{value:.0f} % of the singing was lost after the conversion: the finished vocal is silent there."
            )
            advice, at = "This is a fault of the program; please report it with this page.", balance.missing_at
        case "vocal_delay":
            side = "behind" if (figures.before.vocal_delay or 0) > 0 else "ahead of"
            sentence = f"The new vocal is {value:.0f} ms {side} the original."
            advice = "This is a fault of the engine; please report it."
        case "voice":
            sentence = f"The new vocal resembles {_voice_name(figures)} less than it should (likeness {value:.2f})."
            advice = "More and cleaner recordings of the voice help most; then a higher --index-rate."
            if (balance.missing or 0) > 0.5:
                return None
        case "voice_lead":
            sentence = f"The new vocal is still nearer to the original singer than to {_voice_name(figures)}."
            advice = "A higher --index-rate and more recordings pull it towards the voice."
            if likeness.to_voice is not None and LIMITS["voice"].verdict(likeness.to_voice) == "good":
                severity = "mind"  # the two voices are alike
            if likeness.before is not None and likeness.to_voice is not None:
                sentence += f" The likeness to the voice went from {likeness.before:.2f} to {likeness.to_voice:.2f}."
            if (balance.missing or 0) > 0.5:
                return None
        case "clicks":
            part = "vocals" if stage == "finish" else "converted"
            at = (figures.faults[part].clicks or ())[:5]
            sentence, advice = (
                f"The new vocal clicks about {value:.0f} times a minute.",
                "Please report it with this page.",
            )
        case "unsteadiness":
            sentence = f"The new vocal's loudness wanders by {value:.1f} dB against the original's."
            advice = "It will be too loud here and too quiet there; check the level following of the finish stage."
            if (balance.missing_finished or 0) > 0.05:
                return None
        case "leftover":
            places = balance.leftover_at
            where = f", most of all around {_spans(places)}" if places else ""
            sentence = (
                f"The original singer is still heard under the new vocal{where}: about {-value:.0f} dB below it "
                f"(± {LEFTOVER_ERROR:.0f} dB)."
            )
            preset = better_than(inputs.separation)
            advice = "A cleaner separation helps"
            if preset:
                advice += f": understudy models fetch --preset {preset}, then --preset {preset}"
            advice += ", or your own vocal with --vocals and --instrumental. --singer-removal 1 removes a little more."
            at = tuple(start for start, _ in places)
        case "brightness":
            way = "brighter" if (balance.brightness or 0) > 0 else "duller"
            sentence = f"The new vocal is {value:.0f} dB {way} than the original."
            advice = "Recordings of the voice with another microphone or nearer to singing help."
        case "balance_shift":
            louder = (figures.vocal_level or 0) > 0
            sentence = (
                f"The vocal is {value:.1f} dB {'louder' if louder else 'quieter'} against the instrumental than before."
            )
            advice = f"Set --vocal-gain {'-' if louder else ''}{min(value, 12):.0f} to put it back."
            if (balance.missing_finished or 0) > 0.5:
                return None
        case "loudness_difference":
            loud = figures.cover_loudness.integrated
            sentence = f"The cover's loudness is {value:.1f} LU off ({loud:.1f} LUFS)."
            advice = (
                "If the true peak is at its limit, the song's loudness can't be kept; choose a lower --target-lufs."
            )
        case "shortfall":
            sentence = f"The cover is {value:.1f} LU softer than it should be, to keep its dynamics."
            advice = "The song is louder than the cover can be without damage. Nothing is wrong with the sound."
        case "limiting":
            sentence = f"The limiter takes more than 3 dB during {value:.0f} % of the cover."
            advice = "Lower --target-lufs, and less is taken."
        case "true_peak":
            sentence = f"The cover's true peak is {value:+.1f} dBTP; it should stay at −1 or below."
            advice = "Lossy formats and cheap players will distort it. Lower --target-lufs."
        case "clipped":
            sentence = f"{value:.0f} samples of the cover are clipped."
            if figures.faults["song"].clipped >= value / 2:
                return Finding(
                    "mind", "separate", "clipped", "The song itself is clipped, and the cover inherits it.",
                    "Use a better source of the song if there is one.",
                )  # fmt: skip
            advice = "Lower --target-lufs, or report it: the limiter should have caught them."
        case "bad_samples":
            sentence = f"{value:.0f} samples are not numbers."
            advice = f"The {stage} stage made them; please report it with this page."
        case "delay":
            sentence = f"The instrumental of the cover is {value:.0f} samples away from where it was."
            advice = "This is a fault of the program; please report it."
        case name:
            raise ValueError(f"no words for {name!r}")
    return Finding(severity, stage, one.limit.name, sentence, advice, at)


def _cause_of_wrong_notes(figures: Figures, bleeding: bool, stage: str, advice: str) -> tuple[str, str]:
    """The stage that caused wrong notes, and advice: the pitch track if a second tracker contradicts it on the original
    vocal; the separation if instruments in the stem explain the contradiction; otherwise the engine, whose input was
    right."""
    tracking = figures.before.tracking
    if not tracking.enough or LIMITS["tracking_agreement"].verdict(100 * tracking.on_note) == "good":
        return stage, advice
    if bleeding:
        return (
            "separate",
            "Instruments in the separated vocal mislead the pitch tracker. Try a stronger separation model.",
        )
    return (
        "pitch",
        "The pitch track of the original is doubtful already. Try another pitch tracker, or the median of several.",
    )
