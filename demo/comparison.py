"""Makes what the page plays before and after: ``python -m demo.comparison``.

Writes next to itself ``before.m4a``, the first chorus of the demo song, and ``after.m4a``, its cover with the demo
voice and the settings that everybody begins with.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import understudy as us
from demo.score import BAR, SECTIONS
from understudy.audio.encode import OutputFormat, encode
from understudy.audio.files import decode
from understudy.audio.tags import Tags
from understudy.context import Context

FOLDER = Path(__file__).parent
FORMAT = OutputFormat(name="m4a", kilobits=128)


def main() -> None:
    _, start, stop = next(section for section in SECTIONS if section[0] == "chorus")
    length = (stop - start) * BAR
    part = {"song.start": start * BAR, "song.duration": length}
    with TemporaryDirectory() as scratch:
        folder, context = Path(scratch), Context(Path(scratch))
        session = us.Session(voices=folder / "voices", cache=folder / "cache")
        session.voices.add("demo", sorted((FOLDER / "voice").glob("*.flac")), consent="granted")
        cover = session.cover(FOLDER / "song.mp3", voice="demo", settings=part, output=folder / "cover.flac")
        song = decode(context, FOLDER / "song.mp3", folder / "song.npy", start=start * BAR, duration=length)
        for name, sound in (("before", song), ("after", decode(context, cover.path, folder / "cover.npy"))):
            encode(context, sound, FOLDER / f"{name}.m4a", FORMAT, Tags(name))


if __name__ == "__main__":
    main()
