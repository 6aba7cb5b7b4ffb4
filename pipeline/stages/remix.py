"""Stage `remix`: the finished vocal and the instrumental become the cover, as loud as the song was.

The instrumental is touched as little as possible. In this order, each only if the one before was not enough:
nothing at all; the vocal by at most `VOCAL_TRIM` dB; everything by one gain; the limiter, whose gain is the same for
all stems, so that they sum to the cover.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from audio.context import Context
from audio.errors import UnderstudyError
from audio.k_weighting import energies, mixed_loudness
from audio.limiter import MARGIN, gain_curve
from audio.loudness import SILENT, Loudness, measure, measure_blocks
from audio.samples import Audio, Samples
from audio.stored import AudioFile, AudioWriter
from audio.windows import map_windows

TOLERANCE = 0.2
"""LU that the mix may be off before anything is done about it."""

VOCAL_TRIM = 1.0
"""dB that the vocal may be moved to meet the song's loudness before everything is."""

_ACCEPTED = TOLERANCE + 0.05  # LU: two meters differ by a few hundredths
_HEADROOM = 0.1  # dB below the ceiling that the limiter is set to: true-peak meters differ too
_TRIES = 6
_HARD = 8.0  # dB of limiting that can be heard
_STEP = 6.0  # dB that a try may differ from the one before


class RemixSettings(BaseModel):
    """How the stems of a cover are put together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocal_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the converted vocal in dB.")
    backing_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the backing vocals in dB.")
    instrumental_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the instrumental in dB.")
    target_lufs: float | None = Field(
        default=None,
        ge=-60,
        le=-5,
        description="Integrated loudness of the cover in LUFS; the song's own if not given.",
    )
    ceiling: float = Field(default=-1.0, ge=-20, le=-1, description="Highest true peak of the cover in dBTP.")


@dataclass(frozen=True)
class _Stems:
    """Several files as one source: their channels stacked, each file in `width` channels, times its gain."""

    files: tuple[AudioFile, ...]
    gains: tuple[float, ...]
    rate: int
    width: int
    frames: int

    @property
    def channels(self) -> int:
        return self.width * len(self.files)

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        samples = np.empty((len(self.files), self.width, stop - start), np.float32)
        for stem, file, gain in zip(samples, self.files, self.gains, strict=True):
            stem[:] = file.read(start, stop).samples
            if gain != 1:
                stem *= np.float32(gain)
        return Audio(samples.reshape(self.channels, -1), self.rate)


def remix(
    context: Context,
    song: AudioFile,
    vocals: AudioFile,
    settings: RemixSettings,
    instrumental: AudioFile | None = None,
    backing: AudioFile | None = None,
) -> dict[str, object]:
    """``cover``, ``vocals`` and, where given, ``instrumental`` and ``backing``: `AudioFile` as long as `song` and with
    its rate and channels, of which the stems sum to the cover; and ``loudness``: what was measured and done, for JSON.

    Stems have the song's rate and either its channels or one; what they hold past the song's end is left out.
    Raises `UnderstudyError` ``stem-mismatch`` otherwise.
    """
    given = {"vocals": vocals, "instrumental": instrumental, "backing": backing}
    stems = {name: stem for name, stem in given.items() if stem is not None}
    for name, stem in stems.items():
        if stem.rate != song.rate or stem.channels not in (1, song.channels):
            raise UnderstudyError(
                "stem-mismatch",
                f"The {name} stem has {stem.channels} channels at {stem.rate} Hz, "
                f"the song {song.channels} at {song.rate} Hz.",
                "Give stems that were made from this song.",
            )
    original = measure(song, context.part(0.0, 0.1))
    asked = {
        "vocals": settings.vocal_gain,
        "instrumental": settings.instrumental_gain,
        "backing": settings.backing_gain,
    }
    wanted = np.array([asked[name] for name in stems])
    shared = energies(list(stems.values()), context.part(0.1, 0.2))
    target = original.integrated if settings.target_lufs is None else settings.target_lufs
    measurable = mixed_loudness(shared, _linear(wanted)) is not None and target > SILENT
    trim, gain, step, before = 0.0, 0.0, 0.0, 0.0
    if measurable:
        free = settings.target_lufs is None and not wanted.any()
        trim, gain = _gains(shared, wanted, target, trim_allowed=free)

    ceiling, slope = settings.ceiling - _HEADROOM, 1.0
    for attempt in range(1, _TRIES + 1):
        levels = wanted + gain
        levels[0] += trim
        source = _Stems(tuple(stems.values()), tuple(_linear(levels)), song.rate, song.channels, song.frames)
        # nobody knows how many tries it takes: each gets half of the progress that is left
        part = context.part(1 - 0.8 * 0.5 ** (attempt - 1), 1 - 0.8 * 0.5**attempt)
        measured, reduction = _write(part, source, list(stems), ceiling)
        error = target - measured.integrated if measurable and not measured.silent else 0.0
        excess = measured.true_peak - settings.ceiling
        if (abs(error) <= _ACCEPTED and excess <= 0) or attempt == _TRIES:
            break
        if abs(error) > _ACCEPTED:
            if attempt > 1 and step:
                slope = min(1.0, max(0.2, (measured.integrated - before) / step))
            elif reduction > 1:
                slope = 0.7  # the limiter takes some of every dB
            step, before = float(np.clip(error / slope, -_STEP, _STEP)), measured.integrated
            gain += step
        else:
            step = 0.0
        if excess > 0:
            ceiling -= excess + 0.02
    context.progress(1.0)
    if abs(error) > _ACCEPTED:
        context.warn(
            f"The cover has {measured.integrated:.1f} LUFS instead of {target:.1f}: to be louder it would have to be "
            "squeezed too much. A lower loudness target helps."
        )
    if reduction > _HARD:
        context.warn(
            f"To be as loud as wanted, the cover's peaks had to be turned down by up to {reduction:.0f} dB; "
            "a lower loudness target would leave it more open."
        )
    files = {name: AudioFile.open(context.folder / f"{name}.npy", song.rate) for name in ["cover", *stems]}
    loudness = {
        "song": original.summary(),
        "cover": measured.summary(),
        "true_peak": round(measured.true_peak, 2),
        "target": round(target, 2) if measurable else None,
        "vocal_trim": round(trim, 2),
        "gain": round(gain, 2),
        "reduction": round(reduction, 2) + 0.0,
    }
    return {**files, "loudness": loudness}


def _linear(decibels: np.ndarray) -> list[float]:
    return [float(10 ** (value / 20)) for value in decibels]


def _gains(shared: np.ndarray, wanted: np.ndarray, target: float, trim_allowed: bool) -> tuple[float, float]:
    """The vocal's trim and the gain of everything, in dB, that bring the mix to `target` LUFS."""

    def off(trim: float) -> float:
        levels = wanted.copy()
        levels[0] += trim
        loudness = mixed_loudness(shared, _linear(levels))
        return target - (SILENT if loudness is None else loudness)

    error, trim = off(0.0), 0.0
    if abs(error) <= TOLERANCE:
        return 0.0, 0.0
    if trim_allowed:
        # the smallest trim that is enough; the mix does not always grow with the vocal (phase), hence a search
        steps = sorted(np.arange(-VOCAL_TRIM, VOCAL_TRIM + 0.05, 0.1), key=lambda step: (abs(step), -step))
        errors = [(step, off(float(step))) for step in steps]
        enough = [step for step, left in errors if abs(left) <= TOLERANCE]
        if enough:
            return float(enough[0]), 0.0
        trim = float(min(errors, key=lambda pair: abs(pair[1]))[0])
    return trim, off(trim)


