"""How well a separator separates: SDR per song, speed and memory.

    python benchmarks/separation.py DIR [--separator NAME] [--json]

DIR holds one folder per song with the audio files `mixture`, `vocals` and `instrumental` (or `accompaniment`; or
`drums`, `bass` and `other`, which are summed), any format, one rate and length. Without DIR three songs are made up.

SDR is 10 log10(|s|^2 / |s - e|^2) over all samples and channels of the whole file, in dB, as in the Music Demixing
Challenge 2021 (Mitsufuji et al.). For a stem that is silent it says nothing: there, `leak` is the level of the
estimated vocals relative to the song. RTF and CPU: wall and processor seconds per second of song, reading included.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio.context import Context
from audio.files import decode
from audio.samples import Audio, Samples
from pipeline.separation.separator import separator


@dataclass(frozen=True)
class Song:
    name: str
    mixture: Audio
    vocals: Audio
    instrumental: Audio


@dataclass(frozen=True)
class Score:
    """`vocals`, `instrumental`: SDR in dB. `leak`: level of the estimated vocals relative to the song, dB."""

    song: str
    seconds: float
    vocals: float
    instrumental: float
    leak: float
    rtf: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--separator", default="embedded")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    songs = songs_in(options.folder) if options.folder else made_up_songs()
    scores = [score(song, options.separator, options.workers) for song in songs]
    if not scores:
        sys.exit(f"{options.folder} holds no folder with mixture, vocals and instrumental.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps({"songs": [asdict(one) for one in scores], "peak_mib": round(peak)}))
        return
    print(f"{'song':32} {'seconds':>8} {'vocals':>7} {'instr.':>7} {'leak':>7} {'RTF':>6} {'CPU':>6}")
    for one in scores:
        print(_row(one.song, one))
    sung = [one for one in scores if np.isfinite(one.vocals)]
    if sung:
        mean = {field: float(np.mean([getattr(one, field) for one in sung])) for field in list(asdict(sung[0]))[1:]}
        print(_row(f"mean of {len(sung)} with vocals", Score("mean", **mean)))
    print(f"peak memory {peak:.0f} MiB")


def _row(name: str, one: Score) -> str:
    return (
        f"{name[:32]:32} {one.seconds:8.1f} {one.vocals:7.2f} {one.instrumental:7.2f} {one.leak:7.1f} "
        f"{one.rtf:6.3f} {one.cpu:6.3f}"
    )


def score(song: Song, name: str, workers: int) -> Score:
    """Separate `song` with the separator of that name and compare with its true stems."""
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Path(folder), workers=workers)
        stems = separator(name)(context, song.mixture)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        vocals, instrumental = (stems[stem].read().samples for stem in ("vocals", "instrumental"))
    return Score(
        song.name,
        song.mixture.duration,
        sdr(song.vocals.samples, vocals),
        sdr(song.instrumental.samples, instrumental),
        10 * float(np.log10((np.sum(vocals**2.0) + 1e-12) / (np.sum(song.mixture.samples**2.0) + 1e-12))),
        wall / song.mixture.duration,
        cpu / song.mixture.duration,
    )


def sdr(truth: Samples, estimate: Samples) -> float:
    """Signal-to-distortion ratio in dB; nan where `truth` is silent (below -80 dBFS)."""
    power = float(np.sum(np.square(truth, dtype=np.float64)))
    if power <= 1e-8 * truth.size:
        return float("nan")
    return 10 * float(np.log10(power / (np.sum(np.square(truth - estimate, dtype=np.float64)) + 1e-12)))


def songs_in(folder: Path) -> Iterator[Song]:
    """The songs below `folder`, by name; folders without a mixture, vocals and accompaniment are passed over."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = {path.stem.lower(): path for path in sorted(place.iterdir()) if path.is_file()}
        rest = next(
            (names for names in (["instrumental"], ["accompaniment"], ["drums", "bass", "other"]) if names[0] in files),
            None,
        )
        if rest is None or not {"mixture", "vocals", *rest} <= files.keys():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            context = Context(Path(scratch))
            heard = {
                name: decode(context, files[name], Path(scratch) / name).read() for name in ["mixture", "vocals", *rest]
            }
        instrumental = Audio(
            np.sum([heard[name].samples for name in rest], axis=0, dtype=np.float32), heard["vocals"].rate
        )
        yield Song(place.name, heard["mixture"], heard["vocals"], instrumental)


