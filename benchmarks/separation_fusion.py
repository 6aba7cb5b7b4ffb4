"""Fits the embedded separator's fusions of cues to songs with known stems, and checks them on songs left out.

    python benchmarks/separation_fusion.py DIR [--leave-one-out] [--third]

DIR holds songs with known stems, as `understudy evaluate` reads them. Each is mixed at five levels of its voice, 4 dB
apart, and every second pair of one song's vocals and another song's instrumental is mixed, too. With --leave-one-out
both fusions are fitted again for each song, from `START`, to all mixes without its vocals and its instrumental, and
evaluated on it: SDR in dB of vocals and instrumental, for the sum of the true stems.

The optimum is flat in the trade-off between songs without vocals and the others. The weights in use come from an
earlier version of this fit, with other pairs of vocals and instrumentals. The weights of this version leave 6 dB less
in a song without vocals and lose 0.2 to 1 dB on the others, with nearly the same mean.

With --third, the first two fusions are held as they are in use, and the third is fitted to fewer mixes of more songs:
each at two levels of its voice, every eighteenth pair, and every sixth song without its voice.
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

from understudy.audio.files import decode, probe
from understudy.audio.resample import resample
from understudy.audio.samples import Samples
from understudy.audio.spectrogram import Grid, Map, analyse, level
from understudy.context import Context
from understudy.pipeline.evaluation.dataset import Part, find_songs
from understudy.pipeline.separation.embedded.cues import cues_of, second_look
from understudy.pipeline.separation.embedded.fusion import (
    FIRST,
    KNOTS,
    SECOND,
    THIRD,
    Fusion,
    bias_at,
    context_cues,
    fuse,
    sung_share,
)
from understudy.pipeline.separation.embedded.separate import HIGHEST
from understudy.pipeline.separation.stems import INSTRUMENTS

RATE = 44100
GRID = Grid.of(RATE, 0.093, HIGHEST)
_LOWER_EDGES = np.concatenate((np.arange(264), 264 + 2 * np.arange(254), 772 + 3 * np.arange(154))) - 0.5
WIDTHS = np.append(np.diff(_LOWER_EDGES), 3).astype(np.float32)
"""The fit looks at 672 bands of 1, 2 and 3 bins of `GRID` instead of its bins: the width of each, in bins."""
CENTRES = ((_LOWER_EDGES + WIDTHS / 2) * RATE / GRID.size).astype(np.float32)
"""The middle of each band in Hz."""
GAINS = (-8.0, -4.0, 0.0, 4.0, 8.0)
GAINS_THIRD = (0.0, -5.0)
EVERY = 12  # frames: neighbouring frames are nearly equal
SECONDS, CROSSED = 30.0, 12.0
LEVELS_CROSSED = (-9, -5, -1, -7, -3, 1, -11)  # dB of vocals against another song's instrumental
START = Fusion((-0.5,) * len(KNOTS), {name: -0.3 if name == "imbalance" else 0.3 for name in FIRST.weights})
HELD = (1e-3, 1e-3)
"""Strength of the regularisation towards the start: `START` for the first fusion, the first fusion for the second."""
UNSUNG = 5.0
"""Weight of a song without vocals: there are few of them, and any vocals found in them are an error."""


@dataclass(frozen=True)
class Mix:
    """In a band of one frame, the error of a mask `m` on the mix `x` against the voice `v`, summed over its bins, is
    ``P (m - a)^2 + r`` with ``P = |x|^2`` and ``a = Re<v, x> / P``: two maps hold all that the fit needs.

    `cues` by name, ``[frames, bands]``; `power` (P) of the mix and the voice's `share` (a) of it, clipped to -1..2,
    ``[2, frames, bands]``; `remaining` (r), the error that no mask avoids, and the power of the `voice`, ``[frames]``;
    powers are relative to the mix's mean. `song` is the source of the vocals, `other` that of the instrumental."""

    song: str
    other: str
    gain: float
    cues: dict[str, Map]
    power: Map
    share: Map
    remaining: NDArray[np.float64]
    voice: NDArray[np.float64]


