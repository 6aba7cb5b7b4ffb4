"""Stages `measure`, `remix` and `cover_stems`: vocal and instrumental become the cover, as loud as the song was.

The instrumental is touched as little as possible. In this order, each only if the one before was not enough:
nothing at all; the vocal by at most `VOCAL_TRIM` dB; everything by one gain; the limiter, whose gain is the same for
all stems, so that they sum to the cover. What would need much more limiting than `HEAVY` dB stays softer than the song:
its dynamics are worth more than the last decibel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from understudy.audio.gain_reduction import GainReduction
from understudy.audio.k_weighting import energies, mixed_loudness
from understudy.audio.limiter import MARGIN, limiting, true_peaks
from understudy.audio.loudness import SILENT, Loudness, LoudnessSummary, measure, measure_blocks
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, AudioWriter
from understudy.audio.windows import map_windows
from understudy.choices import Platform, listed
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.settings import FrozenModel
from understudy.pipeline.values import stored

TOLERANCE = 0.2
"""LU that the mix may be off before anything is done about it."""

VOCAL_TRIM = 1.0
"""dB that the vocal may be moved to meet the song's loudness before everything is."""

HEAVY = 3.0
"""dB of reduction that are a lot: the limiter takes more during at most `_HEAVY_SHARE` of the time, and its lasting
part (see `understudy.audio.limiter`) during at most `_LASTING_SHARE`."""

_HEAVY_SHARE, _LASTING_SHARE = 0.01, 0.001

_ACCEPTED = TOLERANCE + 0.05  # LU: two meters differ by a few hundredths
_HEADROOM = 0.1  # dB below the ceiling that the limiter is set to: true-peak meters differ too
_NEAR = 0.05  # dB that the limiting may be off from `HEAVY`
_OVERS = 3.0  # dBTP: loud masters reach this when they were coded with loss; more is a float file over full scale
_SAID = 0.5  # LU that a cover is softer than it should be before a warning says so
_TRIES = 6
_HARD = 8.0  # dB of limiting that is audible
_STEP = 6.0  # dB that a try may differ from the one before


@dataclass(frozen=True)
class LoudnessProfile:
    """What a platform plays music at, in LUFS, and the highest true peak that it asks for, in dBTP."""

    lufs: float
    ceiling: float


# Spotify: "Loudness normalization" for artists, support.spotify.com: -14 LUFS, and at most -1 dBTP at that loudness.
# YouTube publishes no number; its player's "Stats for nerds" measures against -14 LUFS. It turns down only.
# Apple Music: Sound Check plays at -16 LUFS, as AES TD1008 recommends for tracks; -1 dBTP before AAC is from "Apple
# Digital Masters".
# Clubs have no standard: at -9 LUFS (± 1) DJs found tracks to fit between others (Signum Audio and SAE Glasgow, "New
# Club Loudness Preset").
PROFILES: Mapping[Platform, LoudnessProfile] = {
    "spotify": LoudnessProfile(-14.0, -1.0),
    "youtube": LoudnessProfile(-14.0, -1.0),
    "apple": LoudnessProfile(-16.0, -1.0),
    "club": LoudnessProfile(-9.0, -1.0),
}


class RemixSettings(FrozenModel):
    """How the stems of a cover are put together."""

    vocal_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the converted vocal in dB.")
    backing_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the backing vocals in dB.")
    reverb_gain: float | None = Field(
        default=None, ge=-60, le=24, description="Gain in dB of the reverb taken off the lead; left out if not given."
    )
    noise_gain: float | None = Field(
        default=None, ge=-60, le=24, description="Gain in dB of the noise taken off the lead; left out if not given."
    )
    instrumental_gain: float = Field(default=0.0, ge=-60, le=24, description="Gain of the instrumental in dB.")
    loudness: Platform | None = Field(
        default=None,
        description=f"As loud as a platform plays it: {listed(Platform)}; as the song if not given.",
    )
    target_lufs: float | None = Field(
        default=None,
        ge=-60,
        le=-5,
        description="Integrated loudness of the cover in LUFS; that of the platform or the song if not given.",
    )
    ceiling: float = Field(default=-1.0, ge=-20, le=-1, description="Highest true peak of the cover in dBTP.")

    @property
    def requested_lufs(self) -> float | None:
        """The loudness to reach; None for the song's own."""
        if self.target_lufs is None and self.loudness is not None:
            return PROFILES[self.loudness].lufs
        return self.target_lufs

    @property
    def highest_peak(self) -> float:
        """In dBTP: the lower of `ceiling` and the platform's."""
        return min(self.ceiling, PROFILES[self.loudness].ceiling if self.loudness else self.ceiling)


