"""``understudy voices``: add, list, show, check, use, rename, remove, export, import, blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from understudy.context import scratch_context
from understudy.errors import UnderstudyError
from understudy.services.cli.consent import blocklist_app, consent_app, consent_line
from understudy.services.cli.console import cancellable, print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.wording import counted

if TYPE_CHECKING:  # each command imports what it works with, so that ``understudy --help`` answers at once
    from understudy.library import AddedVoice
    from understudy.voices.library import BrokenVoice
    from understudy.voices.recordings import Finding, RecordingReport
    from understudy.voices.voice import Recording, RvcModel, Trained, Voice

voices_app = typer.Typer(help="The voice library.", no_args_is_help=True)
voices_app.add_typer(consent_app, name="consent")
voices_app.add_typer(blocklist_app, name="blocklist")

NAME = Annotated[str, typer.Argument(help="The voice's name.")]
CONSENT = Annotated[
    Literal["self", "granted"] | None,
    typer.Option(
        help="Required, but for a voice that 'voices export' wrote. self: it is your voice. granted: its owner has "
        "agreed."
    ),
]
REPLACE = Annotated[
    bool, typer.Option("--replace", help="Replace a voice of that name, with its recordings and its trained model.")
]


@voices_app.command()
@with_options("voices", OUTPUT)
def add(
    name: NAME,
    recordings: Annotated[list[Path], typer.Argument(help="Recordings of the voice alone; 15 s or more in total.")],
    consent: CONSENT = None,
    replace: REPLACE = False,
    *,
    options: Options,
) -> None:
    """Make a voice from recordings and report problems with them."""
    from understudy.voices.library import refuse_without_consent

    refuse_without_consent(consent)
    assert consent is not None
    with cancellable() as cancelled:
        added = options.library.add(name, recordings, consent=consent, replace=replace, cancel=cancelled)
    _print_added(added)


@voices_app.command("list")
@with_options("voices", OUTPUT)
def list_(options: Options) -> None:
    """List the voices."""
    found = options.library.list()
    data = {"folder": str(options.voices), "voices": [_described(voice) for voice in found]}
    nothing = "No voices yet. Make one: understudy voices add NAME recording.wav --consent self"
    print_result(data, lambda: "\n".join(map(_line, found)) or nothing)


@voices_app.command()
@with_options("voices", OUTPUT)
def show(name: NAME, *, options: Options) -> None:
    """Show the details of a voice."""
    voice = options.library.describe(name)
    print_result(_described(voice), lambda: _details(voice))


@voices_app.command()
@with_options("voices", OUTPUT)
def check(
    names: Annotated[list[str], typer.Argument(help="A voice's name, or recordings not yet added.")],
    *,
    options: Options,
) -> None:
    """Report problems with a voice's recordings or model, or with files before they are added."""
    from understudy.voices import library
    from understudy.voices.recordings import check_files

    voice = None
    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        if all(Path(name).is_file() for name in names):
            reports, together = check_files(context, [Path(name) for name in names])
        elif len(names) == 1:
            reports, together = library.check(options.voices, names[0], context)
            voice = options.library.get(names[0])
        else:
            missing = next(name for name in names if not Path(name).is_file())
            raise UnderstudyError(
                "file-not-found", f"There is no file {missing}.", "Name one voice, or only files that are there."
            )
    data = {
        "recordings": [
            {
                "recording": report.recording,
                "usable": report.usable,
                **asdict(report.measures),
                "findings": [asdict(finding) for finding in report.findings],
            }
            for report in reports
        ],
        "findings": [asdict(finding) for finding in together],
    }
    print_result(data, lambda: _check_text(reports, together, voice))


@voices_app.command()
@with_options("voices", OUTPUT)
def use(
    name: NAME,
    engine: Annotated[
        Literal["instant", "zero-shot", "rvc"],
        typer.Argument(help="instant, zero-shot: its recordings. rvc: its model."),
    ],
    *,
    options: Options,
) -> None:
    """Choose what a voice sings with unless --engine says otherwise."""
    voice = options.library.sing_with(name, engine)
    print_result(_described(voice), lambda: _line(voice))


@voices_app.command()
@with_options("voices", OUTPUT)
def rename(name: NAME, new: Annotated[str, typer.Argument(help="Its new name.")], *, options: Options) -> None:
    """Rename a voice; covers made with it stay in the cache."""
    voice = options.library.rename(name, new)
    print_result(_described(voice), lambda: _line(voice))


@voices_app.command()
@with_options("voices", OUTPUT)
def remove(name: NAME, *, options: Options) -> None:
    """Delete a voice and its stored recordings or model."""
    options.library.remove(name)
    print_result({"removed": name}, lambda: f"Removed {escape(name)}.")


