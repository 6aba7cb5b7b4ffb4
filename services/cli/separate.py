"""``understudy separate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from understudy.services.cli import options as o
from understudy.services.cli.console import print_result
from understudy.services.cli.cover import warnings

if TYPE_CHECKING:
    from understudy.pipeline.wanted import Container, Wanted

STEMS = Annotated[
    str | None,
    typer.Option(
        "--stems",
        help="2 (vocals, instrumental), 4 (vocals, drums, bass, other), 6 (guitar and piano, too), or names: "
        "lead,backing,reverb,drums...",
        show_default=False,
    ),
]
MIX = Annotated[
    str | None,
    typer.Option(
        "--mix", help="Write the song with other levels, in dB: 'vocals=-6,drums=+2,bass=off'.", show_default=False
    ),
]
KARAOKE = Annotated[
    bool, typer.Option("--karaoke", help="Write a karaoke version: the lead is heard softly, as a guide.")
]
GUIDE = Annotated[
    str | None,
    typer.Option("--guide", help="dB of the lead in karaoke, or off; default -12.", show_default=False),
]
MIDI = Annotated[
    str | None,
    typer.Option("--midi", help="Write the notes of these stems as MIDI: vocals,bass,piano...", show_default=False),
]
FORMAT = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="wav16, wav24, wav32f, flac, mp3, m4a, opus; stem.m4a or stem.mp4: one file for DJ software (add :alac "
        "for lossless).",
        show_default=False,
    ),
]


def separate(
    song: Annotated[Path, typer.Argument(help="The song: any common audio or video file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default stems/SONG.", show_default=False)
    ] = None,
    stems: STEMS = None,
    mix: MIX = None,
    karaoke: KARAOKE = False,
    guide: GUIDE = None,
    midi: MIDI = None,
    format: FORMAT = None,
    start: o.START = None,
    duration: o.DURATION = None,
    model: o.MODEL = None,
    preset: o.PRESET = None,
    set: o.SET = None,
    overwrite: o.OVERWRITE = False,
    cache: o.CACHE = None,
    device: o.DEVICE = None,
    json: o.JSON = False,
    quiet: o.QUIET = False,
    debug: o.DEBUG = False,
) -> None:
    """Take a song apart: its stems, a mix with other levels, a karaoke version, notes.

    Writes stems/SONG/vocals.flac and so on. Without --stems, the vocals and the instrumental, unless a mix, a karaoke
    version or notes are all that is asked for.
    """
    from understudy.jobs import SeparationJob, separate_song
    from understudy.pipeline.wanted import container_named

    container = container_named(format) if format else None
    named = {
        "song.start": start,
        "song.duration": duration,
        "separation.model": model,
        "output.format": None if container else format,
    }
    settings = o.settings_from(preset, set, named)
    job = SeparationJob(song, settings, _wanted(stems, container, mix, karaoke, guide, midi), output, overwrite)
    with o.runner(cache, device) as runner:
        made = separate_song(job, runner).to_dict()
    warnings(made)
    print_result(made, lambda: _text(made))


def _wanted(
    stems: str | None,
    container: Container | None,
    mix: str | None,
    karaoke: bool,
    guide: str | None,
    midi: str | None,
) -> Wanted:
    from understudy.pipeline.wanted import GUIDE, Wanted, parse_guide, parse_levels, parse_stems

    return Wanted(
        None if stems is None else parse_stems(stems),
        container,
        {} if mix is None else parse_levels(mix),
        karaoke or guide is not None,
        GUIDE if guide is None else parse_guide(guide),
        () if midi is None else parse_stems(midi),
    )


def _text(made: dict[str, Any]) -> str:
    files = {
        **made["stems"],
        **{name.replace("_", " "): made[name] for name in ("stem_file", "mix", "karaoke") if name in made},
        **{f"notes of {name}": path for name, path in made.get("midi", {}).items()},
    }
    lines = [f"{name}: [bold]{escape(path)}[/]" for name, path in files.items()]
    lines += [escape(step["told"]) for step in made.get("chain", ())]
    remarks = made["quality"]["remarks"]
    lines += [escape(one["sentence"]) for one in remarks]
    lines += [escape(advice) for advice in dict.fromkeys(one["advice"] for one in remarks) if advice]
    return "\n".join(lines)
