"""Examples to train on: random mixes of songs' stems, with what the network sees of them and what it should say.

Within a band of one frame, the error of a share `m` of the mix `x` against the voice `v` is, summed over the bins,
``Px (m - a)^2 + r`` with ``a = Re<v, x> / Px``: two maps hold all that the loss needs, whatever its resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Samples
from understudy.context import Context
from understudy.pipeline.separation.embedded.network import BANDS, WIDTHS, Features, features_of, to_bands
from understudy.pipeline.separation.embedded.separate import HIGHEST, cues_of
from understudy.pipeline.separation.spectrogram import Grid, Spectrum, analyse
from understudy.pipeline.separation.training.songs import RATE, StemSong

GRID = Grid.of(RATE, 0.093, HIGHEST)


@dataclass(frozen=True, eq=False)
class Example:
    """`maps`: float16 ``[CHANNELS + 2, frames, BANDS]``, the features and the wanted share of each side. `rest`:
    float32 ``[2, frames]``, the error that no share avoids and the power of the voice, both relative to the mean power
    of the mix's bins."""

    maps: NDArray[np.float16]
    rest: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """As two files beside `path`, the second one last."""
        np.save(path.with_suffix(".rest.npy"), self.rest)
        part = path.with_suffix(".part.npy")
        np.save(part, self.maps)
        part.rename(path)

    @staticmethod
    def load(path: Path) -> Example:
        """The example at `path`, its maps mapped from the file rather than read."""
        return Example(np.load(path, mmap_mode="r"), np.load(path.with_suffix(".rest.npy")))


def prepare(
    context: Context, songs: Sequence[StemSong], folder: Path, count: int, seed: int, seconds: float = 24.0
) -> list[Path]:
    """`count` examples of `songs` as files in `folder`, those that are there already kept."""
    paths = [folder / f"{number:05d}.npy" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            example(context, songs, seed, number, seconds).save(path)
            context.progress((number + 1) / count)
    return paths


def example(context: Context, songs: Sequence[StemSong], seed: int, number: int, seconds: float = 24.0) -> Example:
    """Example `number` of those that `seed` makes of `songs`: a random part, remixed."""
    random = np.random.default_rng([seed, number])
    voice, band = mix(context, songs, number % len(songs), seconds, random)
    return example_of(voice, band)


def mix(
    context: Context, songs: Sequence[StemSong], index: int, seconds: float, random: np.random.Generator
) -> tuple[Samples, Samples]:
    """Voice and band, ``[2, frames]`` at `RATE`: the voice of song `index` with its own band or that of one of the next
    eight songs. Every stem's level moves by some dB, the voice's lies around 4 dB below the band's; some mixes lack the
    voice or the band, some are mono."""
    song = songs[index]
    stems = song.read(context, random.uniform(0, max(0.0, song.seconds - seconds)), seconds)
    voice = stems.pop("vocals")
    if random.uniform() < 0.3:
        other = songs[(index + int(random.integers(1, 9))) % len(songs)]
        stems = other.read(context, random.uniform(0, max(0.0, other.seconds - seconds)), seconds)
        del stems["vocals"]
    kind = random.uniform()
    if kind < 0.06 and "drums" in stems:
        stems = {"drums": stems["drums"]}
    band = np.zeros_like(voice)
    for stem in stems.values():
        band += np.float32(10 ** (random.normal(0, 3) / 20)) * stem
    levels = [float(np.sqrt(np.mean(part**2))) for part in (voice, band)]
    if min(levels) > 1e-5:
        voice = voice * np.float32(10 ** (random.normal(-4, 4) / 20) * levels[1] / levels[0])
    chance = random.uniform()
    if chance < 0.08:
        voice = np.zeros_like(voice)
    elif chance < 0.11:
        band = band * np.float32(0.01)
    if random.uniform() < 0.1:
        voice, band = (np.repeat(part.mean(axis=0, keepdims=True), 2, axis=0) for part in (voice, band))
    if random.uniform() < 0.5:
        voice, band = voice[::-1], band[::-1]
    peak = np.abs(voice + band).max() + np.float32(1e-9)
    return np.asarray(voice / peak, np.float32), np.asarray(band / peak, np.float32)


def example_of(voice: Samples, band: Samples) -> Example:
    """What the network sees of ``voice + band``, both ``[2, frames]`` at `RATE`, and what it should say."""
    song = voice + band
    spectrum, sung = analyse(song, GRID), analyse(voice, GRID)
    features = features_of(spectrum, cues_of(song, spectrum, GRID), GRID)
    share, rest = _wanted(spectrum, sung)
    maps = np.concatenate((features, share)).astype(np.float16)
    return Example(maps, rest)


def _wanted(spectrum: Spectrum, sung: Spectrum) -> tuple[Features, NDArray[np.float32]]:
    share = np.empty((2, spectrum.shape[1], BANDS), np.float32)
    rest = np.zeros((2, spectrum.shape[1]), np.float32)
    level = 0.0
    for side in (0, 1):
        x, v = spectrum[side], sung[side]
        power = to_bands(x.real**2 + x.imag**2, GRID)
        common = to_bands(x.real * v.real + x.imag * v.imag, GRID)
        voice = to_bands(v.real**2 + v.imag**2, GRID)
        share[side] = np.clip(common / (power + 1e-12), -1, 2)
        rest[0] += ((voice - 2 * share[side] * common + share[side] ** 2 * power) * WIDTHS).sum(axis=1)
        rest[1] += (voice * WIDTHS).sum(axis=1)
        level += float(np.mean(power)) / 2
    return share, rest / np.float32(level + 1e-12)