STEMS = ("vocals", "instrumental", "backing", "reverb", "noise")
"""What a cover may consist of, in the order in which it is summed."""


@stored
@dataclass(frozen=True, eq=False)
class StemLevels:
    """What remix must know and no gain changes: the loudness of the `song`, and `energies`, those of the stems (see
    `understudy.audio.k_weighting.energies`; in the order of `STEMS`, of those given)."""

    song: LoudnessSummary
    energies: np.ndarray


@stored
@dataclass(frozen=True)
class Mixing:
    """How a cover was mixed: the gain of each stem in dB, and what the limiter was set to, in dBTP."""

    levels: tuple[float, ...]
    ceiling: float


@stored
@dataclass(frozen=True)
class CoverLoudness:
    """What was measured and done, as the report and ``--json`` give it. `true_peak`: of the cover in dBTP. `target`: in
    LUFS, None where nothing can be measured. `vocal_trim`: dB that the vocal alone was moved by, `gain` all stems;
    `reduction`: the most that the limiter took, in dB; `reduction_mean`: over the time of the song;
    `reduction_lasting`: what its lasting part exceeds during a thousandth of the time; `reduction_heavy`: percent of
    the time with more than `HEAVY` dB. `shortfall`: LU that the cover is softer than the target because more limiting
    would do damage."""

    song: LoudnessSummary
    cover: LoudnessSummary
    true_peak: float
    target: float | None
    vocal_trim: float
    gain: float
    reduction: float
    reduction_mean: float = 0.0
    reduction_lasting: float = 0.0
    reduction_heavy: float = 0.0
    shortfall: float = 0.0


@stored
@dataclass(frozen=True)
class CoverMix:
    """`cover`: as long as the song, with its rate and channels. From `mixing`, `cover_stems` makes the stems."""

    cover: AudioFile
    mixing: Mixing
    loudness: CoverLoudness


@dataclass(frozen=True)
class Limited:
    """A limited mix: its loudness, what the limiter took (`reduction`), and the part of that which lasts."""

    loudness: Loudness
    reduction: GainReduction
    lasting: GainReduction

    @property
    def room(self) -> float:
        """dB that everything may be raised by, since the reduction grows as much; infinite where nothing is limited."""
        taken = max(self.reduction.exceeded(_HEAVY_SHARE), self.lasting.exceeded(_LASTING_SHARE))
        return HEAVY - taken if taken else np.inf


@dataclass(frozen=True)
class Stacked:
    """Several sounds as one source: their channels stacked, each sound in `width` channels, times its gain.

    The limiter needs all stems at once: its gain follows from their sum and is applied to each of them. As one source
    with ``width * len(files)`` channels they go through `map_windows` together.
    """

    files: tuple[AudioSource, ...]
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

    def stacked(self, window: Audio) -> Samples:
        """The samples of a window as ``[files, width, frames]``."""
        return window.samples.reshape(len(self.files), self.width, -1)

    def mixed(self, window: Audio) -> Audio:
        """The sum of the sounds of a window."""
        return Audio(self.stacked(window).sum(axis=0), window.rate)


def measure_stems(context: Context, song: AudioFile, stems: Mapping[str, AudioFile]) -> StemLevels:
    """What no gain changes. `stems`: by names of `STEMS`, ``vocals`` among them."""
    found = _fitting(song, stems)
    summary = measure(song, context.part(0.0, 0.6)).summary()
    return StemLevels(summary, energies(list(found.values()), context.part(0.6, 1.0)))


