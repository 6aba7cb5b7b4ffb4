"""Fits the embedded separator's two fusions of cues to songs with known stems, and checks them on songs left out.

    python benchmarks/separation_fusion.py DIR [--leave-one-out]

DIR holds songs with known stems, as `understudy evaluate` reads them. Each is mixed at five levels of its voice, 4 dB
apart, and every second pair of a voice and another song's band is mixed, too. With --leave-one-out both fusions are
fitted anew for each song, from a start that knows no song, to all mixes without its voice and its band, and scored on
it: SDR in dB of vocals and instrumental, of the true stems' sum.

The optimum is flat where songs without a voice are traded against the others. The weights that are shipped come from an
earlier form of this fit, with other pairs of voices and bands; this one ends at weights that leave 6 dB less in a song
without a voice and lose 0.2 to 1 dB on the others, for much the same mean.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.audio.samples import Samples
from understudy.context import Context
from understudy.pipeline.separation.embedded.fusion import FIRST, KNOTS, SECOND, Fusion, bias_at, fuse, heard_before
from understudy.pipeline.separation.embedded.network import CENTRES, CUES, LEVEL_EXPONENT, LEVELS, WIDTHS
from understudy.pipeline.separation.spectrogram import Map
from understudy.pipeline.separation.training.examples import GRID, example_of
from understudy.pipeline.separation.training.songs import RATE, songs_in

GAINS = (-8.0, -4.0, 0.0, 4.0, 8.0)
EVERY = 12  # frames: neighbours say the same
SECONDS, CROSSED = 30.0, 12.0
LEVELS_CROSSED = (-9, -5, -1, -7, -3, 1, -11)  # dB of a voice against another song's band
START = Fusion((-0.5,) * len(KNOTS), {name: -0.3 if name == "imbalance" else 0.3 for name in FIRST.weights})
HELD = (1e-3, 1e-3)
"""How strongly the two fusions are held to where they start: the first at `START`, the second at the first."""
UNSUNG = 5.0
"""How often a song without a voice counts: there are few of them, and vocals heard in them are pure harm."""


@dataclass(frozen=True)
class Mix:
    """`cues` by name, ``[frames, bands]``; `power` of the mix and the voice's `share` of it, ``[2, frames, bands]``;
    error that no share avoids and power of the voice, ``[frames]``. `song` has the voice, `band` the rest."""

    song: str
    band: str
    gain: float
    cues: dict[str, Map]
    power: Map
    share: Map
    remaining: NDArray[np.float64]
    voice: NDArray[np.float64]


class Bands:
    """The axes of maps over the network's bands."""

    frequencies = CENTRES

    @staticmethod
    def frames(seconds: float) -> int:
        return GRID.frames(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    mixes = mixes_of(options.folder)
    first, second = fitted(mixes)
    print("FIRST", _written(first))
    print("SECOND", _written(second))
    if options.leave_one_out:
        table = []
        for name in dict.fromkeys(mix.song for mix in mixes):
            first, second = fitted([mix for mix in mixes if name not in (mix.song, mix.band)])
            own = next(mix for mix in mixes if mix.song == mix.band == name and mix.gain == 0)
            table.append((*quality(own, first, None), *quality(own, first, second)))
            print(
                f"{name[:32]:32} first {table[-1][0]:6.2f} {table[-1][1]:6.2f}  "
                f"second {table[-1][2]:6.2f} {table[-1][3]:6.2f}",
                flush=True,
            )
        mean = np.mean([row for row in table if np.isfinite(row).all()], axis=0)
        print(f"{'mean':32} first {mean[0]:6.2f} {mean[1]:6.2f}  second {mean[2]:6.2f} {mean[3]:6.2f}")


def mixes_of(folder: Path) -> list[Mix]:
    """The songs in `folder`, up to `SECONDS` from the middle of each, at every one of `GAINS`, a song without a voice
    once; and voices with the bands of others."""
    stems = {}
    with tempfile.TemporaryDirectory() as scratch:
        for song in songs_in(folder):
            seconds = min(SECONDS, song.seconds)
            parts = song.read(Context(Path(scratch)), (song.seconds - seconds) / 2, seconds)
            stems[song.name] = parts.pop("vocals"), np.sum(list(parts.values()), axis=0, dtype=np.float32)
    sung = [name for name, (voice, _) in stems.items() if np.square(voice).mean() > 1e-8]
    mixes = [_mix(name, name, gain, *stems[name]) for name in stems for gain in (GAINS if name in sung else (0.0,))]
    pairs = [(i, j) for i in range(len(sung)) for j in range(len(stems)) if sung[i] != list(stems)[j]]
    for i, j in pairs[::2]:
        voice, band = stems[sung[i]][0], list(stems.values())[j][1]
        length = min(voice.shape[1], band.shape[1], round(CROSSED * RATE))
        voice, band = voice[:, :length], band[:, :length]
        level = LEVELS_CROSSED[(3 * i + j) % len(LEVELS_CROSSED)]
        gain = level + 20 * float(np.log10((band.std() + 1e-9) / (voice.std() + 1e-9)))
        mixes.append(_mix(sung[i], list(stems)[j], gain, voice, band))
    return mixes


def _mix(song: str, other: str, gain: float, voice: Samples, band: Samples) -> Mix:
    voice = voice * np.float32(10 ** (gain / 20))
    peak = np.abs(voice + band).max() + np.float32(1e-9)
    example = example_of(voice / peak, band / peak)
    maps = np.asarray(example.maps, np.float32)
    power = maps[:2] ** (2 / LEVEL_EXPONENT) * WIDTHS
    cues = dict(zip(CUES, maps[len(LEVELS) : len(LEVELS) + len(CUES)], strict=True))
    rest = example.rest.astype(np.float64)
    return Mix(song, other, gain, cues, power, maps[-2:], rest[0], rest[1])


def fitted(mixes: Sequence[Mix]) -> tuple[Fusion, Fusion]:
    """Both fusions, fitted to `mixes`."""
    first = _fitted(mixes, START, None, HELD[0])
    start = Fusion(first.bias, {**dict.fromkeys(SECOND.weights, 0.0), **first.weights})
    return first, _fitted(mixes, start, first, HELD[1])


def _fitted(mixes: Sequence[Mix], start: Fusion, first: Fusion | None, held: float) -> Fusion:
    """The weights that minimise the mean logarithm of the masked songs' error, held near `start`; where there is no
    voice, that error is taken relative to the song."""
    names = list(start.weights)
    data = []
    for mix in mixes:
        cues = _cues(mix, first)
        own = np.stack([np.broadcast_to(cues[name], mix.power.shape[1:])[::EVERY] for name in names])
        whole = float(mix.power[:, ::EVERY].sum())
        voice = float(mix.voice[::EVERY].sum())
        sung = voice > 1e-6 * whole
        reference = voice + (1e-3 if sung else 0.1) * whole
        data.append(
            (
                torch.from_numpy(own),
                torch.from_numpy(mix.power[:, ::EVERY].copy()),
                torch.from_numpy(mix.share[:, ::EVERY].copy()),
                float(mix.remaining[::EVERY].sum()) + 1e-3 * whole,
                reference,
                1.0 if sung else UNSUNG,
            )
        )
    counted = sum(one[-1] for one in data)
    hats = torch.from_numpy(np.stack([bias_at(CENTRES, unit) for unit in np.eye(len(KNOTS))]))
    begin = torch.tensor([*start.bias, *start.weights.values()], dtype=torch.float32)
    found = begin.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([found], max_iter=40, history_size=20, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        optimiser.zero_grad()
        total = held * torch.square(found - begin).sum()
        total.backward()
        result = total.detach()
        for own, power, share, remaining, reference, weight in data:
            logits = found[: len(KNOTS)] @ hats + torch.einsum("k,ktb->tb", found[len(KNOTS) :], own)
            missed = (power * (torch.sigmoid(logits) - share) ** 2).sum() + remaining
            one = torch.log(missed / reference) * (weight / counted)
            one.backward()
            result = result + one.detach()
        return result

    optimiser.step(error)
    values = [round(value, 3) for value in found.detach().tolist()]
    return Fusion(tuple(values[: len(KNOTS)]), dict(zip(names, values[len(KNOTS) :], strict=True)))


def _cues(mix: Mix, first: Fusion | None) -> dict[str, Map]:
    if first is None:
        return mix.cues
    magnitude = np.sqrt(mix.power.sum(axis=0))
    return {**mix.cues, **heard_before(fuse(mix.cues, Bands(), first), magnitude, Bands())}


def quality(mix: Mix, first: Fusion, second: Fusion | None) -> tuple[float, float]:
    """SDR of vocals and instrumental in dB; nan without a voice."""
    share = fuse(_cues(mix, first), Bands(), second) if second else fuse(mix.cues, Bands(), first)
    error = float((mix.power * (share - mix.share) ** 2).sum() + mix.remaining.sum())
    voice = float(mix.voice.sum())
    band = voice + float((mix.power * (1 - 2 * mix.share)).sum())
    if voice <= 1e-6 * float(mix.power.sum()):
        return float("nan"), 10 * float(np.log10(band / error))
    return 10 * float(np.log10(voice / error)), 10 * float(np.log10(band / error))


def _written(fusion: Fusion) -> str:
    return f"{fusion.bias} {dict(fusion.weights)}"


if __name__ == "__main__":
    main()
