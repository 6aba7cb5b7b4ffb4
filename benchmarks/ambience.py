"""The reverb of a cover's vocal in known rooms: what the finish finds, and the tails after phrases.

    python benchmarks/ambience.py                                  # the demo song with the demo voice
    python benchmarks/ambience.py SONGS --recordings mine.wav ...

SONGS as in `benchmarks/leftover.py`, with dry vocals. Each vocal is put into each of `ROOMS` (seconds to fall by 60 dB;
energy of the reverb against the dry vocal in dB) and finished three times: the dry vocal itself as a conversion without
any reverb (`copy`), and covers from the true stems (`own`) and from the song (`separated`). `share` and `decay`: the
reverb that the finish restored. low, mid, high: level of the new vocal after the ends of phrases against the true vocal
there, in the `BANDS`, mean in dB; and in the last lines bias and rms error over all ends. A dry vocal is nearly silent
there: only `share` counts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, oaconvolve, sosfiltfilt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.leftover import Floats, decibels, song_options, songs  # noqa: E402
from benchmarks.limiter import made_by  # noqa: E402
from demo.mixing import room  # noqa: E402
from demo.singer import RATE  # noqa: E402
from understudy import Session  # noqa: E402
from understudy.audio.ambience import Ambience, missing_ambience  # noqa: E402
from understudy.audio.effects.control import smoothed  # noqa: E402
from understudy.audio.samples import Audio, Samples  # noqa: E402
from understudy.audio.stored import write_blocks  # noqa: E402
from understudy.context import Context  # noqa: E402
from understudy.jobs import CoverJob  # noqa: E402
from understudy.pipeline.settings import load_settings  # noqa: E402
from understudy.pipeline.stages import finish  # noqa: E402
from understudy.voices.voice import Voice  # noqa: E402

ROOMS = ((0.0, -120.0), (0.8, -14.0), (1.5, -10.0), (2.5, -14.0))
BANDS = ((200.0, 1000.0), (1000.0, 4000.0), (4000.0, 10000.0))  # Hz
HOP = 0.01  # seconds
_ENDED, _SUNG = 10**-1.5, 0.1  # of the latest peak: below it a phrase has ended; of the loud moments: a phrase
_LEAST, _MOST = 0.2, 0.6  # seconds after the end that are measured


def in_room(dry: Samples, rate: int, seconds: float, level: float) -> Samples:
    """`dry` ``[2, frames]`` with reverb of another maker than the product's."""
    if level <= -120:
        return dry
    response = soxr.resample(room(np.random.default_rng(3), seconds).T, RATE, rate).T
    echo = np.array([oaconvolve(dry.mean(axis=0), side)[: dry.shape[1]] for side in response])
    echo *= 10 ** (level / 20) * np.sqrt(np.square(dry).sum() / np.square(echo).sum())
    return np.asarray(dry + echo, np.float32)


def energies(samples: Samples, rate: int) -> Floats:
    """``[BANDS, blocks]``, in blocks of `HOP`."""
    hop = round(HOP * rate)
    frames = samples.shape[1] // hop * hop
    found = []
    for low, high in BANDS:
        filters = butter(3, (low, min(high, 0.48 * rate)), "bandpass", fs=rate, output="sos")
        part = sosfiltfilt(filters, samples[:, :frames], axis=1)
        found.append(np.square(part).sum(axis=0).reshape(-1, hop).mean(axis=1))
    return np.array(found)


