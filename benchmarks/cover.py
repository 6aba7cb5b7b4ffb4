"""Time and memory of a cover of a full-length song: real-time factor of every stage, and peak memory.

    python benchmarks/cover.py                        # the demo song, repeated to 4 minutes, with the demo voice
    python benchmarks/cover.py --minutes 60           # memory of a long song
    python benchmarks/cover.py --song my.flac --recordings mine1.wav mine2.wav

The command runs as a separate process with an empty cache. Its memory is the maximum resident set size. Then it runs
again: with another gain, with another format, and with nothing else than before, which is the start of the process.
Their time is printed as a share of the first run; CPU seconds say more on a busy machine. Real-time factor:
seconds of work per second of song.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    answer: dict[str, Any]
    wall: float  # seconds
    cpu: float  # seconds
    peak: float  # MiB


def run(arguments: list[str], folder: Path) -> Run:
    """One ``understudy`` process; only on systems that have wait4."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "UNDERSTUDY_VOICES": str(folder / "voices"),
        "UNDERSTUDY_CACHE": str(folder / "cache"),
        "UNDERSTUDY_CACHE_GB": "200",
    }
    begun = time.monotonic()
    with (folder / "answer.json").open("w") as out:
        command = [sys.executable, "-m", "understudy", *arguments, "--json"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    if status:
        sys.exit((folder / "answer.json").read_text())
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    answer = json.loads((folder / "answer.json").read_text())
    return Run(answer, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def repeat(song: Path, minutes: float, target: Path) -> Path:
    """The song repeated up to `minutes`. Each repetition has another gain, so that no two are equal."""
    samples, rate = soundfile.read(song, always_2d=True, dtype="float32")
    left, repetition = round(minutes * 60 * rate), 0
    with soundfile.SoundFile(target, "w", rate, samples.shape[1], "PCM_24") as file:
        while left > 0:
            file.write(samples[:left] * np.float32(1 - 0.03 * (repetition % 5)))
            left -= len(samples)
            repetition += 1
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--song", type=Path, default=ROOT / "demo" / "song.mp3")
    parser.add_argument("--recordings", type=Path, nargs="+", default=sorted((ROOT / "demo" / "voice").glob("*.flac")))
    parser.add_argument("--minutes", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-") as name:
        folder = Path(name)
        song = repeat(options.song, options.minutes, folder / "song.wav")
        recordings = [str(path.resolve()) for path in options.recordings]
        run(["voices", "add", "voice", *recordings, "--consent", "granted"], folder)
        cover = ["cover", str(song), "--voice", "voice"]
        first = run(cover, folder)
        seconds = first.answer["duration"]
        print(f"{seconds / 60:.1f} minutes of song, {os.cpu_count()} cores")
        print(f"{'stage':24}{'seconds':>10}{'x real time':>14}")
        for stage in first.answer["stages"]:
            print(f"{stage['name']:24}{stage['seconds']:>10.2f}{stage['seconds'] / seconds:>14.4f}")
        print(f"{'whole command (wall)':24}{first.wall:>10.2f}{first.wall / seconds:>14.4f}")
        print(f"{'whole command (CPU)':24}{first.cpu:>10.2f}{first.cpu / seconds:>14.4f}")
        print(f"peak memory {first.peak:.0f} MiB")
        for change in (["--vocal-gain", "2"], ["--format", "mp3"], []):
            again = run([*cover, *change], folder)
            done = ", ".join(stage["name"] for stage in again.answer["stages"] if not stage["cached"])
            wall = f"{again.wall:>6.2f} s = {again.wall / first.wall:.1%} of the first"
            print(f"then {' '.join(change):18}{wall}, CPU {again.cpu:.2f} s = {again.cpu / first.cpu:.1%} ({done})")


if __name__ == "__main__":
    main()
