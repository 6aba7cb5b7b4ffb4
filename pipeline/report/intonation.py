"""Intonation: the pitch that Praat finds in the cover's vocal against the pitch that was to be sung.

Praat's autocorrelation method (Boersma 1993) is not the tracker that the conversion was steered by, so an error of
either shows as a disagreement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import AudioSource
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.pipeline.report.bands import clean
from understudy.pipeline.values import stored

HOP = 0.02  # seconds between Praat's frames: half as many as usual cost half and give the same shares
ON_NOTE = 50.0  # cents: half a semitone
_RATE = 16000
_SECONDS = 30.0
_SPARE = 12  # frames beside each window, so that its first and last are found as those in between
_DELAY_STEP = 0.01
_ENOUGH = round(1.0 / HOP)  # frames: less than a second of singing is too little
_SILENT = 10 ** (-100 / 20)


@stored
@dataclass(frozen=True)
class Intonation:
    """Shares are 0..1. `frames`: how many frames of 20 ms both tracks call voiced; with none, the other figures are 0.

    `on_note`: of those, the share within 50 cents. `octave_errors`: the share in which both of two trackers find it an
    octave or two off (± 1 semitone); one alone errs more often than what it is to check.
    `bias`: median deviation in cents. `unsung`: share of the expected voiced frames that Praat finds no pitch in.
    `worst`: seconds where passages of 2 s stray furthest, worst first, at most five.
    """

    frames: int
    on_note: float
    octave_errors: float
    bias: float
    unsung: float
    worst: tuple[float, ...]

    @property
    def enough(self) -> bool:
        """Whether there was enough singing to say anything."""
        return self.frames >= _ENOUGH


def praat_track(
    source: AudioSource, context: Context, low: float, high: float, *, subharmonics: bool = False
) -> PitchTrack:
    """Pitch of `source` by Praat's autocorrelation every `HOP` seconds, between `low` and `high` Hz. `subharmonics`: by
    subharmonic summation (Hermes 1988) instead, which has a pitch at all times and errs in other places."""
    import parselmouth
    import soxr

    seconds = source.frames / source.rate
    total = int(seconds / HOP) + 1
    per_window = round(_SECONDS / HOP)
    # Praat lays its frames around the middle of the sound, as many as 3 periods of `low` fit in: with this margin it is
    # one more than an even number beyond ours, and so they stand where ours do
    margin = 1.5 / low + (_SPARE + 0.25) * HOP

    def window(first: int) -> NDArray[np.float32]:
        count = min(per_window, total - first)
        start = round((first * HOP - margin) * source.rate)
        stop = round(((first + count) * HOP + margin) * source.rate)
        mono = clean(source.read(start, stop)).mono()
        f0 = np.zeros(count, np.float32)
        samples = mono.samples[0]
        # Praat normalises by the window's own peak, so silence must not reach it as amplified noise
        if np.max(np.abs(samples), initial=0) < _SILENT:
            return f0
        low_rate = soxr.resample(samples.astype(np.float64), mono.rate, _RATE, "HQ")
        sound = parselmouth.Sound(low_rate, _RATE)
        if subharmonics:
            pitch = sound.to_pitch_shs(
                time_step=HOP, minimum_pitch=low, ceiling=high, maximum_frequency_component=max(1250.0, high)
            )
        else:
            pitch = sound.to_pitch_ac(time_step=HOP, pitch_floor=low, pitch_ceiling=high)
        moments = (first + np.arange(count)) * HOP - start / mono.rate
        nearest = np.round((moments - pitch.xs()[0]) / HOP).astype(int)
        inside = (nearest >= 0) & (nearest < pitch.n_frames)
        f0[inside] = pitch.selected_array["frequency"][nearest[inside]]
        return f0

    starts = range(0, total, per_window)
    parts: list[NDArray[np.float32]] = []
    for part in ordered_map(window, starts, context.workers):
        parts.append(part)
        context.progress(len(parts) / len(starts))
    return PitchTrack(np.concatenate(parts), HOP)


def search_range(track: PitchTrack) -> tuple[float, float]:
    """Floor and ceiling in Hz for Praat: what the track spans and a fifth more on either side, within 50..2500."""
    voiced = track.f0[track.voiced]
    if voiced.size == 0:
        return 65.0, 1000.0
    low, high = np.percentile(voiced, (1, 99))
    low = float(np.clip(low / 1.5, 50.0, 400.0))
    return low, float(np.clip(high * 1.5, 3 * low, 2500.0))


def at_times(track: PitchTrack, seconds: NDArray[np.floating]) -> NDArray[np.float32]:
    """The track's nearest value at each of `seconds`; 0 before its beginning and past its end."""
    nearest = np.round(seconds / track.hop).astype(int)
    f0 = np.zeros(seconds.shape, np.float32)
    inside = (nearest >= 0) & (nearest < track.frames)
    f0[inside] = track.f0[nearest[inside]]
    return f0


