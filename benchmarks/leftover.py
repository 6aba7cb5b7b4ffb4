"""What is left of the original singer in a cover, and what removing it costs the band.

    python benchmarks/leftover.py                                  # the demo song with the demo voice
    python benchmarks/leftover.py SONGS --recordings mine.wav ...
    python benchmarks/leftover.py SONGS --true-vocal               # without conversion, the true vocal as the new one

SONGS is a folder with a folder for each song: `vocals` and one file or more of the band, which sum to the song (any
format). The embedded separator's mask is applied to the true vocal and to the true band apart, and so is the gain of
the singer removal: what comes out of the one is leftover, of the other the band of the cover. Columns, by strength of
`--singer-removal` (`auto` is the default's):
 - L: the leftover against the new vocal in dB, K-weighted, where the true vocal sings;
 - Lexp: of the leftover, only what is above -6 dB of the spread masker (new vocal and band) in its ERB cell;
 - LSD: mean difference in dB of the ERB cells of the cover and the ideal cover (new vocal and true band);
 - SDR, iSDR: of the separated vocal, and of the instrumental of the cover; band SDR and band level: of the band alone,
   K-weighted;
 - vocal: level of the new vocal against the true one, K-weighted (with --true-vocal: the level that is estimated for
   it); estimated leftover and true one, against the true vocal, in dB;
 - pitch: share of the true vocal's voiced frames in which the separated vocal's pitch is within 50 cents.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.limiter import made_by  # noqa: E402
from understudy import Session  # noqa: E402
from understudy.audio.effects.control import smoothed  # noqa: E402
from understudy.audio.files import decode  # noqa: E402
from understudy.audio.k_weighting import k_weighted  # noqa: E402
from understudy.audio.pitch import PitchSettings, PitchTrack, track  # noqa: E402
from understudy.audio.samples import Audio, Samples  # noqa: E402
from understudy.audio.spectrogram import Grid, analyse, resynthesize  # noqa: E402
from understudy.audio.windows import crossfade_windows  # noqa: E402
from understudy.context import Context  # noqa: E402
from understudy.jobs import CoverJob  # noqa: E402
from understudy.pipeline.separation.embedded import separate  # noqa: E402
from understudy.pipeline.separation.singer_removal import removal_gain, removal_grid, removal_strength  # noqa: E402
from understudy.pipeline.separation.vocal_level import VocalLevel, vocal_level  # noqa: E402
from understudy.pipeline.settings import load_settings  # noqa: E402
from understudy.voices.voice import Voice  # noqa: E402

Floats = NDArray[np.float64]
STRENGTHS = {"0": 0.0, "auto": None, "1": 1.0}
COLUMNS = ("L", "Lexp", "LSD", "iSDR", "band SDR", "level", "vocal", "estimated", "left", "SDR", "pitch")
CELLS, SIZE = 42, 2048  # ERB bands, samples of a cell
BLOCK = 0.05  # seconds


@dataclass(frozen=True)
class Song:
    """``[2, frames]`` each: the true parts, and their shares in the separated vocal."""

    name: str
    rate: int
    vocals: Samples
    band: Samples
    masked_vocals: Samples
    masked_band: Samples

    @property
    def mix(self) -> Samples:
        return self.vocals + self.band


def song_options(description: str) -> argparse.ArgumentParser:
    """The options of benchmarks of covers: ``songs``, ``recordings``, ``only``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, nargs="?", default=ROOT / "demo" / "stems")
    parser.add_argument("--recordings", type=Path, nargs="+", default=sorted((ROOT / "demo" / "voice").glob("*.flac")))
    parser.add_argument("--only", nargs="+", help="names of songs")
    return parser


def songs(folder: Path, only: Sequence[str] | None = None) -> Iterator[tuple[str, Samples, Samples, int]]:
    """Name, vocals, band and rate of each song, or of those called as in `only`."""
    for place in sorted(path for path in (folder, *folder.iterdir()) if path.is_dir()):
        if only and place.name not in only:
            continue
        files = [path for path in sorted(place.iterdir()) if path.suffix in (".wav", ".flac", ".m4a", ".mp3")]
        parts = [path for path in files if path.stem not in ("mix", "mixture", "stem")]
        if "vocals" not in {path.stem for path in parts}:
            continue
        read = {path.stem: part(path) for path in parts}
        vocals = read.pop("vocals")
        frames = min(vocals.frames, *(other.frames for other in read.values()))
        band = np.sum([stereo(other)[:, :frames] for other in read.values()], axis=0)
        yield place.name, stereo(vocals)[:, :frames], band, vocals.rate


def part(path: Path) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        return decode(Context(Path(folder)), path, Path(folder) / "sound.npy").read()


def stereo(sound: Audio) -> Samples:
    return np.broadcast_to(sound.samples, (2, sound.frames))


