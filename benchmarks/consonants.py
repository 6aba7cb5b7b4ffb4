"""Consonants and breaths of a cover against those of the original: doubled, dull or lost.

    python benchmarks/consonants.py                                  # the demo song with the demo voice
    python benchmarks/consonants.py SONGS --recordings mine.wav ...

SONGS as in `benchmarks/leftover.py`, whose parts of a cover are used: the new vocal, the leftover of the original
singer and the band as the default cover has them. Sibilants are the frames of the true vocal in which most energy lies
above 4 kHz, within 30 dB of its singing, measured from 5 to 12 kHz; breaths are unvoiced frames 15 to 45 dB below it
that last 0.15 s and more, from 1 to 8 kHz. Columns, for each of the two, in dB:
 - seconds: how much of them there is;
 - new: the new vocal against the true vocal; below zero it is dull or lost;
 - left: the leftover against the new vocal; near zero both are heard;
 - cover: the cover against the ideal one, which is the new vocal and the true band;
 - true: the cover against the song itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.leftover import Floats, Song, covered, decibels, separated, song_options, songs  # noqa: E402
from understudy import Session  # noqa: E402
from understudy.audio.pitch import PitchTrack  # noqa: E402
from understudy.audio.samples import Samples  # noqa: E402
from understudy.audio.spectrogram import analyse, resynthesize  # noqa: E402
from understudy.pipeline.separation.singer_removal import removal_gain, removal_grid, removal_strength  # noqa: E402
from understudy.voices.voice import Voice  # noqa: E402

SIZE, HOP = 1024, 512
COLUMNS = ("seconds", "new", "left", "cover", "true")
SIBILANT, BREATH = (5000.0, 12000.0), (1000.0, 8000.0)  # Hz


def powers(samples: Samples) -> Floats:
    """``[frames, bins]``, summed over channels."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, SIZE, axis=1)[:, ::HOP] * np.hanning(SIZE)
    return np.asarray((np.abs(np.fft.rfft(frames)) ** 2).sum(axis=0))


def lasting(frames: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Only runs of at least so many frames."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], frames.astype(np.int8), [0]))))
    kept = np.zeros_like(frames)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        kept[first:last] = last - first >= least
    return kept


def where(vocals: Floats, pitch: PitchTrack, rate: int) -> dict[str, NDArray[np.bool_]]:
    """The frames of sibilants and of breaths in the true vocal."""
    hertz = np.fft.rfftfreq(SIZE, 1 / rate)
    total = vocals.sum(axis=1)
    level = decibels(total / total[total > 1e-3 * total.max()].mean())
    places = np.round((np.arange(len(total)) * HOP + SIZE / 2) / rate / pitch.hop).astype(int)
    voiced = pitch.f0[places.clip(0, pitch.frames - 1)] > 0
    hissing = vocals[:, hertz > 4000].sum(axis=1) > 0.5 * total
    sibilants = hissing & (level > -30)
    breaths = lasting(~voiced & ~hissing & (level < -15) & (level > -45), round(0.15 * rate / HOP))
    return {"sibilants": sibilants, "breaths": breaths}


def measured(song: Song, voice: Voice, folder: Path) -> dict[str, list[float]]:
    """In the order of `COLUMNS`, for sibilants and for breaths."""
    new, pitch, lacking = covered(song, voice, folder)
    grid = removal_grid(song.rate)
    whole, kept = analyse(song.mix, grid), analyse(song.mix - song.masked_vocals - song.masked_band, grid)
    gain = removal_gain(whole, kept, pitch, grid, 0, removal_strength(None, lacking))
    left, band = (
        samples - resynthesize(analyse(samples, grid) * (1 - gain), grid, samples.shape[1])
        for samples in (song.vocals - song.masked_vocals, song.band - song.masked_band)
    )
    parts = {
        "true": song.vocals, "new": new, "left": left, "song": song.mix,
        "cover": new + left + band, "ideal": new + song.band,
    }  # fmt: skip
    spectra = {name: powers(np.broadcast_to(samples, song.mix.shape)) for name, samples in parts.items()}
    hertz = np.fft.rfftfreq(SIZE, 1 / song.rate)
    found = {}
    for kind, frames in where(spectra["true"], pitch, song.rate).items():
        low, high = SIBILANT if kind == "sibilants" else BREATH
        bins = (hertz > low) & (hertz < high)
        energy = {name: float(power[frames][:, bins].sum()) for name, power in spectra.items()}
        pairs = (("new", "true"), ("left", "new"), ("cover", "ideal"), ("cover", "song"))
        seconds = float(frames.sum()) * HOP / song.rate
        ratios = [float(decibels(energy[one] / max(energy[other], 1e-9))) for one, other in pairs]
        found[kind] = [seconds, *ratios] if frames.any() else [0.0, *[np.nan] * len(pairs)]
    return found


def main() -> None:
    options = song_options(__doc__).parse_args()
    print(f"{'song':20} {'':10}" + "".join(f"{name:>9}" for name in COLUMNS))
    everything: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="understudy-") as temporary:
        folder = Path(temporary)
        session = Session(voices=folder / "voices", cache=folder / "cache")
        session.voices.add("voice", [str(path) for path in options.recordings], consent="granted")
        for name, vocals, band, rate in songs(options.songs, options.only):
            for kind, values in measured(
                separated(name, vocals, band, rate), session.voices.get("voice"), folder
            ).items():
                everything.setdefault(kind, []).append(values)
                print(f"{name:20} {kind:10}" + "".join(f"{value:9.2f}" for value in values), flush=True)
    for kind, rows in everything.items():
        mean = np.nanmean(rows, axis=0)
        print(f"{'mean of ' + str(len(rows)):20} {kind:10}" + "".join(f"{value:9.2f}" for value in mean))


if __name__ == "__main__":
    main()