def remix(
    context: Context, song: AudioFile, stems: Mapping[str, AudioFile], measured: StemLevels, settings: RemixSettings
) -> CoverMix:
    """The cover. `stems`: by names of `STEMS`; `measured`: what `measure_stems` found of the same stems.

    Stems have the song's rate and either its channels or one; what they hold past the song's end is left out.
    Raises `UnderstudyError` ``stem-mismatch`` otherwise.
    """
    stems = _fitting(song, stems)
    original, shared = measured.song, measured.energies
    gains = {
        "vocals": settings.vocal_gain,
        "instrumental": settings.instrumental_gain,
        "backing": settings.backing_gain,
        "reverb": settings.reverb_gain or 0.0,
        "noise": settings.noise_gain or 0.0,
    }
    wanted = np.array([gains[name] for name in stems])
    requested, highest_peak = settings.requested_lufs, settings.highest_peak
    over = max(0.0, original.true_peak - _OVERS)
    target = original.integrated - over if requested is None else requested
    if over >= _SAID and requested is None:
        context.warn(
            f"The song goes {original.true_peak:.0f} dB over full scale. "
            f"The cover is made {over:.0f} LU softer than it, as loud as players can play it."
        )
    measurable = mixed_loudness(shared, _linear(wanted)) is not None and target > SILENT
    trim, gain, step, before = 0.0, 0.0, 0.0, 0.0
    if measurable:
        free = requested is None and not wanted.any()
        trim, gain = _gains(shared, wanted, target, trim_allowed=free)

    # The limiter takes back some of every gain, by an amount that depends on the sound. So the mix is made, measured
    # and corrected by a secant step: `slope` is how many LU the last dB of gain brought.
    ceiling, slope = highest_peak - _HEADROOM, 1.0
    for attempt in range(1, _TRIES + 1):
        levels = wanted + gain
        levels[0] += trim
        source = Stacked(tuple(stems.values()), tuple(_linear(levels)), song.rate, song.channels, song.frames)
        # the number of tries is not known: each gets half of the progress that is left
        part = context.part(1 - 0.5 ** (attempt - 1), 1 - 0.5**attempt)
        made = write_limited(part, source, ceiling, context.folder / "cover.npy")
        found, reduction, room = made.loudness, made.reduction, made.room
        error = target - found.integrated if measurable and not found.silent else 0.0
        excess = found.true_peak - highest_peak
        softer = error > _ACCEPTED and room < _NEAR
        if ((abs(error) <= _ACCEPTED or softer) and room >= -_NEAR and excess <= 0) or attempt == _TRIES:
            break
        if excess > 0:
            ceiling -= excess + 0.02
            room -= excess + 0.02
        if abs(error) > _ACCEPTED and not softer:
            if attempt > 1 and step:
                slope = min(1.0, max(0.2, (found.integrated - before) / step))
            elif reduction.most > 1:
                slope = 0.7  # the limiter takes some of every dB
            step = float(np.clip(error / slope, -_STEP, _STEP))
        else:
            step = 0.0
        step, before = min(step, room), found.integrated
        gain += step
    context.progress(1.0)
    shortfall = error if softer else 0.0
    if shortfall >= _SAID:
        wished = "the song" if requested is None else f"the {target:.0f} LUFS asked for"
        context.warn(
            f"The cover is {shortfall:.1f} LU softer than {wished}: "
            f"to be as loud, its peaks would have to be turned down by more than {HEAVY:.0f} dB all too often."
        )
    elif abs(error) > _ACCEPTED and not softer:
        context.warn(
            f"The cover has {found.integrated:.1f} LUFS instead of {target:.1f}: to be louder it would have to be "
            "squeezed too much. A lower loudness target helps."
        )
    if reduction.most > _HARD:
        context.warn(
            f"To be that loud, the cover's peaks had to be turned down by up to {reduction.most:.0f} dB; "
            "a lower loudness target would leave it more open."
        )
    loudness = CoverLoudness(
        song=original,
        cover=found.summary(),
        true_peak=round(found.true_peak, 2),
        target=round(target, 2) if measurable else None,
        vocal_trim=round(trim, 2),
        gain=round(gain, 2),
        reduction=round(reduction.most, 2) + 0.0,
        reduction_mean=round(reduction.mean, 2) + 0.0,
        reduction_lasting=round(made.lasting.exceeded(_LASTING_SHARE), 2),
        reduction_heavy=round(100 * reduction.share_above(HEAVY), 2),
        shortfall=round(shortfall, 2),
    )
    cover = AudioFile.open(context.folder / "cover.npy", song.rate)
    return CoverMix(cover, Mixing(tuple(float(level) for level in levels), ceiling), loudness)


