"""The first half of the report: measures the song, its stems and the new vocal, before they are mixed.

Nothing here depends on a gain, so a cover that is only mixed anew keeps this half from the cache."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.report.assessment import PARTS, Assessment, Balance, Faults, Picture
from understudy.pipeline.report.bands import BANDS, HIGHEST, LOWEST, BandLevels, analyse, short_term
from understudy.pipeline.report.clips import encode_clip
from understudy.pipeline.report.delay import SECONDS, delay_between
from understudy.pipeline.report.intonation import at_times, compare, delay_of, praat_track, search_range
from understudy.pipeline.report.likeness import Likeness, compare_voices
from understudy.pipeline.report.png import brightest, describe, spectrogram_png
from understudy.pipeline.report.svg import draw_melody
from understudy.pipeline.separation.singer_removal import expected_removal, removal_strength
from understudy.pipeline.separation.vocal_level import VocalLevel
from understudy.voices.transpose import beyond, track_pitch_range
from understudy.voices.voice import PitchRange, Voice

_AUDIBLE = 25.0  # dB below the loud parts: softer tails and breaths say little about the singing
_LONGEST = 600.0  # seconds that are embedded whole
_EXCERPT = 240.0
_PASSAGE = 3  # seconds that a passage has at least
_MORE = 0.5  # dB above the median that is left there
_BRIGHT = 3000.0, 10000.0  # Hz: what is bright; above 13 kHz the embedded separator gives nothing to the vocals
_SILENT, _NEXT_TO_SILENT = -50.0, -60.0  # dB against the song: a vocal that is silent, and an instrumental
_HISS = 5000.0  # Hz from which on steady sound is hiss
_STEADY = 10  # percentile over the singing: what never falls away
_CLICKING = ("converted", "vocals")
_HISSING = ("original_vocals", "converted", "vocals")
_CLIPS = {"song": False, "vocals": True, "original_vocals": True, "instrumental": False}  # whether in mono


@dataclass(frozen=True)
class AssessInputs:
    """The song, its stems and the new vocal, all sample-aligned with `song` and exactly as long.

    `original_vocals` and `instrumental` are what separation gave, the latter moved by the song's new key; `converted`
    is the conversion as the engine left it (mono, dry); `vocals` is the finished vocal, before any gain. `pitch` is
    the track of `original_vocals`. `transpose`: semitones by which the vocal was moved in all. `recordings`: the
    voice's own (mono files that soundfile reads), and `reach` their range. Where several voices share the vocal,
    `singers` are they, `turns` says when each sings (number of the singer, first frame, end), and `wanted` is the pitch
    that they are to sing.
    `level`: what `original_vocals` are short of. `singer_removal`: the requested strength.
    """

    song: AudioFile
    original_vocals: AudioFile
    vocals: AudioFile
    converted: AudioFile
    instrumental: AudioFile
    pitch: PitchTrack
    transpose: float = 0.0
    recordings: Sequence[Path] = ()
    reach: PitchRange | None = None
    wanted: PitchTrack | None = None
    singers: Sequence[Voice] = ()
    turns: Sequence[tuple[int, int, int]] = ()
    level: VocalLevel | None = None
    singer_removal: float | None = None


def assess(context: Context, inputs: AssessInputs) -> Assessment:
    """Everything that no gain changes. Reads every file window by window, makes `context.workers` measurements at once
    and writes pictures and clips into `context.folder`."""
    sources = {name: getattr(inputs, name) for name in PARTS}
    wanted = inputs.wanted or inputs.pitch.transposed(inputs.transpose)
    # the tasks run side by side: each is cancelled with the whole, and progress counts finished ones
    quiet = Context(context.folder, context.device, 1, cancelled=context.cancelled, warnings=context.warnings)
    with ThreadPoolExecutor(max(1, context.workers)) as pool:
        try:
            tracks = [
                pool.submit(praat_track, source, quiet, *search_range(track), subharmonics=subharmonics)
                for source, track in ((inputs.converted, wanted), (inputs.original_vocals, inputs.pitch))
                for subharmonics in (False, True)
            ]
            analyses = {
                name: pool.submit(analyse, source, quiet, clicks=name in _CLICKING) for name, source in sources.items()
            }
            _await(context.part(0, 0.4), [*tracks, *analyses.values()])
            levels = {name: future.result() for name, future in analyses.items()}
            excerpt = excerpt_of(inputs.song.duration, levels["original_vocals"])
            start, stop = excerpt or (0.0, inputs.song.duration)

            def encode(name: str, mono: bool) -> Path:
                file = context.folder / f"{name}.ogg"
                file.write_bytes(encode_clip(sources[name], quiet, start=start, stop=stop, mono=mono))
                return file

            clips = {name: pool.submit(encode, name, mono) for name, mono in _CLIPS.items()}
            _await(context.part(0.4, 0.8), list(clips.values()))
        finally:
            pool.shutdown(cancel_futures=True)
    sung, sung_again, tracked, tracked_again = (future.result() for future in tracks)
    silent = against_song(levels, "original_vocals") < _SILENT
    singing = singing_columns(levels["original_vocals"], inputs.pitch, silent)
    counts = audible(levels["original_vocals"])
    intonation = compare(sung, wanted, counts, sung_again)
    likeness, likenesses = _likenesses(inputs, levels, context.part(0.8, 1.0))
    song_top = brightest(levels["song"])
    vocal_top = max(brightest(levels[name]) for name in ("original_vocals", "vocals"))
    tops = {"original_vocals": vocal_top, "vocals": vocal_top, "song": song_top}
    duration = inputs.song.duration
    return Assessment(
        duration=duration,
        rate=inputs.song.rate,
        channels=inputs.song.channels,
        wrong_length=tuple(
            name
            for name in PARTS
            if (sources[name].frames, sources[name].rate) != (inputs.song.frames, inputs.song.rate)
        ),
        faults={name: Faults.of(levels[name]) for name in PARTS},
        tracking=compare(tracked, inputs.pitch, counts, tracked_again),
        intonation=intonation,
        vocal_delay=delay_of(sung, wanted),
        sung_share=float(singing.mean()) if singing.size else 0.0,
        pitched=float(inputs.pitch.voiced.sum() * inputs.pitch.hop),
        vocal_silent=silent,
        balance=_balance(levels, singing, inputs.level, inputs.singer_removal),
        likeness=likeness,
        curve=short_term(levels["song"], duration),
        melody=draw_melody(context.folder / "melody.svg", wanted, sung, duration, intonation.on_note),
        pictures={name: _picture(context.folder / f"{name}.png", levels[name], top) for name, top in tops.items()},
        brightest=song_top,
        excerpt=excerpt,
        clips={name: future.result() for name, future in clips.items()},
        likenesses=likenesses,
        finish_delay=_finish_delay(inputs, levels["converted"]),
        beyond=_beyond(inputs, wanted),
    )


def against_song(levels: Mapping[str, BandLevels], name: str) -> float:
    """The level of a part against the song in dB."""
    return float(10 * np.log10((levels[name].weighted.mean() + 1e-15) / (levels["song"].weighted.mean() + 1e-12)))


def _finish_delay(inputs: AssessInputs, converted: BandLevels) -> float | None:
    """Seconds by which the finished vocal is late against the conversion, at its loudest."""
    size = max(1, round(SECONDS / converted.step))
    total = np.concatenate(([0.0], np.cumsum(converted.weighted, dtype=np.float64)))
    loudest = int(np.argmax(total[size:] - total[:-size])) if converted.columns > size else 0
    delay = delay_between(inputs.converted, inputs.vocals, [round(loudest * converted.step * inputs.song.rate)])
    return None if delay is None else delay / inputs.song.rate


def _beyond(inputs: AssessInputs, wanted: PitchTrack) -> float | None:
    """How far the melody reaches beyond the voice, of several voices the farthest in its turns."""
    if not inputs.singers:
        parts = [(inputs.reach, wanted.f0)]
    else:
        frames = wanted.times * inputs.song.rate
        parts = []
        for number, singer in enumerate(inputs.singers):
            own = np.zeros(wanted.frames, bool)
            for who, start, stop in inputs.turns:
                own |= (who == number) & (frames >= start) & (frames < stop)
            parts.append((singer.pitch_range, np.where(own, wanted.f0, np.float32(0))))
    found = [
        beyond(sung, reach)
        for reach, f0 in parts
        if reach is not None and (sung := track_pitch_range(PitchTrack(f0, wanted.hop))) is not None
    ]
    return max(found, key=abs, default=None)


def _likenesses(
    inputs: AssessInputs, levels: dict[str, BandLevels], context: Context
) -> tuple[Likeness, dict[str, Likeness]]:
    """How similar the new vocal is to the voice. Of several voices: the worst, and each by name in its own turns."""

    def of(recordings: Sequence[Path], sung: BandLevels, original: BandLevels, context: Context) -> Likeness:
        return compare_voices(inputs.converted, sung, inputs.original_vocals, original, recordings, context)

    if not inputs.singers:
        return of(inputs.recordings, levels["converted"], levels["original_vocals"], context), {}
    found: dict[str, Likeness] = {}
    for number, singer in enumerate(inputs.singers):
        turns = [
            (start / inputs.song.rate, stop / inputs.song.rate) for who, start, stop in inputs.turns if who == number
        ]
        sung, original = (_only(levels[name], turns) for name in ("converted", "original_vocals"))
        share = context.part(number / len(inputs.singers), (number + 1) / len(inputs.singers))
        found[singer.name] = of(singer.recording_files, sung, original, share)
    measured = [one for one in found.values() if one.to_voice is not None]
    return min(measured, key=lambda one: one.to_voice or 0.0, default=next(iter(found.values()))), found


def _only(levels: BandLevels, turns: Sequence[tuple[float, float]]) -> BandLevels:
    """The same levels, silent outside of the turns."""
    middles = (np.arange(levels.columns) + 0.5) * levels.step
    inside = np.zeros(levels.columns, bool)
    for start, stop in turns:
        inside |= (middles >= start) & (middles < stop)
    return dataclasses.replace(levels, weighted=np.where(inside, levels.weighted[: levels.columns], np.float32(0)))


def _await(context: Context, futures: list[Future[Any]]) -> None:
    for done, future in enumerate(futures):
        context.progress(done / len(futures))
        wait([future])


def _picture(file: Path, levels: BandLevels, top: float) -> Picture:
    file.write_bytes(spectrogram_png(levels, top))
    return Picture(file, describe(levels))


def excerpt_of(duration: float, original_vocals: BandLevels) -> tuple[float, float] | None:
    """None when all of the song is embedded; otherwise the four minutes with most voice in them."""
    if duration <= _LONGEST:
        return None
    size = round(_EXCERPT / original_vocals.step)
    total = np.concatenate(([0.0], np.cumsum(original_vocals.weighted, dtype=np.float64)))
    first = int(np.argmax(total[size:] - total[:-size])) if original_vocals.columns > size else 0
    start = min(float(math.floor(first * original_vocals.step)), duration - _EXCERPT)
    return start, start + _EXCERPT


def audible(levels: BandLevels) -> Callable[[NDArray[np.floating]], NDArray[np.bool_]]:
    """Whether the sound is within `_AUDIBLE` dB of its loud parts, at given seconds."""
    level = levels.level
    loud: NDArray[np.bool_] = level > (float(np.percentile(level, 95)) if level.size else 0.0) - _AUDIBLE

    def at(seconds: NDArray[np.floating]) -> NDArray[np.bool_]:
        here: NDArray[np.bool_] = loud[np.minimum((seconds / levels.step).astype(int), level.size - 1)]
        return here

    return at


def singing_columns(original_vocals: BandLevels, pitch: PitchTrack, silent: bool = False) -> NDArray[np.bool_]:
    """Columns of the song in which there is singing: pitched, and `audible`. `silent`: whether the vocal is."""
    if original_vocals.columns == 0 or silent:
        return np.zeros(original_vocals.columns, bool)
    times = (np.arange(original_vocals.columns) + 0.5) * original_vocals.step
    pitched = at_times(pitch, times) > 0
    return pitched & audible(original_vocals)(times)


def _balance(
    levels: dict[str, BandLevels], singing: NDArray[np.bool_], lacking: VocalLevel | None, removal: float | None
) -> Balance:
    found = Balance(None, None, None, None, None, (), level=against_song(levels, "original_vocals"))
    if singing.sum() < 10:
        return found
    if lacking is not None:
        original = levels["original_vocals"]
        there = 10 ** (lacking.at((np.arange(len(original.weighted)) + 0.5) * original.step) / 10)
        whole = dataclasses.replace(original, weighted=(original.weighted * there).astype(np.float32))
        levels = {**levels, "original_vocals": whole}

    def level(name: str) -> float:
        return float(10 * np.log10(max(1e-12, float(levels[name].weighted[: singing.size][singing].mean()))))

    before = unmixed = None
    if against_song(levels, "instrumental") > _NEXT_TO_SILENT:
        before = level("original_vocals") - level("instrumental")
        unmixed = level("vocals") - level("instrumental")
    step = levels["vocals"].step
    short = max(1, round(3.0 / step))
    difference = _smooth(levels["vocals"], short, singing) - _smooth(levels["original_vocals"], short, singing)
    low, high = np.percentile(difference[singing], (16, 84))
    sung = float(np.percentile(levels["original_vocals"].level[: singing.size][singing], 90))
    lost, where = _missing(levels["converted"], singing, sung)
    lost_finished, where_finished = _missing(levels["vocals"], singing, sung)
    found = dataclasses.replace(
        found,
        before=before,
        unmixed=unmixed,
        unsteadiness=float(high - low) / 2,
        missing=lost,
        missing_finished=lost_finished,
        missing_at=where or where_finished,
        brightness=_brightness(levels, singing),
        hiss={name: _hiss(levels[name], singing) for name in _HISSING},
    )
    if lacking is None:
        return found
    removed = expected_removal(removal_strength(removal, lacking))
    places = _passages(lacking.left)
    return dataclasses.replace(
        found, short=lacking.mean, leftover=lacking.leftover, removed=removed, leftover_at=places
    )


def _passages(left: NDArray[np.floating]) -> tuple[tuple[float, float], ...]:
    """Up to three passages of at least `_PASSAGE` seconds in which `left` (dB by second, NaN in pauses) is highest."""
    if not np.isfinite(left).any():
        return ()
    least = max(np.nanpercentile(left, 75), np.nanmedian(left) + _MORE)
    high = np.nan_to_num(left, nan=-np.inf) >= least
    edges = np.flatnonzero(np.diff(np.concatenate(([0], high.astype(np.int8), [0]))))
    runs = [(first, last) for first, last in zip(edges[0::2], edges[1::2], strict=True) if last - first >= _PASSAGE]
    longest = sorted(runs, key=lambda run: run[0] - run[1])[:3]
    return tuple((float(first), float(last - 1)) for first, last in sorted(longest))


def _brightness(levels: dict[str, BandLevels], singing: NDArray[np.bool_]) -> float | None:
    """`Balance.brightness`, of the voiced columns, up to the frequency that both vocals reach."""
    centres = np.geomspace(LOWEST, HIGHEST, BANDS + 2)[1:-1]
    high, low = (centres > _BRIGHT[0]) & (centres < _BRIGHT[1]), (centres > 100) & (centres < _BRIGHT[0])

    powers = {name: levels[name].bands[: singing.size][singing].mean(axis=0) for name in ("original_vocals", "vocals")}
    if min(power[low].sum() for power in powers.values()) < 1e-9:
        return None
    old, new = (10 * np.log10(max(1e-12, power[high].sum()) / power[low].sum()) for power in powers.values())
    return float(new - old)


def _hiss(levels: BandLevels, singing: NDArray[np.bool_]) -> float:
    """`Balance.hiss` of one part."""
    centres = np.geomspace(LOWEST, HIGHEST, BANDS + 2)[1:-1]
    sung = levels.bands[: singing.size][singing]
    steady = float(np.percentile(sung[:, centres > _HISS].sum(axis=1), _STEADY))
    return float(10 * np.log10(max(steady, 1e-15) / max(float(sung.sum(axis=1).mean()), 1e-12)))


def _smooth(levels: BandLevels, columns: int, singing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Level in dB over `columns` columns around each, counting only those in which there is singing."""
    kernel = np.ones(min(columns, singing.size))  # "same" means as long as the longer one
    counted = np.convolve(singing, kernel, "same")
    power = np.convolve(np.where(singing, levels.weighted[: singing.size], 0), kernel, "same")
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power / np.maximum(counted, 1), 1e-12))
    return level


def _missing(levels: BandLevels, singing: NDArray[np.bool_], sung: float) -> tuple[float, tuple[float, ...]]:
    """Share of the singing in which this part is as good as silent, and up to three moments of it. `sung`: the level of
    the original's loud notes."""
    level = levels.level[: singing.size]
    loud = float(np.percentile(level[singing], 90))
    silent = level < max(sung - 50, loud - 40)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], silent.astype(np.int8), [0]))))
    held = np.zeros(silent.shape, bool)
    moments = []
    for first, last in zip(edges[0::2], edges[1::2], strict=True):
        if last - first >= 4:  # about 0.2 s; a single column is the end of a word, no lost word
            held[first:last] = singing[first:last]
            moments.append((int(held[first:last].sum()), float(first * levels.step)))
    runs = sorted((run for run in moments if run[0]), reverse=True)[:3]
    return float(held.sum() / singing.sum()), tuple(start for _, start in runs)