class Bands:
    """The axes of maps over the bands."""

    frequencies = CENTRES

    @staticmethod
    def frames(seconds: float) -> int:
        return GRID.frames(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--third", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.third:
        fit_third(options.folder, options.leave_one_out)
        return
    mixes = mixes_of(options.folder)
    first, second = fitted(mixes)
    print("FIRST", _written(first))
    print("SECOND", _written(second))
    if options.leave_one_out:
        table = []
        for name in dict.fromkeys(mix.song for mix in mixes):
            first, second = fitted([mix for mix in mixes if name not in (mix.song, mix.other)])
            own = next(mix for mix in mixes if mix.song == mix.other == name and mix.gain == 0)
            table.append((*quality(own, first, None), *quality(own, first, second)))
            print(
                f"{name[:32]:32} first {table[-1][0]:6.2f} {table[-1][1]:6.2f}  "
                f"second {table[-1][2]:6.2f} {table[-1][3]:6.2f}",
                flush=True,
            )
        mean = np.mean([row for row in table if np.isfinite(row).all()], axis=0)
        print(f"{'mean':32} first {mean[0]:6.2f} {mean[1]:6.2f}  second {mean[2]:6.2f} {mean[3]:6.2f}")


def fit_third(folder: Path, leave_one_out: bool) -> None:
    """Print the third fusion, and what it gives over the second on songs that it wasn't fitted to."""
    mixes = mixes_of(folder, GAINS_THIRD, CROSSED, 18, 6)
    start = Fusion((0.0,) * len(KNOTS), {**dict.fromkeys(THIRD.weights, 0.0), "share": 1.0})
    print("THIRD", _written(_fitted(mixes, start, None, HELD[0])), flush=True)
    table = []
    for name in dict.fromkeys(mix.song for mix in mixes) if leave_one_out else ():
        third = _fitted([mix for mix in mixes if name not in (mix.song, mix.other)], start, None, HELD[0])
        own = next(mix for mix in mixes if mix.song == mix.other == name and mix.gain == 0)
        table.append((*quality(own, start, None), *quality(own, third, None)))
        print(f"{name[:32]:32} second {{:6.2f}} {{:6.2f}}  third {{:6.2f}} {{:6.2f}}".format(*table[-1]), flush=True)
    if table:
        print(f"{'mean':32} second {{:6.2f}} {{:6.2f}}  third {{:6.2f}} {{:6.2f}}".format(*np.nanmean(table, axis=0)))


def mixes_of(
    folder: Path,
    gains: tuple[float, ...] = GAINS,
    seconds: float = SECONDS,
    pair: int = 2,
    voiceless: int | None = None,
) -> list[Mix]:
    """The songs in `folder`, up to `seconds` from the middle of each, at every one of `gains`, a song without a voice
    once; voices with the bands of others, every `pair`-th; and every `voiceless`-th song without its voice."""
    stems: dict[str, tuple[Samples, Samples]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for song in find_songs(folder).songs:
            names = (
                ("instrumental",) if "instrumental" in song.truth else tuple(n for n in INSTRUMENTS if n in song.truth)
            )
            if "vocals" not in song.truth or not names or song.subset == "test":
                continue
            length = probe(song.mixture.path).duration or 0.0
            start, lasting = max(0.0, length - seconds) / 2, min(seconds, length)
            voice, *others = (_read(song.truth[n], start, lasting, Path(scratch)) for n in ("vocals", *names))
            stems[song.name] = voice, np.sum(others, axis=0, dtype=np.float32)
    sung = [name for name, (voice, _) in stems.items() if np.square(voice).mean() > 1e-8]
    mixes = [mix_of(name, name, gain, *stems[name]) for name in stems for gain in (gains if name in sung else (0.0,))]
    for name in sung[::voiceless] if voiceless else ():
        mixes.append(mix_of(name, name, -np.inf, *stems[name]))
    pairs = [(i, j) for i in range(len(sung)) for j in range(len(stems)) if sung[i] != list(stems)[j]]
    for i, j in pairs[::pair]:
        voice, band = stems[sung[i]][0], list(stems.values())[j][1]
        length = min(voice.shape[1], band.shape[1], round(CROSSED * RATE))
        voice, band = voice[:, :length], band[:, :length]
        level = LEVELS_CROSSED[(3 * i + j) % len(LEVELS_CROSSED)]
        gain = level + 20 * float(np.log10((band.std() + 1e-9) / (voice.std() + 1e-9)))
        mixes.append(mix_of(sung[i], list(stems)[j], gain, voice, band))
    return mixes


def _read(part: Part, start: float, seconds: float, scratch: Path) -> Samples:
    """`part` from second `start` on as stereo at `RATE`, ``[2, frames]``, silence where it has ended."""
    path = scratch / "part.npy"
    sound = resample(
        decode(Context(scratch), part.path, path, start=start, duration=seconds, track=part.track).read(), RATE
    )
    frames = round(seconds * RATE)
    samples = np.repeat(sound.samples, 2, axis=0) if sound.channels == 1 else sound.samples
    return np.asarray(np.pad(samples, ((0, 0), (0, max(0, frames - samples.shape[1]))))[:, :frames], np.float32)


def mix_of(song: str, other: str, gain: float, voice: Samples, band: Samples) -> Mix:
    voice = voice * np.float32(10 ** (gain / 20))
    peak = np.abs(voice + band).max() + np.float32(1e-9)
    voice, whole = voice / peak, (voice + band) / peak
    spectrum, sung = analyse(whole, GRID), analyse(voice, GRID)
    cues = cues_of(whole, spectrum, GRID)
    cues |= second_look(sung_share(cues, level(spectrum), GRID), spectrum, GRID)
    cues = {name: cue if cue.shape[1] == 1 else _banded(cue) / WIDTHS for name, cue in cues.items()}
    # [2, frames, bands], summed over each band's bins
    power = _banded(spectrum.real**2 + spectrum.imag**2)
    common = _banded(spectrum.real * sung.real + spectrum.imag * sung.imag)
    voiced = _banded(sung.real**2 + sung.imag**2)
    share = np.clip(common / (power + 1e-12), -1, 2)
    remaining = voiced - 2 * share * common + share**2 * power
    mean = float(np.mean(power / WIDTHS)) + 1e-12
    rest, sums = (part.sum(axis=(0, 2), dtype=np.float64) / mean for part in (remaining, voiced))
    return Mix(song, other, gain, cues, power / np.float32(mean), share, rest, sums)


def _banded(values: Map) -> Map:
    """`values` ``[..., frames, bins]`` summed over the bins of each band: ``[..., frames, bands]``."""
    starts = np.round(_LOWER_EDGES + 0.5).astype(int)
    inside = int((starts < GRID.bins).sum())
    summed = np.add.reduceat(values, starts[:inside], axis=-1)
    return np.pad(summed, [(0, 0)] * (values.ndim - 1) + [(0, len(starts) - inside)])


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
    hats = torch.from_numpy(np.stack([bias_at(CENTRES, unit.tolist()) for unit in np.eye(len(KNOTS))]))
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
    return {**mix.cues, **context_cues(fuse(mix.cues, Bands(), first), magnitude, Bands())}


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
