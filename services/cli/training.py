"""``understudy voices train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from understudy import environment
from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.services.cli.console import cancellable, live_line, log_stage, print_note, print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.cli.voices import NAME, finding_line

if TYPE_CHECKING:
    from understudy.training import TrainingJob, TrainingResult
    from understudy.voices.recordings import Finding
    from understudy.voices.training.events import TrainingEvent
    from understudy.voices.training.settings import TrainingSettings

_RATES = {"32k": 32000, "40k": 40000, "48k": 48000}
_SCORES = {
    "similarity": "similarity {:.3f}",
    "intelligibility": "intelligibility {:.3f}",
    "f0_error": "pitch errors {:.1%}",
    "held_out": "held-out loss {:.4f}",
}
_LOSSES = ("mel", "kl", "adversarial", "flow")


@with_options("tracker seed voices cache device", OUTPUT)
def train(
    name: NAME,
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Further recordings of the voice, for the training alone.")
    ] = None,
    engine: Annotated[
        Literal["rvc", "zero-shot"],
        typer.Option(help="rvc: a model of its own. zero-shot: the installed singing model, fine-tuned on the voice."),
    ] = "rvc",
    consent: Annotated[
        Literal["self", "granted"] | None,
        typer.Option(help="Required with further recordings. self: it is your voice. granted: its owner has agreed."),
    ] = None,
    sample_rate: Annotated[
        Literal["32k", "40k", "48k"] | None, typer.Option(help="Rate of the model.", show_default="48k")
    ] = None,
    version: Annotated[Literal["v1", "v2"] | None, typer.Option(help="Of the network.", show_default="v2")] = None,
    f0: Annotated[bool, typer.Option("--f0/--no-f0", help="Guided by pitch; singing needs it.")] = True,
    base: Annotated[
        str | None,
        typer.Option(
            help="Generator (G.pth) to begin with, or none; default: RVC's base model of that version and rate."
        ),
    ] = None,
    base_discriminator: Annotated[
        Path | None, typer.Option(help="Discriminator (D.pth) that belongs to --base.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Content features to learn from.", show_default="contentvec")
    ] = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="Separate the voice from music in the recordings first.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Most steps; mostly it stops earlier.", show_default="200000; zero-shot 300"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Clips per step.", show_default="as many as memory allows; zero-shot 2"),
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between evaluations.", show_default="some minutes")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, max=50, help="Checkpoints kept to listen to.", show_default="5")
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None,
        typer.Option(help="Number format on a GPU.", show_default="auto"),
    ] = None,
    size: Annotated[Literal["full", "tiny"], typer.Option(help="tiny: a network for tests, not for singing.")] = "full",
    gpus: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="GPUs of this machine to train on.", show_default="all, or that of --device"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew; what there is of this training is deleted.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Train a model of a voice from its recordings; it chooses the best checkpoint and stops by itself.

    Ctrl-C keeps everything, and the same command goes on. The voice sings with an RVC model from then on if that is
    better than the instant voice, and with a fine-tuned one wherever its engine is zero-shot; 'cover --engine' selects.
    """
    from understudy.jobs import Runner
    from understudy.training import plan, train_voice

    if engine == "zero-shot":
        theirs: list[tuple[str, object]] = [("sample-rate", sample_rate), ("version", version), ("embedder", embedder)]
        theirs += [("no-f0", not f0), ("base", base), ("separate", separate), ("size", size == "tiny"), ("gpus", gpus)]
        _refuse([name for name, value in [*theirs, ("precision", precision)] if value])
    settings = _settings(
        engine=engine,
        size=size,
        version=version,
        sample_rate=_RATES.get(sample_rate or ""),
        f0=f0,
        embedder=embedder,
        most_steps=steps,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        keep=keep,
        precision=precision,
        seed=options.values["seed"],
    )
    job = _job(options, name, settings, separate, _base(base, base_discriminator), restart, gpus)
    findings = _add(options, name, recordings, consent, separate) if recordings else []
    executor = options.executor()
    planned = plan(job, options.cache, executor.device)
    if dry_run:
        print_result(planned.to_dict(), lambda: escape("\n".join(planned.sentences)))
        return
    for sentence in planned.sentences:
        print_note(escape(sentence))
    with cancellable() as cancelled, live_line() as show:
        progress = Progress(show, planned.step)
        try:
            result = train_voice(job, Runner(executor, log_stage, cancelled), progress)
        except Cancelled:
            print_note(f"Nothing is lost: step {progress.saved:,} is saved, and the same command goes on from there.")
            raise
    executor.store.prune(environment.cache_limit(), spare=6 * 3600)
    data = result.to_dict()
    data["findings"] = [*map(asdict, findings), *data["findings"]]
    print_result(data, lambda: _text(result))


