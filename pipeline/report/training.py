"""The report of a training run: an HTML page with the scores over the steps, the losses, players for the checkpoints
that were kept, what the data was, and what would help most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.audio.files import decode
from understudy.context import Context
from understudy.disk import replacing
from understudy.pipeline.report.charts import Chart, Line, chart
from understudy.pipeline.report.clips import encode_clip
from understudy.pipeline.report.page import Track
from understudy.pipeline.report.template import render_page
from understudy.voices.rvc.training.choice import Choice, uncertainty
from understudy.voices.rvc.training.evaluation import Evaluation

_MOST_POINTS = 600
"""Of a curve of losses: about 8 kB of page."""
_MOST_ROWS = 40
"""Of the table of losses."""


@dataclass(frozen=True)
class UsedRecording:
    """A recording of the voice, what became of it, and why. `seconds`: of sound used; 0 where it was left out."""

    name: str
    seconds: float
    use: Literal["training", "held-out", "left out"]
    reason: str = ""


@dataclass(frozen=True)
class HeardClip:
    """A clip to listen to: the recording or source phrase at `original`, and what each checkpoint made of it: a sound
    file by the name of the version, a step as ``"1200"`` or ``"instant"``. `name`: that of its `ClipScores`."""

    name: str
    kind: Literal["held-out", "phrase"]
    original: Path
    versions: Mapping[str, Path]

    @property
    def title(self) -> str:
        return f"Held out: {self.name}" if self.kind == "held-out" else f"Phrase of another singer: {self.name}"


@dataclass(frozen=True)
class TrainingRecord:
    """What a run left behind, as its report shows it.

    `network`: e.g. ``"RVC v2, 48 kHz"``. `losses`: the lines of ``losses.jsonl``, each with a ``step``. `choice`: None
    where no checkpoint was evaluated. `stopped`: why the run ended, a sentence. `advice`: what would help most, the
    most useful first. `instant`: how the instant voice scores on the same clips. `sings`: the engine that sings by
    default from now on; of a zero-shot model ``"zero-shot"`` where the voice has got it, else ``"untuned"``. `seconds`:
    how long the run took. `facts`: versions, machine, and what else is to be told.
    """

    voice: str
    network: str
    recordings: Sequence[UsedRecording]
    losses: Sequence[Mapping[str, float]]
    evaluations: Sequence[Evaluation]
    choice: Choice | None
    stopped: str
    advice: Sequence[str] = ()
    warnings: Sequence[str] = ()
    instant: Evaluation | None = None
    sings: Literal["rvc", "instant", "zero-shot", "untuned"] = "rvc"
    seconds: float | None = None
    clips: Sequence[HeardClip] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A score as the page shows it: `factor` turns the stored figure into the one shown, in `unit`."""

    field: str
    title: str
    words: str
    factor: float = 1.0
    unit: str = ""
    more_is_better: bool = False

    def text(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return "–"
        decimals = 1 if self.unit else 3
        return f"{self.factor * value:.{decimals}f} {self.unit}".replace("-", "−").strip()


SCORES = (
    Score("similarity", "Similarity", "to held-out recordings of the voice; 1 is the same", more_is_better=True),
    Score("intelligibility", "Intelligibility", "ESTOI against the source; 1 is the same", more_is_better=True),
    Score("f0_error", "Pitch errors", "share of frames more than 50 cents off", 100, "%"),
    Score("voicing_error", "Voicing errors", "share of frames voiced where the source isn't, or the reverse", 100, "%"),
    Score("noise", "Noise", "voiced sound is so much noisier than the source's", 1, "dB"),
    Score("mel_distance", "Mel distance", "of the log-mel spectrogram from the recording's, in nepers"),
    Score("silent", "Silence", "share of the sounding frames that are silent in the result", 100, "%"),
    Score("clicks", "Clicks", "per second, beyond the source's", 1, "per s"),
)
CERTAIN = ("similarity", "intelligibility", "f0_error", "mel_distance")
"""The scores whose uncertainty is known: those that decide."""
KINDS = {"held-out": "held-out recordings", "phrase": "sung phrases of other singers"}
USES = {"training": "Trained on", "held-out": "Held out", "left out": "Left out"}
LOSSES = {
    "held_out": ("Held-out loss", "on recordings that were never trained on; step 0 is the model as it was"),
    "flow": ("Flow loss", "on training clips; varies with the times that are drawn"),
    "grad_transformer": ("Gradient norm of the transformer", "above 10 it is scaled down"),
    "grad_regulator": ("Gradient norm of the length regulator", "as above"),
    "mel": ("Mel loss", "distance of the mel spectrogram on training clips; falls also when the model only memorises"),
    "kl": ("KL loss", "distance of the posterior from the prior encoder"),
    "features": ("Feature loss", "distance of the discriminator's features"),
    "adversarial": ("Adversarial loss", "of the generator, against the discriminator"),
    "discriminator": ("Discriminator loss", "how well it tells recordings from generated sound"),
    "grad_g": ("Gradient norm of the generator", "peaks are steps that were close to divergence"),
    "grad_d": ("Gradient norm of the discriminator", "as above"),
}


def write_training_report(context: Context, record: TrainingRecord, path: Path) -> Path:
    """Write the page to `path`, one file that loads nothing from anywhere. The same record gives the same bytes."""
    share = 0.95 / max(1, len(record.clips))
    tracks = [
        _tracks(context.part(number * share, (number + 1) * share), clip, record.choice)
        for number, clip in enumerate(record.clips)
    ]
    with replacing(path) as file:
        file.write_text(render(record, tracks), encoding="utf-8", newline="\n")
    context.progress(1.0)
    return path


def _tracks(context: Context, clip: HeardClip, choice: Choice | None) -> list[Track]:
    """The original and every version of a clip, encoded: after the original the chosen checkpoint, the instant
    voice, the other checkpoints."""
    chosen = "" if choice is None else str(choice.step)
    names = sorted(clip.versions, key=lambda name: (name != chosen, name.isdigit(), name.zfill(12)))
    first = "Recording" if clip.kind == "held-out" else "Source"
    files = [(first, "", clip.original), *((_version(name), name, clip.versions[name]) for name in names)]
    tracks = []
    for number, (title, name, file) in enumerate(files, start=1):
        sound = decode(context, file, context.folder / "clip.npy")
        data = encode_clip(sound, Context(context.folder), start=0.0, stop=sound.duration, mono=True)
        tracks.append(Track(number, title, "chosen" if name and name == chosen else "", data))
        context.progress(number / len(files))
    return tracks


def _version(name: str) -> str:
    return f"Step {int(name):,}" if name.isdigit() else f"{name.capitalize()} voice"


def render(record: TrainingRecord, tracks: Sequence[Sequence[Track]]) -> str:
    """The page as text; `tracks`: those of each of the record's clips."""
    used = {use: [one for one in record.recordings if one.use == use] for use in USES}
    shown = [score for score in SCORES if any(_has(one, score) for one in record.evaluations)]
    losses = [name for name in LOSSES if any(name in one for one in record.losses)]
    thinned = record.losses[:: max(1, -(-len(record.losses) // _MOST_ROWS))]
    return render_page(
        "training.html",
        ("report.css", "training.css"),
        "training.js",
        record=record,
        chosen=None if record.choice is None else record.choice.step,
        used=[(use, USES[use], ones, _time(sum(one.seconds for one in ones))) for use, ones in used.items() if ones],
        cards=_cards(record, shown),
        scores=[(score, _score_chart(record, score)) for score in shown if _varies(record, score)],
        kinds=KINDS,
        tables=[(words, _table(record, kind, shown)) for kind, words in KINDS.items()],
        columns=shown,
        losses=[(*LOSSES[name], _loss_chart(record, name)) for name in losses],
        loss_rows=[(round(one["step"]), [_loss(one.get(name)) for name in losses]) for one in thinned],
        heard=list(zip(record.clips, tracks, strict=True)),
        settings=[(name, _plain(value)) for name, value in record.settings.items()],
    )


def mean(evaluation: Evaluation, kind: str, score: Score) -> float:
    """The mean of a score over the clips of a kind; NaN where no clip has it."""
    values = [getattr(clip, score.field) for clip in evaluation.clips if clip.kind == kind]
    values = [value for value in values if value is not None and math.isfinite(value)]
    return sum(values) / len(values) if values else math.nan


def _has(evaluation: Evaluation, score: Score) -> bool:
    return any(math.isfinite(mean(evaluation, kind, score)) for kind in KINDS)


def _varies(record: TrainingRecord, score: Score) -> bool:
    """Whether there is something to see in a chart: clicks and silence are mostly 0 throughout."""
    values = (mean(one, kind, score) for one in record.evaluations for kind in KINDS)
    return any(math.isfinite(value) and value != 0 for value in values)


def _at(record: TrainingRecord, step: int | None) -> Evaluation | None:
    return next((one for one in record.evaluations if one.step == step), None)


def _score_chart(record: TrainingRecord, score: Score) -> Chart:
    chosen = None if record.choice is None else record.choice.step
    lines = []
    for kind in KINDS:
        values = [(one.step, score.factor * mean(one, kind, score)) for one in record.evaluations]
        at = dict(values).get(chosen or 0, math.nan)
        error = 2 * score.factor * uncertainty(record.evaluations, score.field) if score.field in CERTAIN else math.nan
        lines.append(Line(kind, values, dots=True, bar=(chosen or 0, at - error, at + error)))
    words = f"{score.title} over the steps."
    if (best := _at(record, chosen)) is not None:
        each = (f"{score.text(mean(best, kind, score))} of the {name}" for kind, name in KINDS.items())
        words += f" At the chosen step {chosen:,}: {', '.join(each)}."
    return chart(lines, words, chosen=chosen)


def _loss_chart(record: TrainingRecord, name: str) -> Chart:
    """A thin curve of every so many steps, so that any run is as big as a short one: means, and peaks are kept."""
    points = [(one["step"], one.get(name, math.nan)) for one in record.losses]
    every = max(1, -(-len(points) // _MOST_POINTS))
    groups = [points[at : at + every] for at in range(0, len(points), every)]
    thinned = [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
    known = [value for _, value in thinned if math.isfinite(value)] or [math.nan]
    words = f"{LOSSES[name][0]} over the steps, from {_loss(known[0])} to {_loss(known[-1])}."
    return chart([Line("loss", thinned)], words, chosen=None if record.choice is None else record.choice.step)


def _table(record: TrainingRecord, kind: str, scores: Sequence[Score]) -> list[tuple[str, bool, list[str]]]:
    """Rows: step or ``instant voice``, whether it was chosen, and the scores."""
    rows = [(f"{one.step:,}", one) for one in record.evaluations]
    if record.instant is not None:
        rows.append(("instant voice", record.instant))
    chosen = None if record.choice is None else f"{record.choice.step:,}"
    return [(name, name == chosen, [score.text(mean(one, kind, score)) for score in scores]) for name, one in rows]


def _cards(record: TrainingRecord, scores: Sequence[Score]) -> list[tuple[str, str, str]]:
    """The figures that a fan wants to see first: title, value, words."""
    seconds = sum(one.seconds for one in record.recordings if one.use == "training")
    cards = [("Trained on", _time(seconds), "of the voice")]
    best = _at(record, record.choice.step if record.choice else None)
    for score in scores[:3]:
        if best is None:
            break
        kind = "held-out" if score.field == "similarity" else "phrase"
        words = score.words
        if record.instant is not None:
            words += f"; the instant voice has {score.text(mean(record.instant, kind, score))}"
        cards.append((score.title, score.text(mean(best, kind, score)), words))
    last = max((one["step"] for one in record.losses), default=0)
    cards.append(("Steps", f"{last:,.0f}", "" if record.seconds is None else f"in {_time(record.seconds)}"))
    return cards


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _loss(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}".replace("-", "−")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "automatic" if value is None else str(value)