def separated(name: str, vocals: Samples, band: Samples, rate: int) -> Song:
    """The embedded separator's mask, found in the song and applied to its parts."""
    source = Audio(np.concatenate([vocals + band, vocals, band]), rate)
    grid = Grid.of(rate, 0.093, separate.HIGHEST)

    def masked(window: Audio, _: int) -> Audio:
        mix = window.samples[:2] / (np.abs(window.samples[:2]).max() or 1.0)
        share = separate.vocal_share(mix, analyse(mix, grid), grid)
        return Audio(resynthesize(analyse(window.samples, grid) * share, grid, window.frames), rate)

    shared = round(separate.OVERLAP * rate)
    windows = max(1, ceil((source.frames - shared) / ((separate.WINDOW - separate.OVERLAP) * rate)))
    size = ceil((source.frames - shared) / windows) + shared
    pieces = crossfade_windows(source, masked, Context(Path()), seconds=max(1, size) / rate, overlap=separate.OVERLAP)
    _, sung, played = np.split(np.concatenate([piece.samples for piece in pieces], axis=1), 3)
    return Song(name, rate, vocals, band, sung, played)


def covered(song: Song, voice: Voice, folder: Path) -> tuple[Samples, PitchTrack, VocalLevel]:
    """The new vocal before the mix, the pitch that was tracked, and what is known of the separated vocal."""
    path = folder / f"{song.name}.wav"
    soundfile.write(path, song.mix.T, song.rate, subtype="FLOAT")
    graph = CoverJob(path, voice, load_settings("embedded")).graph
    nodes: Mapping[str, Any] = {node.kind: node for node in graph.graph.nodes}
    made = made_by(graph.graph, [nodes["finish"], nodes["pitch"], nodes["vocal level"]], folder)
    return made[nodes["finish"]].read().samples, made[nodes["pitch"]], made[nodes["vocal level"]]


def separated_only(song: Song, folder: Path) -> tuple[float, PitchTrack, VocalLevel]:
    """The level in dB that the new vocal would get, against the true one; the pitch of the separated vocal, and what is
    known of it."""
    vocal = Audio(song.masked_vocals + song.masked_band, song.rate)
    lacking = vocal_level(Context(folder), Audio(np.asarray(song.mix, np.float32), song.rate), vocal)
    loud, true = energies(vocal.samples, song.rate), energies(song.vocals, song.rate)
    level = float(decibels(loud[sings(loud)].sum() / true[sings(true)].sum())) + lacking.mean
    return level, track(Context(folder), vocal, PitchSettings()), lacking


def agreement(song: Song, pitch: PitchTrack, folder: Path) -> float:
    """Share of the voiced frames of the true vocal in which `pitch` is within 50 cents of it."""
    true = track(Context(folder), Audio(np.asarray(song.vocals, np.float32), song.rate), PitchSettings()).f0
    frames = min(len(true), pitch.frames)
    voiced = np.flatnonzero(true[:frames])
    cents = 1200 * np.abs(np.log2(np.maximum(pitch.f0[voiced], 1) / true[voiced]))
    return float((cents < 50).mean())


def energies(samples: Samples, rate: int) -> Floats:
    """K-weighted, in blocks of `BLOCK` seconds."""
    size = round(BLOCK * rate)
    weighted = k_weighted(Audio(np.asarray(samples, np.float32), rate)).astype(np.float64)
    blocks = weighted.shape[1] // size
    return np.asarray((weighted[:, : blocks * size] ** 2).sum(axis=0).reshape(blocks, size).sum(axis=1))