def _sum(stems: Samples) -> Samples:
    total: Samples = stems[0].copy()
    for stem in stems[1:]:
        total += stem
    return total


def _write(context: Context, source: _Stems, names: Sequence[str], ceiling: float) -> tuple[Loudness, float]:
    """Write the cover and its stems; the cover's loudness and the most dB that the limiter took away."""
    least = 1.0

    def limit(window: Audio, start: int) -> Audio:
        stems = window.samples.reshape(len(names), source.width, -1)
        gain = gain_curve(Audio(_sum(stems), window.rate), ceiling)
        return Audio(np.concatenate([window.samples * gain, gain[None]]), window.rate)

    with ExitStack() as stack:
        writers = [
            stack.enter_context(AudioWriter(context.folder / f"{name}.npy", source.rate, source.width))
            for name in ["cover", *names]
        ]

        def covers() -> Iterator[Audio]:
            nonlocal least
            for block in map_windows(source, limit, context, margin=MARGIN):
                least = min(least, float(block.samples[-1].min(initial=1.0)))
                stems = block.samples[:-1].reshape(len(names), source.width, -1)
                cover = Audio(_sum(stems), source.rate)
                for writer, samples in zip(writers, [cover.samples, *stems], strict=True):
                    writer.write(Audio(np.ascontiguousarray(samples), source.rate))
                yield cover

        measured = measure_blocks(covers(), source.rate, source.width)
    return measured, 20 * float(np.log10(1 / least)) if least > 0 else 120.0
