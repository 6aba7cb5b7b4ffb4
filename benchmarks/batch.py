"""A batch of songs times voices, compared with the same covers made one by one without a cache.

    python benchmarks/batch.py                                # 10 synthesised songs of 30 s, 3 voices
    python benchmarks/batch.py --songs 4 --seconds 120

Every run is a separate process. The batch runs twice, before and after the single covers, so that other load on the
machine affects both sides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import signals  # noqa: E402


def understudy(folder: Path, cache: Path, *arguments: str) -> float:
    """Wall seconds of one command."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "UNDERSTUDY_VOICES": str(folder / "voices"),
        "UNDERSTUDY_CACHE": str(cache),
    }
    begun = time.monotonic()
    command = [sys.executable, "-m", "understudy", *arguments, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - begun


def material(folder: Path, songs: int, voices: int, seconds: float) -> tuple[list[str], list[str]]:
    """The names of so many songs, synthesised into `folder`, and of so many voices in the library there."""
    files = []
    for number in range(songs):
        sound = signals.song(seconds + number, seed=number).mix
        files.append(f"song {number}.wav")
        soundfile.write(folder / files[-1], sound.samples.T, sound.rate)
    names = []
    for number in range(voices):
        notes = [
            signals.Note(45 + step + 3 * number, 0.8, vowel, "s")
            for step, vowel in zip((0, 2, 4, 5, 7, 5, 4, 2) * 3, "aeioaeiu" * 3, strict=True)
        ]
        sung, _ = signals.singing(notes, formants=0.85 + 0.1 * number, seed=number)
        soundfile.write(folder / "recording.wav", sung.samples.T, sung.rate)
        names.append(f"voice {number}")
        understudy(folder, folder / "cache", "voices", "add", names[-1], "recording.wav", "--consent", "self")
    return files, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=10)
    parser.add_argument("--voices", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-") as made:
        folder = Path(made)
        songs, voices = material(folder, chosen.songs, chosen.voices, chosen.seconds)
        voice_options = [part for voice in voices for part in ("--voice", voice)]
        combined = [understudy(folder, folder / "cache a", "batch", *songs, *voice_options, "--output", "a")]
        single = 0.0
        for position, (song, voice) in enumerate((song, voice) for song in songs for voice in voices):
            cache = folder / f"cache of {position}"
            single += understudy(folder, cache, "cover", song, "--voice", voice, "--output", f"single {position}.flac")
        combined.append(understudy(folder, folder / "cache b", "batch", *songs, *voice_options, "--output", "b"))
    mean = sum(combined) / len(combined)
    count = chosen.songs * chosen.voices
    print(f"{count} covers of {chosen.seconds:.0f} s one by one: {single:.1f} s")
    print(f"as one batch: {combined[0]:.1f} s before, {combined[1]:.1f} s after; {mean / single:.0%} of the time")


if __name__ == "__main__":
    main()
