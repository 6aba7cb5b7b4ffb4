"""``understudy separate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from understudy.choices import FormatName, listed
from understudy.services.cli.console import print_result
from understudy.services.cli.cover import print_warnings
from understudy.services.cli.options import CLUSTER, OUTPUT, Options, with_options

if TYPE_CHECKING:
    from understudy.results import SeparationResult


@with_options("start duration model cookies overwrite preset set cache device", CLUSTER, OUTPUT)
def separate(
    song: Annotated[str, typer.Argument(help="The song: any common audio or video file, or a link.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default stems/SONG.")] = None,
    *,
    stems: Annotated[
        str | None,
        typer.Option(
            help="2 (vocals, instrumental), 4 (vocals, drums, bass, other), 6 (guitar and piano, too), or names: "
            "lead,backing,reverb,drums..."
        ),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="Write the song with other levels, in dB: 'vocals=-6,drums=+2,bass=off'.")
    ] = None,
    karaoke: Annotated[
        bool, typer.Option("--karaoke", help="Write a karaoke version: the lead stays softly, as a guide.")
    ] = False,
    guide: Annotated[str | None, typer.Option(help="dB of the lead in karaoke, or off; default -12.")] = None,
    midi: Annotated[
        str | None, typer.Option(help="Write the notes of these stems as MIDI: vocals,bass,piano...")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help=f"{listed(FormatName)}; stem.m4a or stem.mp4: one file for DJ software (add :alac for lossless)."
        ),
    ] = None,
    options: Options,
) -> None:
    """Take a song apart: its stems, a mix with other levels, a karaoke version, notes.

    Writes stems/SONG/vocals.flac and so on. Without --stems, the vocals and the instrumental, unless a mix, a karaoke
    version or notes are requested instead.
    """
    from understudy.jobs import SeparationJob, separate_song
    from understudy.pipeline.separation_request import (
        GUIDE,
        SeparationRequest,
        container_named,
        parse_guide,
        parse_levels,
        parse_stems,
    )

    container = container_named(format) if format else None
    settings = options.settings(more={"output.format": None if container else format})
    request = SeparationRequest(
        None if stems is None else parse_stems(stems),
        container,
        {} if mix is None else parse_levels(mix),
        karaoke or guide is not None,
        GUIDE if guide is None else parse_guide(guide),
        () if midi is None else parse_stems(midi),
    )
    found, _ = options.song(song)
    with options.runner() as runner:
        result = separate_song(SeparationJob(found, settings, request, output, options.overwrite), runner)
    print_warnings(result.warnings)
    print_result(result.to_dict(), lambda: _text(result))


def _text(result: SeparationResult) -> str:
    single = {"stem file": result.stem_file, "mix": result.mix, "karaoke": result.karaoke}
    files = {
        **({} if result.stem_file else result.stems),
        **{name: file for name, file in single.items() if file is not None},
        **{f"notes of {name}": path for name, path in result.midi.items()},
    }
    lines = [f"{name}: [bold]{escape(str(getattr(file, 'path', file)))}[/]" for name, file in files.items()]
    lines += [escape(step.told) for step in result.chain]
    lines += [escape(remark.sentence) for remark in result.remarks]
    lines += [escape(advice) for advice in dict.fromkeys(remark.advice for remark in result.remarks) if advice]
    return "\n".join(lines)
