"""Notes of a voice, or of any instrument that plays one note at a time, from its pitch track and its level.

The melody is the sequence of semitones that follows the track most closely with the fewest changes (a least-cost path,
found by dynamic programming: Viterbi 1967), so that neither vibrato nor a glide becomes several notes. Where the pitch
stays and the level dips and rises, the note is repeated. It begins where the level has risen, after its consonant.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.midi import BEND_RANGE, Note
from understudy.audio.pitch.track import PitchTrack
from understudy.audio.samples import AudioSource
from understudy.context import Context

Curve = NDArray[np.float64]

_CHANGE = 10.0
"""Cost of a change of note, in the unit of the path: semitones off, summed over frames of 5 ms."""
_FARTHEST = 1.5  # semitones: upper limit of a frame's cost
_BRIDGE = 6  # frames without pitch that may lie within a note
_SHORTEST = 0.08  # seconds
_DIP = 6.0  # dB that the level dips between two notes of one pitch
_AROUND = 0.12  # seconds on each side of a dip in which the level must be higher
_RISEN = 6.0  # dB below a note's level at which it begins
_BACK = 3.0  # the same for a repeated note
_LEAD = 0.2  # seconds before the end of a pitch in which a dip is a consonant or the end, not a repetition
_BLEED = 20.0  # dB below the loud notes: softer notes are bleed of a separation
_SILENT = -120.0
_BEND_STEP = 0.02  # seconds from one pitch bend to the next


def levels(context: Context, source: AudioSource, hop: float, frames: int) -> Curve:
    """The level of `source` in dB around each frame of a track, ``[frames]``, `hop` seconds apart: the RMS of 20 ms."""
    side = round(0.01 * source.rate)
    powers = np.zeros(frames)
    step = max(1, round(20 / hop))
    for first in range(0, frames, step):
        last = min(frames, first + step)
        places = np.round(np.arange(first, last) * hop * source.rate).astype(int)
        begin, end = int(places[0]) - side, int(places[-1]) + side + 1
        square = np.mean(source.read(begin, end).samples.astype(np.float64) ** 2, axis=0)
        total = np.concatenate([[0.0], np.cumsum(square)])
        powers[first:last] = (total[places - begin + side] - total[places - begin - side]) / (2 * side)
        context.progress(last / frames)
    return np.asarray(np.maximum(10 * np.log10(np.maximum(powers, 1e-30)), _SILENT))


def sung_notes(pitch: PitchTrack, level: Curve) -> list[Note]:
    """The notes in `pitch`, one after the other. `level`: dB per frame of the track, as `levels` gives them.

    A note's number is the nearest semitone in the singer's tuning (the mean deviation from A = 440 Hz); its bends
    follow the sung pitch relative to A = 440 Hz, within the range of a pitch bend. Its velocity follows its level.
    """
    semitones = _semitones(pitch)
    tuning = _tuning(semitones[pitch.voiced])
    spans = [
        (first, last, number)
        for begin, end in _voiced(pitch)
        for first, last, number in _path(semitones[begin:end] - tuning, begin)
    ]
    shortest = round(_SHORTEST / pitch.hop)
    risen = [piece for span in spans for piece in _repeated(span, level, pitch.hop)]
    kept = [(first, last, number) for first, last, number in risen if last - first >= shortest and 0 < number < 128]
    loud = np.array([np.percentile(level[first:last], 75) for first, last, _ in kept])
    loudest = float(np.percentile(loud, 90)) if loud.size else 0.0
    return [
        Note(
            first * pitch.hop,
            last * pitch.hop,
            number,
            _velocity(float(own) - loudest),
            _bends(semitones, first, last, number, pitch.hop),
        )
        for (first, last, number), own in zip(kept, loud, strict=True)
        if own >= loudest - _BLEED
    ]


def _semitones(pitch: PitchTrack) -> Curve:
    """MIDI numbers with fractions; within short gaps interpolated."""
    voiced = np.flatnonzero(pitch.voiced)
    if not voiced.size:
        return np.zeros(pitch.frames)
    known = 69 + 12 * np.log2(pitch.f0[voiced].astype(np.float64) / 440)
    return np.asarray(np.interp(np.arange(pitch.frames), voiced, known))


def _tuning(semitones: Curve) -> float:
    """Semitones by which the singing is tuned above A = 440 Hz, -0.5..0.5: the circular mean of the fractions."""
    if not semitones.size:
        return 0.0
    return float(np.angle(np.mean(np.exp(2j * np.pi * semitones))) / (2 * np.pi))


def _voiced(pitch: PitchTrack) -> list[tuple[int, int]]:
    """Stretches of frames with a pitch, short gaps included."""
    voiced = np.flatnonzero(pitch.voiced)
    if not voiced.size:
        return []
    breaks = np.flatnonzero(np.diff(voiced) > _BRIDGE + 1)
    firsts = [int(voiced[0]), *voiced[breaks + 1].tolist()]
    lasts = [*(voiced[breaks] + 1).tolist(), int(voiced[-1]) + 1]
    return list(zip(firsts, lasts, strict=True))


def _path(semitones: Curve, begin: int) -> list[tuple[int, int, int]]:
    """The notes (first frame, frame after the last, number) with the least cost. `semitones` ``[frames]`` begin at
    frame `begin` of the track.

    The cost of a path is each frame's distance from its note (at most `_FARTHEST`) plus `_CHANGE` for each change. As
    every change costs the same, the best predecessor of a note is either itself or the cheapest of all notes.
    """
    low, high = int(np.floor(semitones.min())) - 1, int(np.ceil(semitones.max())) + 1
    numbers = np.arange(low, high + 1)
    costs = np.minimum(np.abs(semitones[:, None] - numbers), _FARTHEST)
    total = costs[0].copy()
    came = np.empty(costs.shape, np.int32)
    own = np.arange(numbers.size)
    for frame, cost in enumerate(costs):
        if frame == 0:
            came[0] = own
            continue
        best = int(np.argmin(total))
        change = total[best] + _CHANGE < total
        came[frame] = np.where(change, best, own)
        total = np.where(change, total[best] + _CHANGE, total) + cost
    state = int(np.argmin(total))
    states = np.empty(len(costs), np.int32)
    for frame in range(len(costs) - 1, -1, -1):
        states[frame] = state
        state = int(came[frame, state])
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    return [(begin + first, begin + last, int(numbers[states[first]])) for first, last in pairwise(edges)]


def _repeated(span: tuple[int, int, int], level: Curve, hop: float) -> list[tuple[int, int, int]]:
    """The note `span` (first, last, number) in pieces, cut where its level dips by `_DIP` dB and rises again."""

    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    first, last, number = span
    inside = level[first:last]
    reach = round(_AROUND / hop)
    if inside.size < 2 * reach:
        return [(_onset(first, last, level, _RISEN), last, number)]
    smooth = uniform_filter1d(inside, 3, mode="nearest")
    size = 2 * (reach // 2) + 1
    before = maximum_filter1d(smooth, size, origin=size // 2, mode="nearest")
    after = maximum_filter1d(smooth, size, origin=-(size // 2), mode="nearest")
    # how far the level lies below the highest ones shortly before and after
    depth = np.minimum(before, after) - smooth
    depth[: reach // 2] = 0
    depth[-round(_LEAD / hop) :] = 0
    cuts = []
    while depth.max() >= _DIP:
        lowest = int(np.argmax(depth))
        cuts.append(first + lowest)
        depth[max(0, lowest - reach) : lowest + reach] = 0
    edges = [first, *sorted(cuts), last]
    return [
        (_onset(begin, end, level, _RISEN if begin == first else _BACK), end, number) for begin, end in pairwise(edges)
    ]


def _onset(first: int, last: int, level: Curve, below: float) -> int:
    """The first frame of the note at which its level is at most `below` dB under its 75th percentile."""
    inside = level[first:last]
    return first + int(np.argmax(inside >= np.percentile(inside, 75) - below))


def _velocity(below: float) -> int:
    """The MIDI velocity of a note `below` dB (negative) relative to the loud ones."""
    return int(np.clip(round(105 + 3 * below), 1, 127))


def _bends(semitones: Curve, first: int, last: int, number: int, hop: float) -> tuple[tuple[float, float], ...]:
    from scipy.ndimage import uniform_filter1d

    step = max(1, round(_BEND_STEP / hop))
    smooth = uniform_filter1d(semitones[first:last], step, mode="nearest") - number
    reached = np.clip(smooth, -BEND_RANGE, BEND_RANGE)
    return tuple((float((first + at) * hop), float(round(reached[at], 3))) for at in range(0, last - first, step))