@voices_app.command()
@with_options("overwrite voices cache", OUTPUT)
def export(
    name: NAME,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default NAME.zip or NAME.pth.")] = None,
    form: Annotated[
        Literal["archive", "rvc", "seed-vc", "training"] | None,
        typer.Option(
            "--format",
            help="archive: one file for Understudy. rvc: .pth and .index for other tools, into a .pth, a folder or a "
            "zip. seed-vc: the fine-tuned zero-shot model as .pth and .yml. training: G_ and D_ files into a folder, "
            "with which another tool goes on training. Default: rvc for a .pth, else archive.",
        ),
    ] = None,
    tool: Annotated[
        Literal["rvc", "applio"], typer.Option(help="Who goes on with --format training: RVC WebUI or Applio.")
    ] = "rvc",
    *,
    options: Options,
) -> None:
    """Write a voice to one file, as a backup or for another machine; or as RVC files for other tools."""
    from understudy.voices import archive

    voice = options.library.get(name)
    if form is None:
        form = "rvc" if output is not None and output.suffix.lower() == ".pth" else "archive"
    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        if form == "rvc":
            from understudy.voices.rvc.export import export_rvc

            written = export_rvc(voice, output or Path(f"{voice.name}.pth"), context, replace=options.overwrite)
        elif form == "seed-vc":
            from understudy.voices.zero_shot.training.export import export_tuned

            written = export_tuned(voice, output or Path(f"{voice.name}.pth"), replace=options.overwrite)
        elif form == "training":
            from understudy.voices.rvc.training.export import export_training

            folder = output or Path(f"{voice.name} training")
            written = export_training(voice, options.trainings, folder, tool=tool, replace_files=options.overwrite)
        else:
            path = output or Path(f"{voice.name}.zip")
            written = [archive.export(voice, path, context, replace=options.overwrite)]
    data = {"output": str(written[0]), "files": [str(path) for path in written]}
    print_result(data, lambda: "\n".join(f"[bold]{escape(str(path))}[/]" for path in written))


@voices_app.command("import")
@with_options("voices", OUTPUT)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="An RVC voice (.pth, .safetensors, or a zip or folder that holds one), or a file that "
            "'voices export' wrote.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Its name; default: after the file.")] = None,
    consent: CONSENT = None,
    index: Annotated[
        Path | None, typer.Option(help="The model's .index: a file, or a name in the zip or folder.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model, where there are several.")] = None,
    speaker: Annotated[int | None, typer.Option(help="Which of the model's speakers sings.", show_default="0")] = None,
    replace: REPLACE = False,
    *,
    options: Options,
) -> None:
    """Import an RVC voice or an exported voice. No code in the file is run."""
    with cancellable() as cancelled:
        added = options.library.import_(
            file, name, consent=consent, index=index, model=model, speaker=speaker, replace=replace, cancel=cancelled
        )
    _print_added(added)


@voices_app.command()
@with_options("voices", OUTPUT)
def blend(
    first: Annotated[str, typer.Argument(help="A voice with an RVC model.")],
    second: Annotated[str, typer.Argument(help="Another one; best trained from the same base model.")],
    name: Annotated[str, typer.Option(help="Name of the new voice.")],
    ratio: Annotated[float, typer.Option(help="How much of the first, 0 to 1.")] = 0.5,
    replace: REPLACE = False,
    *,
    options: Options,
) -> None:
    """Make a voice between two others from their RVC models."""
    _print_added(options.library.blend(first, second, name, ratio=ratio, replace=replace))


def _print_added(added: AddedVoice) -> None:
    data = {**_described(added.voice), "findings": [asdict(finding) for finding in added.findings]}
    try_it = f'Try it: understudy cover song.mp3 --voice "{escape(added.voice.name)}" --duration 30'
    print_result(data, lambda: "\n".join([_line(added.voice), *map(finding_line, added.findings), try_it]))


def _described(voice: Voice | BrokenVoice) -> dict[str, Any]:
    from understudy.voices.engines import offered
    from understudy.voices.voice import Voice

    if not isinstance(voice, Voice):
        return {"name": voice.name, "folder": str(voice.folder), "broken": voice.error.message}
    data = {**voice.manifest.model_dump(mode="json"), "engines": offered(voice), "folder": str(voice.folder)}
    return {**data, "consent_level": voice.manifest.consent_level}


