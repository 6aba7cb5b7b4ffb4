"""`Figures`: everything that is measured for a report, in one value; `measure_figures` measures it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio import loudness
from audio.context import Context
from audio.loudness import Loudness
from audio.pitch import PitchTrack
from pipeline.report.bands import Heard, hear
from pipeline.report.bleed import Bleed, estimate_bleed
from pipeline.report.inputs import ReportInputs
from pipeline.report.intonation import Intonation, at_times, compare, delay_of, praat_track, search_range
from pipeline.report.likeness import Likeness, compare_voices
from pipeline.report.mixture import Mixture, unmix

_HEARD = 25.0  # dB below the loud parts; softer tails and breaths are not what a listener judges the singing by

PARTS = ("song", "cover", "original_vocals", "vocals", "converted", "instrumental")


@dataclass(frozen=True)
class Faults:
    """Of one sound: NaN or infinite samples, samples in clipped runs, seconds of clicks, largest sample in dBFS."""

    bad_samples: int
    clipped: int
    clicks: tuple[float, ...]
    peak: float


@dataclass(frozen=True)
class Balance:
    """Vocal against instrumental in dB while there is singing, in the song (`before`) and in the cover (`after`).

    `unsteadiness`: how far (dB, 68 % of the time) the vocal's level strays from the original vocal's, over 3 s, after
    the constant difference is taken out. `missing`: share 0..1 of the singing in which the dry conversion is
    silent, `missing_finished`: the same of the finished vocal; `missing_at`: seconds where. None without singing.
    """

    before: float | None
    after: float | None
    unsteadiness: float | None
    missing: float | None
    missing_finished: float | None
    missing_at: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Figures:
    """`heard` and `faults`: by the names in `PARTS`. `wrong_length`: names of parts that aren't as long as the song.
    `tracking`: Praat on the original vocal against the pitch track that steered the conversion. `intonation`: Praat on
    the conversion against that track, transposed. `vocal_delay`: seconds by which the conversion is late.
    `sung_share`: share of the song in which there is singing. `sung`: Praat's track of the conversion."""

    duration: float
    wrong_length: tuple[str, ...]
    heard: dict[str, Heard]
    song_loudness: Loudness
    cover_loudness: Loudness
    faults: dict[str, Faults]
    bleed: Bleed
    tracking: Intonation
    intonation: Intonation
    vocal_delay: float | None
    sung_share: float
    mixture: Mixture
    balance: Balance
    likeness: Likeness
    sung: PitchTrack


def measure_figures(context: Context, inputs: ReportInputs) -> Figures:
    """All figures. Reads every file once or twice, window by window; runs `context.workers` measurements at once."""
    sources = {name: getattr(inputs, name) for name in PARTS}
    wanted = inputs.pitch.transposed(inputs.transpose)
    # the tasks run side by side: each is cancelled with the whole, and progress counts finished ones
    quiet = Context(context.folder, context.device, 1, cancelled=context.cancelled, warnings=context.warnings)
    pool = ThreadPoolExecutor(max(1, context.workers))
    try:
        track_sung = pool.submit(praat_track, inputs.converted, quiet, *search_range(wanted))
        track_original = pool.submit(praat_track, inputs.original_vocals, quiet, *search_range(inputs.pitch))
        loudness_song = pool.submit(loudness.measure, inputs.song, quiet)
        loudness_cover = pool.submit(loudness.measure, inputs.cover, quiet)
        unmixed = pool.submit(unmix, inputs.cover, inputs.vocals, inputs.instrumental, quiet)
        listening = {name: pool.submit(hear, source, quiet) for name, source in sources.items()}
        waiting: list[Future[Any]] = [
            track_sung,
            track_original,
            loudness_song,
            loudness_cover,
            unmixed,
            *listening.values(),
        ]
        for done, future in enumerate(waiting):
            context.progress(0.85 * done / len(waiting))
            wait([future])
    finally:
        pool.shutdown(cancel_futures=True)
    heard = {name: future.result() for name, future in listening.items()}
    sung, mixture = track_sung.result(), unmixed.result()

    singing = singing_columns(heard["original_vocals"], inputs.pitch)
    likeness = compare_voices(
        inputs.converted,
        heard["converted"],
        inputs.original_vocals,
        heard["original_vocals"],
        inputs.recordings,
        context.part(0.85, 1.0),
    )
    return Figures(
        duration=inputs.song.duration,
        wrong_length=tuple(
            name
            for name in PARTS
            if (sources[name].frames, sources[name].rate) != (inputs.song.frames, inputs.song.rate)
        ),
        heard=heard,
        song_loudness=loudness_song.result(),
        cover_loudness=loudness_cover.result(),
        faults={name: _faults(heard[name]) for name in PARTS},
        bleed=estimate_bleed(heard["original_vocals"], heard["instrumental"]),
        tracking=compare(track_original.result(), inputs.pitch, audible(heard["original_vocals"])),
        intonation=compare(sung, wanted, audible(heard["original_vocals"])),
        vocal_delay=delay_of(sung, wanted),
        sung_share=float(singing.mean()) if singing.size else 0.0,
        mixture=mixture,
        balance=_balance(heard, singing, mixture),
        likeness=likeness,
        sung=sung,
    )