def _refuse(given: Sequence[str]) -> None:
    """Raise ``option-invalid`` if options are given that the engine zero-shot hasn't got."""
    if given:
        raise UnderstudyError(
            "option-invalid",
            f"--{given[0]} is for --engine rvc: a zero-shot model is fine-tuned as it is installed.",
            f"Leave out {', '.join(f'--{name}' for name in given)}.",
        )


def _settings(**given: Any) -> TrainingSettings:
    """The settings that were given; what is None has its default. Raises `UnderstudyError` ``setting-invalid``."""
    from pydantic import ValidationError

    from understudy.validation import faults
    from understudy.voices.training.settings import TrainingSettings

    try:
        return TrainingSettings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = faults(error.errors())[0]
        option = first.field.replace("_", "-")
        raise UnderstudyError(
            "option-invalid",
            f"--{option} {first.value}: {first.reason}.",
            "'understudy voices train --help' shows what it takes.",
        ) from error


def _base(generator: str | None, discriminator: Path | None) -> tuple[Path, Path] | Literal["none"] | None:
    """What ``--base`` and ``--base-discriminator`` mean."""
    if generator in (None, "none") and discriminator is None:
        return "none" if generator else None
    if generator in (None, "none") or discriminator is None:
        raise UnderstudyError(
            "option-invalid",
            "A base model is a pair of files, generator and discriminator.",
            "Give both: --base G.pth --base-discriminator D.pth.",
        )
    return Path(str(generator)), discriminator


def _job(
    options: Options,
    name: str,
    settings: TrainingSettings,
    separate: bool,
    base: tuple[Path, Path] | Literal["none"] | None,
    restart: bool,
    gpus: int | None,
) -> TrainingJob:
    from understudy.training import TrainingJob, gpus_for

    gpus = gpus or gpus_for(options.values["device"])
    pitch = options.settings().pitch
    return TrainingJob(options.voices, name, settings, separate, base, restart, gpus, pitch)


def _add(
    options: Options,
    name: str,
    files: Sequence[Path],
    consent: Literal["self", "granted"] | None,
    separate: bool,
) -> list[Finding]:
    """Store further recordings with the voice, and say what was left out."""
    from understudy.voices.library import add_training_recordings

    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        _, findings = add_training_recordings(options.voices, name, files, consent, context, separate=separate)
    for finding in findings:
        print_note(finding_line(finding))
    return findings


@dataclass
class Progress:
    """Shows the events of a training; `show` is `live_line`'s. `saved`: the step of the newest state on disk."""

    show: Callable[[str, bool], None]
    saved: int = 0

    def __call__(self, event: TrainingEvent) -> None:
        if event.kind == "saved":
            self.saved = event.step
        elif event.kind == "warning":
            print_note(f"[yellow]Note:[/] {escape(event.sentence)}")
        elif event.kind == "finished":
            self.show("giving the model to the voice, writing the report", True)
        else:
            self.show(line(event), event.kind == "evaluation")


def line(event: TrainingEvent) -> str:
    """The event in one line, the most important first."""
    from understudy.training import in_words

    if event.kind == "preparing":
        return f"preparing the recordings: {event.step} of {event.of} parts done · {event.sentence}"
    parts = [f"step {event.step:,} of at most {event.of:,}"]
    if event.seconds_left is not None:
        parts.append(f"{in_words(event.seconds_left)} left")
    if event.best is not None:
        parts.append(f"best: step {event.best:,}")
    scores = event.evaluation or {}
    parts.append(", ".join(form.format(scores[name]) for name, form in _SCORES.items() if name in scores))
    losses = [f"{name} {event.losses[name]:.3g}" for name in _LOSSES if name in event.losses]
    parts.append("losses " * bool(losses) + ", ".join(losses))
    return " · ".join(part for part in parts if part)


def _text(result: TrainingResult) -> str:
    """The result for people."""
    name, tuned = escape(result.voice.name), "held_out" in result.scores
    sings = (
        "The voice sings with the model from now on; --engine instant selects the instant voice."
        if result.default
        else "The instant voice scores better and goes on singing; --engine rvc selects the model."
    )
    if tuned and result.default:
        sings = "The voice sings with the fine-tuned model from now on."
    elif tuned:
        sings = f'It sings with --engine zero-shot, and by default after: understudy voices use "{name}" zero-shot'
    if not result.published:
        sings = "The voice does better with the model as it was, and keeps that."
    engine = " --engine zero-shot" if tuned else ""
    lines = [
        f"Model:  step {result.step:,} of {result.steps:,}. {escape(result.reason)}",
        f"Ended:  {escape(result.ended)}",
        sings,
        *(finding_line(finding) for finding in result.findings),
        *(f"Would help: {escape(sentence)}" for sentence in result.advice[:3]),
        f"Report: [bold]{escape(str(result.report))}[/]",
        f'Try it: understudy cover song.mp3 --voice "{name}"{engine} --duration 30',
    ]
    return "\n".join(lines)
