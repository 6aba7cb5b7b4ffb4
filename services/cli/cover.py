"""``understudy cover``, ``convert`` and ``graph``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from understudy.services.cli import options as o
from understudy.services.cli.console import print_note, print_result

SONG = Annotated[Path | None, typer.Argument(help="The song: any common audio or video file.", show_default=False)]
OWN_VOCALS = Annotated[
    Path | None, typer.Option("--vocals", help="Your own vocal stem; skips the separation.", show_default=False)
]
OWN_INSTRUMENTAL = Annotated[
    Path | None, typer.Option("--instrumental", help="Your own instrumental stem.", show_default=False)
]
OWN_BACKING = Annotated[
    Path | None,
    typer.Option(
        "--backing-vocals", help="Your own backing stem; --vocals is then the lead alone.", show_default=False
    ),
]
BACKING = Annotated[
    Literal["original", "convert", "mute"] | None,
    typer.Option("--backing", help="What becomes of the backing vocals, where a stem holds them.", show_default=False),
]
OUTPUT = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to; the extension is the format.", show_default=False)
]
VOCAL_GAIN = Annotated[float | None, typer.Option("--vocal-gain", help="dB.", show_default=False)]
BACKING_GAIN = Annotated[
    float | None, typer.Option("--backing-gain", help="dB, where there is a backing stem.", show_default=False)
]
INSTRUMENTAL_GAIN = Annotated[float | None, typer.Option("--instrumental-gain", help="dB.", show_default=False)]
TARGET_LUFS = Annotated[
    float | None, typer.Option("--target-lufs", help="Loudness of the cover; default: the song's.", show_default=False)
]
UNTIL = Annotated[
    str | None,
    typer.Option("--until", help="Go no further than this stage and write what it made.", show_default=False),
]
KEEP_STEMS = Annotated[
    bool | None, typer.Option("--keep-stems", help="Write the cover's stems, too.", show_default=False)
]


def cover(
    song: SONG = None,
    *,
    voice: o.VOICE,
    vocals: OWN_VOCALS = None,
    instrumental: OWN_INSTRUMENTAL = None,
    backing_vocals: OWN_BACKING = None,
    backing: BACKING = None,
    output: OUTPUT = None,
    format: o.FORMAT = None,
    transpose: o.TRANSPOSE = None,
    key: o.KEY = None,
    index_rate: o.INDEX_RATE = None,
    protect: o.PROTECT = None,
    formant_shift: o.FORMANT_SHIFT = None,
    vocal_gain: VOCAL_GAIN = None,
    backing_gain: BACKING_GAIN = None,
    instrumental_gain: INSTRUMENTAL_GAIN = None,
    target_lufs: TARGET_LUFS = None,
    keep_stems: KEEP_STEMS = None,
    start: o.START = None,
    duration: o.DURATION = None,
    until: UNTIL = None,
    model: o.MODEL = None,
    tracker: o.TRACKER = None,
    seed: o.SEED = None,
    preset: o.PRESET = None,
    set: o.SET = None,
    overwrite: o.OVERWRITE = False,
    voices: o.VOICES = None,
    cache: o.CACHE = None,
    device: o.DEVICE = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Make a cover: the song, sung by the voice.

    Writes covers/SONG (VOICE).flac and its report. What was made once is kept: changing a gain or the format
    afterwards takes seconds.
    """
    from understudy.jobs import CoverJob, cover_until, make_cover

    settings = o.settings_from(
        preset,
        set,
        {
            "song.start": start,
            "song.duration": duration,
            "separation.model": model,
            "pitch.tracker": tracker,
            "transpose": transpose,
            "key": key,
            "backing": backing,
            "conversion.index_rate": index_rate,
            "conversion.protect": protect,
            "conversion.formant_shift": formant_shift,
            "conversion.seed": seed,
            "remix.vocal_gain": vocal_gain,
            "remix.backing_gain": backing_gain,
            "remix.instrumental_gain": instrumental_gain,
            "remix.target_lufs": target_lufs,
            "output.format": format,
            "output.keep_stems": keep_stems,
        },
        None if until else output,
    )
    cast = o.singing(voice, voices, transpose)
    job = CoverJob(song, cast, settings, vocals, instrumental, output, overwrite, backing_vocals)
    with o.runner(cache, device) as runner:
        made = (cover_until(job, until, runner) if until else make_cover(job, runner)).to_dict()
    warnings(made)
    print_result(made, lambda: _until_text(made) if until else _cover_text(made))


