"""``understudy reproduce``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.markup import escape

from understudy.services.cli.console import print_result
from understudy.services.cli.cover import OWN_BACKING, OWN_INSTRUMENTAL, OWN_VOCALS
from understudy.services.cli.options import OUTPUT, VOICE, Options, with_options


@with_options("voices cache device", OUTPUT)
def reproduce(
    cover: Annotated[Path, typer.Argument(help="A cover, a kept stem, a conversion or a video, as it was written.")],
    *,
    song: Annotated[Path | None, typer.Option(help="The song that it was made from.")] = None,
    voice: VOICE,
    vocals: OWN_VOCALS = None,
    instrumental: OWN_INSTRUMENTAL = None,
    backing_vocals: OWN_BACKING = None,
    options: Options,
) -> None:
    """Render a signed cover again from its inputs, and compare: is it what it says?

    Settings, engines and the format are those of its credentials. On the same platform the sound is the same, sample by
    sample; on another one the difference is at least 60 dB below it. Exits 1 if it is not.
    """
    from understudy.reproduction import reproduce

    given = {"song": song, "vocals": vocals, "instrumental": instrumental, "backing": backing_vocals}
    inputs = {role: path for role, path in given.items() if path is not None}
    beside = cover.with_suffix(".c2pa")
    cast = options.cast(voice)
    options.cache.mkdir(parents=True, exist_ok=True)
    # nothing of the cache is used: it may be where the cover is from
    with TemporaryDirectory(dir=options.cache, prefix="reproduce-") as folder:
        fresh = replace(options, values={**options.values, "cache": Path(folder)})
        with fresh.runner() as runner:
            made = reproduce(cover, beside if beside.is_file() else None, inputs, cast, runner)
    print_result({"cover": str(cover), **asdict(made)}, lambda: escape(made.conclusion))
    if not made.reproduced:
        raise typer.Exit(1)
