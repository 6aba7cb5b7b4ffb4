"""What limiting does to loud covers: one slow gain, as before, against the sustained and the fast gain in use.

    python benchmarks/limiter.py                       # the demo song with the demo voice, as it is and mastered loud
    python benchmarks/limiter.py SONG.flac ... --recordings mine.wav ... --master -8

Each song is covered as it is and mastered to `--master` LUFS (a soft clipper at four times the rate). The cover's stems
are made once; then the mix is made with each limiter, both by the loop that meets the song's loudness. Columns: `gain`
that all stems were given; gain reduction `most`, `mean` over the time, and the time with more than 3 dB; loudness
against the song (`off`) and how much of it the cap explains (`cap`), in LU; `LRA` against that of the stems' sum, in
LU; true peak by a second meter (soxr, 8 x); peak to loudness ratio of the song and of the stems' sum.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np
import pyloudnorm
import soundfile
import soxr
from numpy.typing import NDArray

from understudy import Session
from understudy.audio import limiter
from understudy.audio.limiter import Limiting
from understudy.audio.loudness import Loudness, measure, measure_blocks
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile
from understudy.audio.views import Sum
from understudy.context import Context
from understudy.jobs import CoverJob
from understudy.pipeline.executor import LocalExecutor, Result
from understudy.pipeline.graph import Graph, Node
from understudy.pipeline.settings import load_settings
from understudy.pipeline.stages import remix
from understudy.pipeline.store import Store
from understudy.voices.voice import Voice

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("before", "after")
KNEE, TOP = 0.8, 0.97  # linear: where the clipper of the loud master begins, and what it never passes


def slow(window: Audio, ceiling: float) -> Limiting:
    """One gain with the look-ahead and release of the sustained part, for all peaks."""
    limit = 10 ** (ceiling / 20)
    peaks = limiter.true_peaks(window, limit)
    over = np.maximum(peaks / np.float32(limit), 1.0).astype(np.float64)
    curve = limiter._curve(-20 * np.log10(over), window.rate, limiter.ATTACK, limiter.RELEASE)
    return Limiting(limiter._linear(curve), np.ones(window.frames, np.float32), peaks, idle=not curve.any())


def mastered(samples: Samples, rate: int, loudness: float) -> Samples:
    """`samples` ``[channels, frames]`` at `loudness` LUFS, as loud masters are made: by a gain and a soft clipper."""
    meter, gain = pyloudnorm.Meter(rate), 1.0
    for _ in range(6):
        fine = soxr.resample((samples * gain).T, rate, 4 * rate)
        level = np.abs(fine)
        bent = np.sign(fine) * (KNEE + (TOP - KNEE) * np.tanh((level - KNEE) / (TOP - KNEE)))
        loud = soxr.resample(np.where(level < KNEE, fine, bent), 4 * rate, rate).T[:, : samples.shape[1]]
        gain *= 10 ** ((loudness - meter.integrated_loudness(loud.T)) / 20)
    return np.asarray(loud, np.float32)


def made_by(graph: Graph, targets: list[Node[Any]], folder: Path) -> Result:
    """What the nodes make; stages that were made before come from the cache in `folder`."""
    return LocalExecutor(Store(folder / "cache")).run(graph, targets, lambda event: None, Event())


def stems_of(song: Path, voice: Voice, folder: Path) -> tuple[AudioFile, dict[str, AudioFile]]:
    """The song and the cover's stems as they go into the mix."""
    graph = CoverJob(song, voice, load_settings("embedded")).graph
    inputs: Mapping[str, Any] = graph.mix.inputs
    sources = {"song": inputs["song"], **inputs["stems"]}
    made = made_by(graph.graph, [source.node for source in sources.values()], folder)
    files = {name: made[source] for name, source in sources.items()}
    return files.pop("song"), files


@dataclass(frozen=True)
class Mixed:
    """`gain`: the limiter's; `plain`: of the stems' sum without it, at the same levels."""

    cover: Samples
    loudness: remix.CoverLoudness
    gain: NDArray[np.float32]
    plain: Loudness


def mixed(song: AudioFile, stems: Mapping[str, AudioFile], side: str, folder: Path) -> Mixed:
    """The cover by one of `SIDES`."""
    context = Context(folder, workers=1)
    function = {"before": slow, "after": limiter.limiting}[side]
    heavy = {"before": 60.0, "after": remix.HEAVY}[side]
    with patch.object(remix, "limiting", function), patch.object(remix, "HEAVY", heavy):
        made = remix.remix(context, song, stems, remix.measure_stems(context, song, stems), remix.RemixSettings())
        levels = made.mixing.levels
        source = remix.Stacked(
            tuple(stems.values()), tuple(remix._linear(levels)), song.rate, song.channels, song.frames
        )
        gains = [gains[0] for _, gains in remix.limited_blocks(context, source, made.mixing.ceiling)]
    plain = measure(Sum(source.files, source.gains), context)
    return Mixed(made.cover.read().samples, made.loudness, np.concatenate(gains), plain)


def true_peak(samples: Samples, rate: int) -> float:
    """dBTP by eight-fold oversampling."""
    return float(20 * np.log10(np.abs(soxr.resample(samples.T, rate, 8 * rate, quality="VHQ")).max()))


def row(name: str, side: str, song: AudioFile, made: Mixed) -> str:
    found, plain = made.loudness, made.plain
    loudness = measure_blocks([Audio(made.cover, song.rate)], song.rate, song.channels)
    off = loudness.integrated - found.song.integrated
    taken = 20 * np.log10(1 / made.gain)
    return (
        f"{name:20} {side:7}{found.song.integrated:7.1f}{found.gain:6.1f}{taken.max():6.1f}"
        f"{taken.mean():6.2f}{100 * (taken > remix.HEAVY).mean():7.2f} %{off:7.2f}{-found.shortfall:7.2f}"
        f"{loudness.range - plain.range:7.2f}{true_peak(made.cover, song.rate):8.2f}"
        f"{found.song.true_peak - found.song.integrated:7.1f}{plain.true_peak - plain.integrated:7.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, nargs="*", default=[ROOT / "demo" / "song.mp3"])
    parser.add_argument("--recordings", type=Path, nargs="+", default=sorted((ROOT / "demo" / "voice").glob("*.flac")))
    parser.add_argument("--master", type=float, default=-8.0, help="LUFS of the loud master")
    options = parser.parse_args()
    print(
        f"{'song':20} {'limiter':7}{'LUFS':>7}{'gain':>6}{'most':>6}{'mean':>6}{'> 3 dB':>9}{'off':>7}{'cap':>7}"
        f"{'LRA':>7}{'dBTP':>8}{'PLR':>7}{'stems':>7}"
    )
    with tempfile.TemporaryDirectory(prefix="understudy-") as temporary:
        folder = Path(temporary)
        session = Session(voices=folder / "voices", cache=folder / "cache")
        session.voices.add("voice", [str(path) for path in options.recordings], consent="granted")
        voice = session.voices.get("voice")
        for path in options.songs:
            samples, rate = soundfile.read(path, always_2d=True, dtype="float32")
            loud = folder / f"{path.stem} loud.wav"
            soundfile.write(loud, mastered(samples.T, rate, options.master).T, rate, subtype="FLOAT")
            for song in (path, loud):
                original, stems = stems_of(song, voice, folder)
                made = {side: mixed(original, stems, side, folder) for side in SIDES}
                for side in SIDES:
                    print(row(song.stem, side, original, made[side]), flush=True)


if __name__ == "__main__":
    main()