def compare(
    sung: PitchTrack,
    expected: PitchTrack,
    counts: Callable[[NDArray[np.floating]], NDArray[np.bool_]],
    second: PitchTrack | None = None,
) -> Intonation:
    """`sung` (Praat's) against the `expected` track, at the seconds that count. `second`: by another tracker, which has
    to confirm octave errors."""
    target = np.where(counts(sung.times), at_times(expected, sung.times), 0)
    due = target > 0
    both = due & (sung.f0 > 0)
    count = int(both.sum())
    unsung = 1 - count / int(due.sum()) if due.any() else 0.0
    if count == 0:
        return Intonation(0, 0.0, 0.0, 0.0, unsung, ())
    cents = np.zeros(sung.frames)
    cents[both] = 1200 * np.log2(sung.f0[both] / target[both])
    deviation = cents[both]
    # within a semitone of a whole number of octaves off: an octave error, which is not merely a wrong note
    octaves = np.round(deviation / 1200)
    octave_error = (octaves != 0) & (np.abs(deviation - 1200 * octaves) <= 100)
    if second is not None:
        again = 1200 * np.log2(np.maximum(at_times(second, sung.times)[both], 1) / target[both])
        octave_error &= np.abs(again - 1200 * octaves) <= 100
    return Intonation(
        frames=count,
        on_note=float(np.mean(np.abs(deviation) <= ON_NOTE)),
        octave_errors=float(np.mean(octave_error)),
        bias=float(np.median(deviation)),
        unsung=unsung,
        worst=_worst(both & (np.abs(cents) > ON_NOTE), both, sung.hop),
    )


def _worst(off: NDArray[np.bool_], both: NDArray[np.bool_], hop: float, seconds: float = 2.0) -> tuple[float, ...]:
    """Beginnings of the passages of `seconds` with most off-note frames; only those with at least a fifth off."""
    size = max(1, round(seconds / hop))
    blocks = len(off) // size
    if blocks == 0:
        return ()
    wrong = off[: blocks * size].reshape(blocks, size).sum(axis=1)
    sung = both[: blocks * size].reshape(blocks, size).sum(axis=1)
    order = np.argsort(-wrong, kind="stable")
    return tuple(float(block * seconds) for block in order[:5] if wrong[block] > max(5, 0.2 * sung[block]))


def delay_of(sung: PitchTrack, wanted: PitchTrack, reach: float = 0.6) -> float | None:
    """Seconds by which `sung` is late against `wanted`, to 10 ms, from the places where the melody moves; None when the
    two don't fit each other at any shift, or there is too little to tell."""
    most = round(reach / _DELAY_STEP)
    costs = []
    for shift in range(-most, most + 1):
        moved = at_times(wanted, sung.times - shift * _DELAY_STEP)
        both = (moved > 0) & (sung.f0 > 0)
        if both.sum() < _ENOUGH:
            return None
        cents = np.abs(1200 * np.log2(sung.f0[both] / moved[both]))
        # what one sings where the other doesn't counts too: beginnings and ends of words tell the time best
        alone = int(((moved > 0) != (sung.f0 > 0)).sum())
        costs.append((float(np.minimum(cents, 200).sum()) + 200 * alone) / (int(both.sum()) + alone))
    best = int(np.argmin(costs))
    if costs[best] > 120 or costs[best] > 0.9 * float(np.median(costs)):
        return None
    return (best - most) * _DELAY_STEP