def cells(samples: Samples, rate: int) -> Floats:
    """Energy by ERB band, ``[frames, CELLS]``."""
    bands = np.clip(21.4 * np.log10(1 + 0.00437 * np.fft.rfftfreq(SIZE, 1 / rate)), 0, CELLS - 1).astype(int)
    total = np.zeros(((samples.shape[1] - SIZE) // (SIZE // 2) + 1, CELLS))
    for channel in samples:
        frames = np.lib.stride_tricks.sliding_window_view(channel, SIZE)[:: SIZE // 2] * np.hanning(SIZE)
        np.add.at(total.T, bands, (np.abs(np.fft.rfft(frames)) ** 2).T)
    return total


def decibels(ratio: float | Floats) -> Floats:
    return np.asarray(10 * np.log10(np.maximum(ratio, 1e-12)))


def sings(energy: Floats) -> NDArray[np.bool_]:
    """Within 20 dB of the mean, twice gated."""
    energy = smoothed(energy, 3)
    loud = energy > 1e-5
    for _ in range(2):
        loud &= energy >= 0.01 * energy[loud].mean()
    return np.asarray(loud)


def spreading() -> Floats:
    """How far energy in one band masks others: 10 dB per band upwards, 25 downwards."""
    up = np.arange(CELLS)[None, :] - np.arange(CELLS)[:, None]
    return np.asarray(10 ** (np.where(up >= 0, -10.0 * up, 25.0 * up) / 10))


def figures(
    song: Song, new: Samples, left: Samples, band: Samples, level: float | None, lacking: VocalLevel, agreeing: float
) -> list[float]:
    """In the order of `COLUMNS`. `level`: of the new vocal against the true one in dB, where it isn't that of `new`."""
    rate, masked = song.rate, song.masked_vocals + song.masked_band
    loud_left, loud_new, loud_old, loud_band, true_band = (
        energies(samples, rate) for samples in (left, new, song.vocals, band, song.band)
    )
    sung = sings(loud_old)
    vocal_cells, band_cells, left_cells = (cells(samples, rate) for samples in (new, band, left))
    masker = (band_cells + vocal_cells) @ spreading()
    middles = (np.arange(len(left_cells)) + 1) * (SIZE // 2)
    here = sung[np.minimum(middles // round(BLOCK * rate), len(sung) - 1)]
    heard = np.where(left_cells > 10**-0.6 * masker, left_cells, 0)
    # the leftover and the new vocal have nothing in common, so that their energies add
    ideal, cover, more = (
        cells(k_weighted(Audio(np.asarray(samples, np.float32), rate)), rate)
        for samples in (new + song.band, new + band, left)
    )
    cover += more
    audible = (ideal > 1e-6 * ideal.max()) & here[:, None]
    off = energies(song.band - band, rate).sum()
    return [
        float(value)
        for value in (
            decibels(loud_left[sung].sum() / loud_new[sung].sum()),
            decibels(heard[here].sum() / vocal_cells[here].sum()),
            np.abs(decibels((cover + 1e-9) / (ideal + 1e-9)))[audible].mean(),
            decibels(np.square(song.band).sum() / np.square(song.band - band - left).sum()),
            decibels(true_band.sum() / off),
            decibels(loud_band[sung].sum() / true_band[sung].sum()),
            decibels(loud_new[sung].sum() / loud_old[sung].sum()) if level is None else level,
            lacking.leftover or np.nan,
            decibels(loud_left[sung].sum() / loud_old[sung].sum()),
            decibels(np.square(song.vocals).sum() / np.square(song.vocals - masked).sum()),
            agreeing,
        )
    ]


def measured(song: Song, voice: Voice | None, folder: Path) -> dict[str, list[float]]:
    """The figures by strength; without a `voice` of the true vocal as the new one."""
    level = None
    if voice:
        new, pitch, lacking = covered(song, voice, folder)
    else:
        new = song.vocals
        level, pitch, lacking = separated_only(song, folder)
    agreeing = agreement(song, pitch, folder)
    grid = removal_grid(song.rate)
    whole = analyse(song.mix, grid)
    kept = analyse(song.mix - song.masked_vocals - song.masked_band, grid)
    found = {}
    for name, requested in STRENGTHS.items():
        strength = removal_strength(requested, lacking)
        gain = removal_gain(whole, kept, pitch, grid, 0, strength)
        left, band = (
            samples - resynthesize(analyse(samples, grid) * (1 - gain), grid, samples.shape[1])
            for samples in (song.vocals - song.masked_vocals, song.band - song.masked_band)
        )
        found[name] = figures(song, new, left, band, level, lacking, agreeing)
    return found


def main() -> None:
    parser = song_options(__doc__)
    parser.add_argument("--true-vocal", action="store_true", help="as the new vocal: convert nothing")
    options = parser.parse_args()
    print(f"{'song':20} {'removal':8}" + "".join(f"{name:>10}" for name in COLUMNS))
    everything: dict[str, list[list[float]]] = {name: [] for name in STRENGTHS}
    with tempfile.TemporaryDirectory(prefix="understudy-") as temporary:
        folder = Path(temporary)
        voice = None
        if not options.true_vocal:
            session = Session(voices=folder / "voices", cache=folder / "cache")
            session.voices.add("voice", [str(path) for path in options.recordings], consent="granted")
            voice = session.voices.get("voice")
        for name, vocals, band, rate in songs(options.songs, options.only):
            found = measured(separated(name, vocals, band, rate), voice, folder)
            for strength, values in found.items():
                everything[strength].append(values)
                print(f"{name:20} {strength:8}" + "".join(f"{value:10.2f}" for value in values), flush=True)
    for strength, rows in everything.items():
        mean = np.mean(rows, axis=0)
        print(f"{'mean of ' + str(len(rows)):20} {strength:8}" + "".join(f"{value:10.2f}" for value in mean))
    table = {strength: np.array(rows) for strength, rows in everything.items()}
    vocal, error = table["0"][:, 6], table["0"][:, 7] - table["0"][:, 8]
    print(f"level of the new vocal: bias {vocal.mean():.2f} dB, rms error {np.sqrt((vocal**2).mean()):.2f} dB")
    print(f"estimated leftover: bias {error.mean():.2f} dB, rms error {np.sqrt((error**2).mean()):.2f} dB")
    nearer = (table["auto"][:, 2] < table["0"][:, 2]).sum()
    print(f"nearer to the ideal cover with auto than with 0: {nearer} of {len(vocal)} songs")


if __name__ == "__main__":
    main()
