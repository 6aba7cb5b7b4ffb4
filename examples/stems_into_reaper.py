"""Separate a song and write a Reaper project with a track for each stem, aligned, and the song itself muted.

    python examples/stems_into_reaper.py song.mp3 project.rpp

The project is a text file. Other programs read the stems from the project's folder.
"""

import sys
from pathlib import Path

import understudy as us


def track(name: str, path: Path, seconds: float, muted: bool = False) -> str:
    """A track with one item, as Reaper's project format has it."""
    kind = {".flac": "FLAC", ".wav": "WAVE", ".mp3": "MP3"}.get(path.suffix.lower(), "VIDEO")
    return f"""  <TRACK
    NAME "{name}"
    MUTESOLO {int(muted)} 0 0
    <ITEM
      POSITION 0
      LENGTH {seconds:.6f}
      NAME "{name}"
      <SOURCE {kind}
        FILE "{path.resolve().as_posix()}"
      >
    >
  >
"""


song, project = Path(sys.argv[1]), Path(sys.argv[2])
result = us.separate(song, output=project.with_suffix(""))

stems = result.stems
seconds = max(stem.duration for stem in stems.values())
rate = next(iter(stems.values())).rate
tracks = [track(name, stem.path, seconds) for name, stem in stems.items()]
tracks.append(track(song.stem, song, seconds, muted=True))
project.write_text(f'<REAPER_PROJECT 0.1 "7.0"\n  SAMPLERATE {rate} 1 0\n{"".join(tracks)}>\n', "utf-8")
print(project)