def ends(dry: Floats) -> list[slice]:
    """The moments after phrases, in blocks. `dry`: energy of the dry vocal."""
    energy = smoothed(dry, round(0.03 / HOP))
    reach = round(1.0 / HOP)
    latest = maximum_filter1d(energy, reach, origin=(reach - 1) // 2, mode="constant")
    after = (energy < _ENDED * latest) & (latest > _SUNG * energy[energy > 0.05 * energy.max()].mean())
    edges = np.flatnonzero(np.diff(np.concatenate(([0], after.astype(np.int8), [0]))))
    return [
        slice(first, min(last, first + round(_MOST / HOP)))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
        if last - first >= round(_LEAST / HOP)
    ]


def finished(make: Callable[[], Samples]) -> tuple[Samples, Ambience]:
    """The new vocal before the mix that `make` makes, and the reverb that was restored."""
    found: list[Ambience] = []

    def measured(*arguments: Any) -> Ambience:
        found.append(missing_ambience(*arguments))
        return found[-1]

    with patch.object(finish, "missing_ambience", measured):
        return make(), found[0]


def copied(dry: Samples, vocals: Samples, rate: int, folder: Path) -> Samples:
    """`dry` as a conversion, finished after `vocals`."""
    copy = write_blocks(folder / "copy.npy", rate, 1, [Audio(dry.mean(axis=0, keepdims=True), rate)])
    original = write_blocks(folder / "original.npy", rate, 2, [Audio(vocals, rate)])
    return finish.finish(Context(folder), copy, original, finish.FinishSettings()).read().samples


def covered(job: CoverJob, folder: Path) -> Samples:
    nodes: Mapping[str, Any] = {node.kind: node for node in job.graph.graph.nodes}
    return np.asarray(made_by(job.graph.graph, [nodes["finish"]], folder)[nodes["finish"]].read().samples)


def ways(
    dry: Samples, true: Samples, band: Samples, rate: int, voice: Voice, folder: Path
) -> Mapping[str, Callable[[], Samples]]:
    """What makes the new vocal, by name."""
    paths = {name: folder / f"{name}.wav" for name in ("song", "vocals", "band")}
    for path, samples in zip(paths.values(), (true + band, true, band), strict=True):
        soundfile.write(path, samples.T, rate, subtype="FLOAT")
    settings = load_settings("embedded")
    own = CoverJob(paths["song"], voice, settings, vocals=paths["vocals"], instrumental=paths["band"])
    return {
        "copy": lambda: copied(dry, true, rate, folder),
        "own": lambda: covered(own, folder),
        "separated": lambda: covered(CoverJob(paths["song"], voice, settings), folder),
    }


def tails(new: Samples, true: Samples, dry: Samples, rate: int) -> NDArray[np.float64]:
    """Level of the new vocal against the true one after each phrase, ``[ends, BANDS]`` in dB."""
    made, wanted = energies(np.broadcast_to(new, true.shape), rate), energies(true, rate)
    moments = ends(energies(dry, rate).sum(axis=0))
    levels = [decibels(made[:, at].mean(axis=1) / (wanted[:, at].mean(axis=1) + 1e-12)) for at in moments]
    return np.array(levels).reshape(-1, len(BANDS))


def main() -> None:
    parser = song_options(__doc__)
    parser.add_argument("--ways", nargs="+", help="of copy, own, separated")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each song, from its beginning")
    options = parser.parse_args()
    columns = "".join(f"{name:>8}" for name in ("share", "decay", "low", "mid", "high"))
    print(f"{'song':28} {'room':>11} {'vocal':10}{'ends':>5}{columns}")
    everything: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    with tempfile.TemporaryDirectory(prefix="understudy-") as temporary:
        folder = Path(temporary)
        session = Session(voices=folder / "voices", cache=folder / "cache")
        session.voices.add("voice", [str(path) for path in options.recordings], consent="granted")
        voice = session.voices.get("voice")
        for name, vocals, band, rate in songs(options.songs, options.only):
            dry, played = (samples[:, : round(options.seconds * rate)] for samples in (vocals, band))
            for seconds, level in ROOMS:
                true = in_room(dry, rate, seconds, level)
                where = f"{seconds:.1f} s {level:.0f}" if seconds else "none"
                for way, make in ways(dry, true, played, rate, voice, folder).items():
                    if options.ways and way not in options.ways:
                        continue
                    new, found = finished(make)
                    off = tails(new, true, dry, rate)
                    everything.setdefault((where, way), []).append(off)
                    values = "".join(f"{value:8.1f}" for value in off.mean(axis=0)) if len(off) else ""
                    print(
                        f"{name:28} {where:>11} {way:10}{len(off):5}{found.share:8.2f}{found.decay:8.2f}{values}",
                        flush=True,
                    )
    for (where, way), parts in everything.items():
        off = np.concatenate(parts)
        bias, error = off.mean(axis=0), np.sqrt(np.square(off).mean(axis=0))
        pairs = "  ".join(f"{one:.1f} / {other:.1f}" for one, other in zip(bias, error, strict=True))
        print(f"{'all':28} {where:>11} {way:10}{len(off):5}   bias / rms error: {pairs}")


if __name__ == "__main__":
    main()