def cover_stems(
    context: Context, song: AudioFile, stems: Mapping[str, AudioFile], mixing: Mixing
) -> Mapping[str, AudioFile]:
    """The cover's stems by name, with the gains and the limiting of the cover, so that they sum to it."""
    stems = _fitting(song, stems)
    source = Stacked(tuple(stems.values()), tuple(_linear(mixing.levels)), song.rate, song.channels, song.frames)

    def limited(window: Audio, start: int) -> Audio:
        return Audio(window.samples * limiting(source.mixed(window), mixing.ceiling).gain, window.rate)

    with ExitStack() as stack:
        writers = [
            stack.enter_context(AudioWriter(context.folder / f"{name}.npy", song.rate, song.channels)) for name in stems
        ]
        for block in map_windows(source, limited, context, margin=MARGIN):
            for writer, samples in zip(writers, source.stacked(block), strict=True):
                writer.write(Audio(np.ascontiguousarray(samples), song.rate))
    return {name: AudioFile.open(context.folder / f"{name}.npy", song.rate) for name in stems}


def _fitting(song: AudioFile, stems: Mapping[str, AudioFile]) -> dict[str, AudioFile]:
    """The stems in the order of `STEMS`; raises ``stem-mismatch`` for one that doesn't fit the song."""
    stems = {name: stems[name] for name in STEMS if name in stems}
    for name, stem in stems.items():
        if stem.rate != song.rate or stem.channels not in (1, song.channels):
            raise UnderstudyError(
                "stem-mismatch",
                f"The {name} stem has {stem.channels} channels at {stem.rate} Hz, "
                f"the song {song.channels} at {song.rate} Hz.",
                "Give stems that were made from this song.",
            )
    return stems


def _linear(decibels: Iterable[float]) -> list[float]:
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
        # the vocal alone is moved first, because a decibel there is less of a change than one of everything:
        # the smallest trim that is enough; the mix does not always grow with the vocal (phase), hence a search
        steps = sorted(np.arange(-VOCAL_TRIM, VOCAL_TRIM + 0.05, 0.1), key=lambda step: (abs(step), -step))
        errors = [(step, off(float(step))) for step in steps]
        enough = [step for step, left in errors if abs(left) <= TOLERANCE]
        if enough:
            return float(enough[0]), 0.0
        trim = float(min(errors, key=lambda pair: abs(pair[1]))[0])
    return trim, off(trim)


def limited_blocks(context: Context, source: Stacked, ceiling: float) -> Iterator[tuple[Audio, Samples]]:
    """The sum of `source` under `ceiling` dBTP block by block; and ``[3, frames]`` of each block: the gain that the
    limiter applied, its lasting part, and the true peaks of the result (linear)."""

    def limit(window: Audio, start: int) -> Audio:
        mix = source.mixed(window)
        found = limiting(mix, ceiling)
        limited = mix if found.idle else Audio(mix.samples * found.gain, mix.rate)
        peaks = found.peaks if found.idle else true_peaks(limited, 10 ** (ceiling / 20))
        # the curves travel as more channels: windows overlap, and only the blocks that are used count
        return Audio(np.concatenate([limited.samples, [found.gain, found.sustained, peaks]]), window.rate)

    for block in map_windows(source, limit, context, margin=MARGIN):
        yield Audio(block.samples[:-3], block.rate), block.samples[-3:]


def write_limited(context: Context, source: Stacked, ceiling: float, path: Path) -> Limited:
    """Write the sum of `source` under `ceiling` dBTP to `path`."""
    reduction, lasting, highest = GainReduction(), GainReduction(), 0.0

    def mixes(writer: AudioWriter) -> Iterator[Audio]:
        nonlocal highest
        for mix, (gain, sustained, peaks) in limited_blocks(context, source, ceiling):
            reduction.add(gain)
            lasting.add(sustained)
            highest = max(highest, float(peaks.max()))
            writer.write(mix)
            yield mix

    with AudioWriter(path, source.rate, source.width) as writer:
        # the limiter has oversampled the sound: its peaks need not be looked for again
        measured = measure_blocks(mixes(writer), source.rate, source.width, true_peak=False)
    peak = max(SILENT, 20 * float(np.log10(highest))) if highest else SILENT
    return Limited(replace(measured, true_peak=peak), reduction, lasting)