def made_up_songs(rate: int = 44100, seconds: float = 30.0) -> Iterator[Song]:
    """Three songs of a synthetic voice with vibrato over chords, bass and drums: a voice in front, a voice in the
    background, and no voice at all."""
    for name, gain in (("voice in front", 1.0), ("voice in the background", 0.4), ("no voice", 0.0)):
        vocals = Audio(np.repeat(gain * sung(rate, seconds)[None], 2, axis=0).astype(np.float32), rate)
        instrumental = Audio(accompaniment(rate, seconds), rate)
        yield Song(name, Audio(vocals.samples + instrumental.samples, rate), vocals, instrumental)


def sung(rate: int, seconds: float) -> NDArray[np.float64]:
    """A melody in vowels: 20 harmonics with 5.5 Hz vibrato under two moving formants, one note each 0.6 s and every
    fifth one silent."""
    random = np.random.default_rng(1)
    time_ = np.arange(round(seconds * rate)) / rate
    note = (time_ / 0.6).astype(int)
    steps = random.choice([0, 2, 4, 5, 7, 9], note[-1] + 1)
    formants = random.uniform([350, 900], [800, 2300], (note[-1] + 1, 2))
    pitch = 220 * 2 ** (steps[note] / 12) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time_))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    shape = np.clip(np.minimum(time_ % 0.6, 0.6 - time_ % 0.6) / 0.05, 0, 1) * (note % 5 != 4)
    voice = np.zeros_like(time_)
    for number in range(1, 21):
        resonance = np.exp(-(((number * pitch)[:, None] - formants[note]) ** 2) / (2 * 180.0**2)).sum(axis=1)
        voice += (0.05 + resonance) / number**0.5 * np.sin(number * phase) * (number * pitch < rate / 2)
    return np.asarray(0.15 * voice * shape)


def accompaniment(rate: int, seconds: float) -> Samples:
    """Four chords of 2 s to either side, a bass in the middle, and a drum pattern; all of it repeats every 8 s."""
    random = np.random.default_rng(2)
    time_ = np.arange(round(seconds * rate)) / rate
    bar = (time_ / 2).astype(int) % 4
    root = np.array([110.0, 87.31, 130.81, 98.0])[bar]
    left, right, middle = np.zeros((3, len(time_)))
    for step, side in ((0, left), (4, right), (7, left), (12, right)):
        for number in range(1, 9):
            frequency = 2 * root * 2 ** (step / 12) * number
            side += 0.05 / number * np.sin(2 * np.pi * frequency * (time_ % 2)) * (frequency < rate / 2)
    middle += 0.2 * np.sin(2 * np.pi * root / 2 * (time_ % 2)) * np.exp(-1.5 * (time_ % 0.5))
    hit = time_ % 0.5
    snare = (time_ / 0.5).astype(int) % 2 == 1
    noise = random.standard_normal(round(0.5 * rate) + 1)[np.minimum((hit * rate).astype(int), round(0.5 * rate))]
    middle += np.where(snare, 0.2 * noise * np.exp(-30 * hit), 0.5 * np.sin(2 * np.pi * 55 * hit) * np.exp(-15 * hit))
    middle *= np.clip(hit / 0.002, 0, 1)
    return np.stack([left + 0.4 * right + middle, right + 0.4 * left + middle]).astype(np.float32)


if __name__ == "__main__":
    main()