def convert(
    vocals: Annotated[Path, typer.Argument(help="A vocal without accompaniment.")],
    *,
    voice: o.VOICE,
    output: OUTPUT = None,
    format: o.FORMAT = None,
    transpose: o.TRANSPOSE = None,
    index_rate: o.INDEX_RATE = None,
    protect: o.PROTECT = None,
    formant_shift: o.FORMANT_SHIFT = None,
    start: o.START = None,
    duration: o.DURATION = None,
    tracker: o.TRACKER = None,
    seed: o.SEED = None,
    preset: o.PRESET = None,
    set: o.SET = None,
    overwrite: o.OVERWRITE = False,
    voices: o.VOICES = None,
    cache: o.CACHE = None,
    device: o.DEVICE = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Sing a vocal with the voice: an a cappella, nothing mixed."""
    from understudy.jobs import ConversionJob, convert_vocals

    named = {
        "song.start": start,
        "song.duration": duration,
        "pitch.tracker": tracker,
        "transpose": transpose,
        "conversion.index_rate": index_rate,
        "conversion.protect": protect,
        "conversion.formant_shift": formant_shift,
        "conversion.seed": seed,
        "output.format": format,
    }
    settings = o.settings_from(preset, set, named, output)
    cast = o.singing(voice, voices, transpose)
    with o.runner(cache, device) as runner:
        made = convert_vocals(ConversionJob(vocals, cast, settings, output, overwrite), runner).to_dict()
    warnings(made)
    print_result(made, lambda: f"[bold]{escape(made['output'])}[/]\n{escape(made['transpose_reason'])}")


def graph(
    song: Annotated[Path, typer.Argument(help="The song, or the vocal of 'convert'.")],
    job: Annotated[
        Literal["cover", "separate", "convert"], typer.Option("--job", help="Whose stages to draw.")
    ] = "cover",
    voice: Annotated[list[str] | None, typer.Option("--voice", help="Who sings a cover or conversion.")] = None,
    vocals: OWN_VOCALS = None,
    instrumental: OWN_INSTRUMENTAL = None,
    backing_vocals: OWN_BACKING = None,
    backing: BACKING = None,
    transpose: o.TRANSPOSE = None,
    key: o.KEY = None,
    format: o.FORMAT = None,
    keep_stems: KEEP_STEMS = None,
    draw: Annotated[Literal["text", "mermaid", "svg"], typer.Option("--as", help="How to draw them.")] = "text",
    start: o.START = None,
    duration: o.DURATION = None,
    model: o.MODEL = None,
    preset: o.PRESET = None,
    set: o.SET = None,
    voices: o.VOICES = None,
    cache: o.CACHE = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Draw the stages that a command goes through, and which of them are kept from before."""
    from understudy.environment import cache_folder
    from understudy.errors import UnderstudyError
    from understudy.pipeline.cover import conversion_graph, cover_graph
    from understudy.pipeline.drawing import DRAWINGS, describe
    from understudy.pipeline.separation_graph import separation_graph
    from understudy.pipeline.store import Store

    named = {
        "song.start": start,
        "song.duration": duration,
        "separation.model": model,
        "transpose": transpose,
        "key": key,
        "backing": backing,
        "output.format": format,
        "output.keep_stems": keep_stems,
    }
    settings = o.settings_from(preset, set, named)
    if job == "separate":
        drawn = separation_graph(song, settings).graph
    else:
        if not voice:
            raise UnderstudyError("voice-missing", f"A {job} needs a voice.", "Name it with --voice.")
        singer = o.singing(voice, voices, transpose)
        if job == "convert":
            drawn = conversion_graph(song, singer, settings)
        else:
            drawn = cover_graph(song, singer, settings, vocals, instrumental, backing_vocals)
    cached = Store(cache or cache_folder()).has
    print_result({"nodes": describe(drawn, cached)}, lambda: escape(DRAWINGS[draw](drawn, cached)))


def warnings(made: dict[str, Any]) -> None:
    for warning in made["warnings"]:
        print_note(f"[yellow]Note ({warning['stage']}):[/] {escape(warning['warning'])}")


def _until_text(made: dict[str, Any]) -> str:
    return "\n".join(f"{name}: [bold]{escape(str(value))}[/]" for name, value in made["made"].items())


def _cover_text(made: dict[str, Any]) -> str:
    loudness = made["loudness"]
    verdict = made["verdict"]
    lines = [
        f"Cover:  [bold]{escape(made['cover'])}[/]",
        f"Report: [bold]{escape(made['report'])}[/]",
        *(f"{stem}: {escape(path)}" for stem, path in made["stems"].items()),
        *(escape(step["told"]) for step in made.get("chain", ())),
        escape(made["transpose_reason"]),
        f"Loudness {loudness['cover']:.1f} LUFS (song {loudness['song']:.1f}), "
        f"true peak {loudness['true_peak']:.1f} dBTP.",
        f"Verdict: {escape(verdict['reason'])}",
    ]
    return "\n".join(lines)
