"""Makes songs to train a separator on: ``python -m benchmarks.training_songs.make FOLDER --songs 120 --seed 1``.

Every sound is drawn by our own scripts (espeak-ng speaks the syllables that the singer sings). FOLDER gets a folder per
song in the layout of MUSDB18-HQ: ``mixture``, ``vocals``, ``drums``, ``bass`` and ``other``, here as 16-bit FLAC,
44.1 kHz stereo; the mixture is the sum of the others. A song depends on the seed, its number and its length alone:
songs that are there are kept, so that a run goes on where it was stopped, and several may fill one folder. Each is made
in a process of its own, because what espeak-ng says depends on all that it has said before.
"""

from __future__ import annotations

import argparse
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.training_songs.arrangement import band, scale_of
from benchmarks.training_songs.singing import vocals
from demo.singer import RATE
from demo.speech import Espeak

Floats = NDArray[np.floating]
STEMS = ("vocals", "drums", "bass", "other")


def song(espeak: Espeak, seed: int, number: int, seconds: float) -> dict[str, Floats]:
    """The stems of one song, float ``[2, frames]``, at the levels that they have in it; their sum peaks at 0.9."""
    random = np.random.default_rng([seed, number])
    u = random.uniform
    scale, beat = scale_of(random), 60 / u(62, 165)
    stems = {"vocals": vocals(espeak, scale, beat, seconds, random), **band(scale, beat, seconds, random)}
    wanted = {"vocals": 0.0, "drums": u(-9, 2), "bass": u(-9, 0), "other": u(-8, 3)}
    for name, stem in stems.items():
        level = float(np.sqrt(np.mean(stem**2)))
        stems[name] = stem * 10 ** (wanted[name] / 20) / max(level, 1e-6)
    behind = stems["drums"] + stems["bass"] + stems["other"]
    stems["vocals"] *= 10 ** (u(-9, 3) / 20) * np.sqrt(np.mean(behind**2) + 1e-9)
    total = sum(stems.values())
    squeezed = 1.0
    if u() < 0.6:  # the sum is limited softly: all stems by the same gain
        drive = u(0.3, 1.5) / (np.sqrt(np.mean(total**2)) * 3)
        middle = np.abs(total).max(axis=0)
        squeezed = 1 / (1 + (drive * _smooth(middle)) ** 2) ** 0.5
    peak = float(np.abs(total * squeezed).max()) + 1e-9
    return {name: stem * squeezed * 0.9 / peak for name, stem in stems.items()}


def _smooth(level: Floats, seconds: float = 0.01) -> Floats:
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    width = round(seconds * RATE)
    return np.asarray(uniform_filter1d(maximum_filter1d(level, width), width))


def write(folder: Path, stems: dict[str, Floats]) -> None:
    """All `stems` and their sum as files; the folder appears under its name when it is complete."""
    made = folder.with_name(folder.name + ".part")
    made.mkdir(parents=True, exist_ok=True)
    whole = {name: np.round(stem * 32767).astype(np.int16) for name, stem in stems.items()}
    whole["mixture"] = np.clip(sum(w.astype(np.int32) for w in whole.values()), -32768, 32767).astype(np.int16)
    for name, samples in whole.items():
        soundfile.write(made / f"{name}.flac", samples.T, RATE, subtype="PCM_16")
    made.rename(folder)


def make(folder: Path, seed: int, number: int, seconds: float) -> None:
    """One song into `folder`; to be called in a new process."""
    write(folder / f"{seed}-{number:05d}", song(Espeak(), seed, number, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=120)
    parser.add_argument("--first", type=int, default=0, help="number of the first song")
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="songs made at once")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.songs)
    tasks = [
        (options.folder, options.seed, number, options.seconds)
        for number in numbers
        if not (options.folder / f"{options.seed}-{number:05d}").exists()
    ]
    with get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        pool.starmap(make, tasks, chunksize=1)


if __name__ == "__main__":
    main()
