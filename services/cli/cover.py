"""``understudy cover``, ``convert`` and ``graph``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from understudy.services.cli.console import print_note, print_result
from understudy.services.cli.options import CLUSTER, MIX, OUTPUT, SETTINGS, SINGING, VOICE, Options, with_options

if TYPE_CHECKING:
    from understudy.pipeline.cast import Cast
    from understudy.pipeline.settings import CoverSettings
    from understudy.results import CoverResult, StageResult, StageWarning
    from understudy.voices.voice import Voice

OWN_VOCALS = Annotated[Path | None, typer.Option(help="Your own vocal stem; skips the separation.")]
OWN_INSTRUMENTAL = Annotated[Path | None, typer.Option(help="Your own instrumental stem.")]
OWN_BACKING = Annotated[Path | None, typer.Option(help="Your own backing stem; --vocals is then the lead alone.")]
OUTPUT_FILE = Annotated[Path | None, typer.Option("--output", "-o", help="Where to; the extension is the format.")]


@with_options(
    "format name cookies keep_stems video start duration model overwrite", SINGING, MIX, SETTINGS, CLUSTER, OUTPUT
)
def cover(
    song: Annotated[str | None, typer.Argument(help="The song: any common audio or video file, or a link.")] = None,
    *,
    voice: VOICE,
    vocals: OWN_VOCALS = None,
    instrumental: OWN_INSTRUMENTAL = None,
    backing_vocals: OWN_BACKING = None,
    output: OUTPUT_FILE = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage and write its outputs.")] = None,
    options: Options,
) -> None:
    """Make a cover: the song, sung by the voice.

    Writes covers/SONG (VOICE, CHANGES).flac and its report. Results of all stages are cached: another gain or format
    afterwards takes seconds.
    """
    from understudy.jobs import CoverJob, cover_until, make_cover

    cast = options.cast(voice)
    settings = options.settings(None if until else output)
    path = None
    if song is not None:
        path, tags = options.song(song)
        settings = options.settings(None if until else output, tags) if tags else settings
    job = CoverJob(path, cast, settings, vocals, instrumental, output, options.overwrite, backing_vocals)
    _note_cost(cast, settings, path or vocals, options)
    with options.runner() as runner:
        result = cover_until(job, until, runner) if until else make_cover(job, runner)
    print_warnings(result.warnings)
    print_result(result.to_dict(), lambda: _text(result))


@with_options(
    "format name start duration overwrite engine transpose index_rate protect formant_shift tracker seed",
    SETTINGS,
    CLUSTER,
    OUTPUT,
)
def convert(
    vocals: Annotated[Path, typer.Argument(help="A vocal without accompaniment.")],
    *,
    voice: VOICE,
    output: OUTPUT_FILE = None,
    options: Options,
) -> None:
    """Sing a vocal with the voice: an a cappella, nothing mixed."""
    from understudy.jobs import ConversionJob, convert_vocals

    job = ConversionJob(vocals, options.cast(voice), options.settings(output), output, options.overwrite)
    _note_cost(job.voice, job.settings, vocals, options)
    with options.runner() as runner:
        result = convert_vocals(job, runner)
    print_warnings(result.warnings)
    print_result(result.to_dict(), lambda: f"[bold]{escape(str(result.path))}[/]\n{escape(result.transpose_reason)}")


@with_options(
    "format keep_stems video start duration model engine transpose key backing preset set voices cache", OUTPUT
)
def graph(
    song: Annotated[Path, typer.Argument(help="The song, or the vocal of 'convert'.")],
    job: Annotated[
        Literal["cover", "separate", "convert"], typer.Option(help="The command whose stages to draw.")
    ] = "cover",
    voice: Annotated[list[str] | None, typer.Option(help="Who sings a cover or conversion.")] = None,
    vocals: OWN_VOCALS = None,
    instrumental: OWN_INSTRUMENTAL = None,
    backing_vocals: OWN_BACKING = None,
    draw: Annotated[Literal["text", "mermaid", "svg"], typer.Option("--as", help="How to draw them.")] = "text",
    *,
    options: Options,
) -> None:
    """Draw the stages that a command runs, and which of them are cached."""
    from understudy.errors import UnderstudyError
    from understudy.pipeline.conversion_graph import conversion_graph
    from understudy.pipeline.cover_graph import cover_graph
    from understudy.pipeline.drawing import DRAWINGS, describe
    from understudy.pipeline.separation_graph import separation_graph
    from understudy.pipeline.store import Store

    settings = options.settings()
    if job == "separate":
        drawn = separation_graph(song, settings).graph
    else:
        if not voice:
            raise UnderstudyError("voice-missing", f"A {job} needs a voice.", "Name it with --voice.")
        cast = options.cast(voice)
        if job == "convert":
            drawn = conversion_graph(song, cast, settings).graph
        else:
            drawn = cover_graph(song, cast, settings, vocals, instrumental, backing_vocals).graph
    cached = Store(options.cache).has
    print_result({"nodes": describe(drawn, cached)}, lambda: escape(DRAWINGS[draw](drawn, cached)))


def _note_cost(cast: Voice | Cast, settings: CoverSettings, song: Path | None, options: Options) -> None:
    """Say how long the engine zero-shot takes on a CPU, as far as nothing is cached, before it begins."""
    from understudy import environment
    from understudy.audio.files import probe
    from understudy.models import usable
    from understudy.pipeline.cast import as_cast
    from understudy.voices.zero_shot.engine import installed_model, tuned_weights
    from understudy.wording import clock

    singer = next((voice for voice in as_cast(cast).voices if voice.manifest.engine == "zero-shot"), None)
    if singer is None or song is None or environment.choose_device(options.values.get("device")) != "cpu":
        return
    weights = tuned_weights(singer) or usable(installed_model())
    if weights is None:
        return  # the run says what is missing
    from understudy.voices.zero_shot.configuration import read_configuration
    from understudy.voices.zero_shot.cost import multiplications, multiplications_a_second

    conversion = settings.conversion
    a_second = (
        multiplications(read_configuration(weights.companions[0].path), conversion.steps, conversion.index_rate > 0)
        / multiplications_a_second()
    )
    whole = (probe(song).duration or 0.0) - settings.song.start
    seconds = max(0.0, whole if settings.song.duration is None else min(settings.song.duration, whole))
    print_note(
        f"zero-shot on this CPU, {conversion.steps} steps: about {a_second:.0f} s for each second that is sung, at "
        f"most {clock(a_second * seconds)} in all. Fewer steps are quicker: --set conversion.steps=10."
    )


def print_warnings(warnings: Iterable[StageWarning]) -> None:
    for warning in warnings:
        print_note(f"[yellow]Note ({warning.stage}):[/] {escape(warning.warning)}")


def _singers(result: CoverResult) -> Iterable[str]:
    """A line on the two singers, where they can be compared."""
    if result.vocal_level is not None and result.brightness is not None:
        line = f"New vocal {result.vocal_level:+.1f} dB against the old one, {result.brightness:+.1f} dB in brightness"
        if result.leftover is not None:
            line += f"; original singer {result.leftover:+.1f} dB against it (± {result.leftover_error:.0f} dB)"
        yield f"{line}."


def _text(result: CoverResult | StageResult) -> str:
    from understudy.results import StageResult

    if isinstance(result, StageResult):
        made = result.to_dict()["made"]
        return "\n".join(f"{name}: [bold]{escape(str(value))}[/]" for name, value in made.items())
    loudness = result.loudness
    lines = [
        f"Cover:  [bold]{escape(str(result.path))}[/]",
        f"Report: [bold]{escape(str(result.report_path))}[/]",
        *([f"Credentials: {escape(str(result.credentials_path))}"] if result.credentials_path else []),
        *([f"Video:  [bold]{escape(str(result.video_path))}[/]"] if result.video_path else []),
        *(f"{stem}: {escape(str(sound.path))}" for stem, sound in result.stems.items()),
        *(escape(step.told) for step in result.chain),
        escape(result.transpose_reason),
        f"Loudness {loudness.cover:.1f} LUFS (song {loudness.song:.1f}), true peak {loudness.true_peak:.1f} dBTP.",
        *_singers(result),
        f"[bold]{result.verdict.headline}[/], {result.grade:.0f} of 100.",
        *(f"  {escape(one.sentence)}\n    {escape(one.action.text)}" for one in result.verdict.weaknesses),
    ]
    return "\n".join(lines)