def _line(voice: Voice | BrokenVoice) -> str:
    from understudy.voices.engines import offered
    from understudy.voices.voice import Voice

    if not isinstance(voice, Voice):
        return f"[bold]{escape(voice.name)}[/]  [red]can't be used:[/] {escape(voice.error.message)}"
    manifest = voice.manifest
    if manifest.consent_level == "revoked":
        return f"[bold]{escape(voice.name)}[/]  [red]can't be used:[/] its consent was revoked"
    default, *others = sorted(offered(voice), key=lambda engine: engine != manifest.engine)
    lines = [f"[bold]{escape(voice.name)}[/]  {default}, {_with_engine(voice, default)}"]
    return "; also ".join([*lines, *(f"{engine}, {_with_engine(voice, engine)}" for engine in others)])


def _with_engine(voice: Voice, engine: str) -> str:
    """What the voice sings with when `engine` is its engine."""
    manifest = voice.manifest
    if engine == "rvc" and manifest.model is not None:
        model = manifest.model
        guided = "" if model.f0 else ", not guided by pitch"
        index = f"index of {counted(model.index.vectors, 'vector')}" if model.index else "no index"
        trained = ", trained here" if model.trained else ""
        return f"{model.version}, {model.sample_rate / 1000:g} kHz{guided}, {index}{trained}"
    reach = manifest.pitch_range
    tuned = ", fine-tuned" if engine == "zero-shot" and manifest.tuned else ""
    return _together(manifest.recordings) + (f", {reach.low:.0f} to {reach.high:.0f} Hz" if reach else "") + tuned


def _together(recordings: Sequence[Recording]) -> str:
    seconds = sum(recording.duration for recording in recordings)
    return f"{seconds:.0f} s in {counted(len(recordings), 'recording')}"


def _details(voice: Voice) -> str:
    from understudy.voices.engines import offered

    manifest = voice.manifest
    lines = [
        _line(voice),
        f"consent: {consent_line(manifest)}; made {manifest.created:%Y-%m-%d %H:%M} UTC; {manifest.sample_rate} Hz",
        f"folder: {escape(str(voice.folder))}",
        f"content hash: {manifest.content_hash}",
    ]
    if len(offered(voice)) > 1:
        lines.insert(1, f"sings with {manifest.engine} by default; --engine names another")
    if manifest.model is not None:
        lines += _model_lines(manifest.model)
    if manifest.tuned is not None:
        lines.append(_trained_line("zero-shot model", manifest.tuned.trained))
    lines += [f"  {escape(r.source)}: {r.duration:.1f} s ({escape(r.file)})" for r in manifest.recordings]
    if manifest.training_recordings:
        lines.append(f"for training alone: {_together(manifest.training_recordings)}")
        lines += [f"  {escape(r.source)}: {r.duration:.1f} s ({escape(r.file)})" for r in manifest.training_recordings]
    return "\n".join(lines)


def _model_lines(model: RvcModel) -> list[str]:
    lines = [f"model: {escape(model.source)}, speaker {model.speaker} of {model.speakers} (from 0)"]
    if model.trained is not None:
        lines = [_trained_line("model", model.trained)]
    if model.embedder != "contentvec":
        lines.append(f"embedder: {escape(model.embedder)}")
    if model.index is not None and model.trained is None:
        lines.append(f"index: {escape(model.index.source)}")
    return lines + [
        f"{what}: {escape(text)}" for what, text in (("info", model.info), ("author", model.author)) if text
    ]


def _trained_line(what: str, trained: Trained) -> str:
    alike = "" if trained.similarity is None else f", similarity {trained.similarity:.3f}"
    base, steps = escape(trained.base) or "nothing", counted(trained.steps, "step")
    return f"{what}: trained here on {trained.date:%Y-%m-%d}: {steps}{alike}, from {base}"


def finding_line(finding: Finding, heading: str = "") -> str:
    """A finding in one line, beginning with the recording's name unless that stands above it as `heading`."""
    mark = "[red]✗[/]" if finding.severity == "problem" else "[yellow]![/]"
    where = f"{finding.recording}: " if finding.recording and finding.recording not in finding.sentence else ""
    sentence = finding.sentence.removeprefix(f"{heading}: ")
    return f"{mark} {escape(sentence[:1].upper() + sentence[1:] if heading else where + sentence)}"


def _check_text(reports: Sequence[RecordingReport], together: Sequence[Finding], voice: Voice | None) -> str:
    lines = []
    for report in reports:
        lines.append(f"[bold]{escape(report.recording)}[/]  {report.duration:.1f} s, {report.voice:.1f} s of voice")
        lines += [finding_line(finding, report.recording) for finding in report.findings] or [
            "[green]✓[/] nothing wrong"
        ]
    if reports and voice is not None and "rvc" in voice.engines:
        lines.append(f"[bold]model[/]  {_with_engine(voice, 'rvc')}")
        lines += [] if together else ["[green]✓[/] nothing wrong"]
    return "\n".join([*lines, *map(finding_line, together)]) or "[green]✓[/] nothing wrong"