def audible(heard: Heard) -> Callable[[NDArray[np.floating]], NDArray[np.bool_]]:
    """Whether the sound is within `_HEARD` dB of its loud parts, at given seconds."""
    level = heard.level
    loud: NDArray[np.bool_] = level > (float(np.percentile(level, 95)) if level.size else 0.0) - _HEARD

    def at(seconds: NDArray[np.floating]) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = loud[np.minimum((seconds / heard.step).astype(int), level.size - 1)]
        return here

    return at


def singing_columns(original_vocals: Heard, pitch: PitchTrack) -> NDArray[np.bool_]:
    """Columns of the song in which somebody sings: pitched, and `audible`."""
    level = original_vocals.level
    if level.size == 0 or float(level.max()) < -70:
        return np.zeros(level.shape, bool)
    times = (np.arange(original_vocals.columns) + 0.5) * original_vocals.step
    pitched = at_times(pitch, times) > 0
    return pitched & audible(original_vocals)(times)


def _balance(heard: dict[str, Heard], singing: NDArray[np.bool_], mixture: Mixture) -> Balance:
    if singing.sum() < 10:
        return Balance(None, None, None, None, None, ())

    def level(name: str) -> float:
        return float(10 * np.log10(max(1e-12, float(heard[name].weighted[: singing.size][singing].mean()))))

    before = after = None
    if level("instrumental") > -80:
        before = level("original_vocals") - level("instrumental")
        if mixture.vocal_gain is not None and mixture.instrumental_gain is not None:
            after = level("vocals") + mixture.vocal_gain - level("instrumental") - mixture.instrumental_gain
    step = heard["vocals"].step
    short = max(1, round(3.0 / step))
    difference = _smooth(heard["vocals"], short, singing) - _smooth(heard["original_vocals"], short, singing)
    low, high = np.percentile(difference[singing], (16, 84))
    lost, where = _missing(heard["converted"], singing)
    lost_finished, where_finished = _missing(heard["vocals"], singing)
    return Balance(before, after, float(high - low) / 2, lost, lost_finished, where or where_finished)


def _smooth(heard: Heard, columns: int, singing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Level in dB over `columns` columns around each, counting only those in which there is singing."""
    kernel = np.ones(columns)
    counted = np.convolve(singing, kernel, "same")
    power = np.convolve(np.where(singing, heard.weighted[: singing.size], 0), kernel, "same")
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / np.maximum(counted, 1), 1e-12))
    return level


def _missing(heard: Heard, singing: NDArray[np.bool_]) -> tuple[float, tuple[float, ...]]:
    """Share of the singing in which this part is as good as silent, and up to three moments of it."""
    level = heard.level[: singing.size]
    loud = float(np.percentile(level[singing], 90))
    silent = level < max(-65.0, loud - 40)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], silent.astype(np.int8), [0]))))
    held = np.zeros(silent.shape, bool)
    moments = []
    for first, last in zip(edges[0::2], edges[1::2], strict=True):
        if last - first >= 4:  # about 0.2 s; a lone column is the end of a word, not a lost one
            held[first:last] = singing[first:last]
            moments.append((int(held[first:last].sum()), float(first * heard.step)))
    runs = sorted((run for run in moments if run[0]), reverse=True)[:3]
    return float(held.sum() / singing.sum()), tuple(start for _, start in runs)


def _faults(heard: Heard) -> Faults:
    return Faults(heard.bad_samples, heard.clipped, heard.clicks, float(20 * np.log10(max(1e-6, heard.peak))))
