"""The stages of a cover with several voices: what each sings is cut out, converted, and joined again.

A voice converts its own turns and a second of context around each, no more. Where two turns meet, the seam is put into
the nearest pause of the singing within `SNAP` seconds, unless the moment was given exactly, and the two voices
cross-fade there. Where no voice has a turn, the original singer stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from math import gcd
from typing import Any

import numpy as np

from understudy.audio.crossfade import FADE, Segment, raised_cosine, spliced
from understudy.audio.downmix import fold
from understudy.audio.loudness import measure
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio, AudioSource
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import SHORTEST, TimeRanges
from understudy.pipeline.values import stored
from understudy.voices.transpose import Transposition
from understudy.wording import exact_clock

SNAP = 0.25  # seconds that a seam may move to lie in a pause
CONTEXT = 1.0  # seconds before and after a turn that its voice hears
_APART = 0.25  # seconds of silence between two pieces
_EDGE = 0.02  # seconds in which a piece begins and ends
_DISTANCE = 6.0  # dB that a moment `SNAP` away must be softer to be taken
_DEEP = 40.0  # dB below the loudest moment near a seam: as good as a pause
_MOST = 12.0  # dB that a voice is turned up or down to be as loud as the original


@stored
@dataclass(frozen=True, eq=False)
class Cut:
    """The turns of one voice, as one short performance.

    `vocals`: the pieces one after the other, each turn with `CONTEXT` around it. `pitch`: their pitch; `own`: the same
    with nothing but the turns. `pieces`: (frame of the whole vocals, frames, frame of the short file) of each.
    `turns`: (first frame, end) of each turn in the whole vocals; `seconds`: the same in the song's time.
    """

    vocals: AudioFile
    pitch: PitchTrack
    own: PitchTrack
    pieces: tuple[tuple[int, int, int], ...]
    turns: tuple[tuple[int, int], ...]
    seconds: tuple[tuple[float, float], ...]


@stored
@dataclass(frozen=True, eq=False)
class JoinedVocal:
    """What several voices sang, as one conversion, mono and dry. `pitch`: the pitch that it is meant to have. `turns`:
    (number of the voice from 0, or -1 for the original singer, first frame, end), in order and without gaps."""

    vocals: AudioFile
    pitch: PitchTrack
    turns: tuple[tuple[int, int, int], ...]


@stored
@dataclass(frozen=True)
class VoicePart:
    """One voice of a cast. `part`: ``lead`` or ``backing``. `transpose`: semitones, and `reason` says why. `turns`:
    (from, to) in the song's seconds, empty for a voice that sings all of its part."""

    voice: str
    part: str
    transpose: int
    reason: str
    turns: tuple[tuple[float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``turns`` only where there are any."""
        return {name: value for name, value in asdict(self).items() if value != ()}


@stored
@dataclass(frozen=True)
class CastList:
    """Who sings what. `transposition`: that of the first voice; its reason says what was chosen for each."""

    transposition: Transposition
    singers: tuple[VoicePart, ...]


def cut(context: Context, vocals: AudioFile, pitch: PitchTrack, turns: TimeRanges) -> Cut:
    """The turns of one voice out of the `vocals` and their `pitch`. Raises ``turn-outside`` for a turn beyond the
    song's end."""
    rate, length = vocals.rate, vocals.frames
    own = [
        _placed(vocals, time.start, time.stop, time.exact_start, time.exact_stop, turns.offset) for time in turns.ranges
    ]
    for (start, stop), time in zip(own, turns.ranges, strict=True):
        if stop - start < FADE * rate:
            end = exact_clock(turns.offset + length / rate)
            raise UnderstudyError(
                "turn-outside",
                f"A voice is to sing {time.text}, but the song ends at {end}.",
                "Times are those of the song: 1:12 is 72 seconds from its beginning.",
            )
    # Pieces begin at a whole number of pitch hops, so that the pitch track can be cut without resampling.
    pieces = _pieces(own, rate, length)
    frames_per_hop = rate * pitch.hop
    f0: list[np.ndarray] = []
    only: list[np.ndarray] = []
    for place, frames, _ in pieces:
        first = round(place / frames_per_hop)
        count = round((frames + _apart(rate)) / frames_per_hop)
        times = (first + np.arange(count)) * frames_per_hop
        piece = np.zeros(count, np.float32)
        known = pitch.f0[first : first + round(frames / frames_per_hop)]
        piece[: len(known)] = known
        f0.append(piece)
        # the context is converted, too, but the octave is chosen by what the voice itself sings
        only.append(np.where(_inside(times, own), piece, np.float32(0)))
    closing = np.zeros(1, np.float32)  # a track of a sound has one frame more than hops
    return Cut(
        vocals=write_blocks(context.folder / "vocals.npy", rate, vocals.channels, _cut_out(vocals, pieces, context)),
        pitch=PitchTrack(np.concatenate([*f0, closing]), pitch.hop),
        own=PitchTrack(np.concatenate([*only, closing]), pitch.hop),
        pieces=tuple(pieces),
        turns=tuple(own),
        seconds=tuple((_seconds(start, turns, rate), _seconds(stop, turns, rate)) for start, stop in own),
    )


def _seconds(frame: int, turns: TimeRanges, rate: int) -> float:
    """A frame of the vocals in the song's time."""
    return round(turns.offset + frame / rate, 3)


def join(
    context: Context,
    vocals: AudioFile,
    pitch: PitchTrack,
    key: int,
    cuts: Sequence[Cut],
    converted: Sequence[AudioFile],
    transpositions: Sequence[Transposition],
) -> JoinedVocal:
    """What the voices sang as one conversion, as long as the original `vocals`.

    `cuts`, `converted` and `transpositions` are those of the voices, in one order. Each voice is made as loud as the
    original was in its turns. Where no voice has a turn, the original stays, and the pitch is the original's moved by
    `key` semitones.
    """
    original = fold(context.part(0.0, 0.02), vocals)
    turns = _order([one.turns for one in cuts], vocals.frames, round(SHORTEST * vocals.rate))
    # Each conversion is read at its places in the whole, silence elsewhere: no copy of the whole song per voice.
    sources: list[AudioSource] = []
    for number, (one, sung) in enumerate(zip(cuts, converted, strict=True)):
        part = context.part(0.6 * number / len(cuts), 0.6 * (number + 1) / len(cuts))
        gain = _matching(_Placed(sung, one.pieces, vocals.frames), original, one.turns, part)
        sources.append(_Placed(sung, one.pieces, vocals.frames, gain))
    segments = [Segment(original if number < 0 else sources[number], start, stop) for number, start, stop in turns]
    joined = write_blocks(context.folder / "vocals.npy", vocals.rate, 1, spliced(segments, context.part(0.6, 1.0)))
    wanted = pitch.f0.copy()
    times = pitch.times * vocals.rate
    for number, start, stop in turns:
        here = (times >= start) & (times < stop)
        wanted[here] *= 2 ** ((key if number < 0 else transpositions[number].semitones) / 12)
    return JoinedVocal(joined, PitchTrack(wanted, pitch.hop), tuple(turns))


def keep(
    context: Context, finished: AudioFile, original: AudioFile, turns: Sequence[tuple[int, int, int]]
) -> AudioFile:
    """The `finished` vocal, and the untouched `original` where no voice has a turn (-1 in `turns`, as `join` gave)."""
    segments = [Segment(original if number < 0 else finished, start, stop) for number, start, stop in _runs(turns)]
    return write_blocks(context.folder / "vocals.npy", finished.rate, finished.channels, spliced(segments, context))


def cast_list(
    context: Context,
    voices: Sequence[tuple[str, str]],
    transpositions: Sequence[Transposition],
    turns: Sequence[tuple[tuple[float, float], ...]] = (),
) -> CastList:
    """Who sings what, for the report. `voices`: (part, name) of each, and `transpositions` what was chosen for them.
    `turns`: for the first of them, the seconds of `Cut`."""
    singers: list[VoicePart] = []
    reasons = []
    for (part, name), chosen, own in zip_longest(voices, transpositions, turns):
        when = "backing vocals" if part == "backing" else ""
        if own:
            when = ", ".join(f"{exact_clock(round(start, 1))}-{exact_clock(round(stop, 1))}" for start, stop in own)
        singers.append(VoicePart(name, part, chosen.semitones, chosen.reason, own or ()))
        reasons.append(f"{name} ({when}): {chosen.reason}" if when else f"{name}: {chosen.reason}")
    first = transpositions[0]
    if len({one.transpose % 12 for one in singers}) > 1:
        context.warn("The voices are in different keys, because they move by different semitones.")
    return CastList(Transposition(first.semitones, first.octaves, " ".join(reasons)), tuple(singers))


@dataclass(frozen=True)
class _Placed:
    """`pieces` of a source, each (first frame here, frames, first frame there), times a gain; silence between them."""

    file: AudioSource
    pieces: tuple[tuple[int, int, int], ...]
    frames: int
    gain: float = 1.0

    @property
    def rate(self) -> int:
        return self.file.rate

    @property
    def channels(self) -> int:
        return self.file.channels

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        samples = np.zeros((self.file.channels, max(0, stop - start)), np.float32)
        for place, frames, position in self.pieces:
            first, last = max(start, place), min(stop, place + frames)
            if first < last:
                block = self.file.read(position + first - place, position + last - place)
                samples[:, first - start : last - start] = block.samples * np.float32(self.gain)
        return Audio(samples, self.rate)


def _gathered(source: AudioSource, turns: Sequence[tuple[int, int]]) -> _Placed:
    """Those turns of the source, one right after the other."""
    pieces, position = [], 0
    for start, stop in turns:
        pieces.append((position, stop - start, start))
        position += stop - start
    return _Placed(source, tuple(pieces), position)


def _matching(sung: AudioSource, original: AudioSource, turns: Sequence[tuple[int, int]], context: Context) -> float:
    """The gain that makes `sung` as loud as the original in those turns."""
    had = measure(_gathered(sung, turns), context.part(0.0, 0.5))
    wanted = measure(_gathered(original, turns), context.part(0.5, 1.0))
    if had.silent or wanted.silent:
        return 1.0
    return float(10 ** (np.clip(wanted.integrated - had.integrated, -_MOST, _MOST) / 20))


def _placed(
    vocals: AudioFile, start: float, stop: float | None, exact_start: bool, exact_stop: bool, offset: float
) -> tuple[int, int]:
    """First frame and end of a turn in the vocals."""
    first = _frame(vocals, start - offset, exact_start)
    last = vocals.frames if stop is None else _frame(vocals, stop - offset, exact_stop)
    short = round(2 * FADE * vocals.rate)  # what is less than two fades from an end goes to it
    first = 0 if first < short else first
    last = vocals.frames if last > vocals.frames - short else last
    return first, last


def _frame(vocals: AudioFile, seconds: float, exact: bool) -> int:
    frame = round(seconds * vocals.rate)
    if exact or not 0 < frame < vocals.frames:
        return min(max(0, frame), vocals.frames)
    return pause_near(vocals, frame)


def pause_near(vocals: AudioSource, frame: int) -> int:
    """The moment within `SNAP` seconds of `frame` in which least is sung; of equals, the nearest."""
    rate = vocals.rate
    hop, reach = max(1, rate // 100), round(SNAP * rate)
    width = 3 * hop
    steps = np.arange(-(reach // hop), reach // hop + 1)
    sound = vocals.read(frame - reach - width, frame + reach + width).samples.astype(np.float64)
    power = np.concatenate([[0.0], np.cumsum((sound**2).sum(axis=0))])
    centre = reach + width + steps * hop
    level = 10 * np.log10((power[centre + width] - power[centre - width]) / (2 * width) + 1e-12)
    level = np.maximum(level, max(level.max() - _DEEP, -90.0))
    # distance costs dB, so that a slightly softer moment far away doesn't win over a pause nearby
    best = int(np.argmin(level + _DISTANCE * np.abs(steps * hop) / reach))
    return int(np.clip(frame + steps[best] * hop, 1, vocals.frames - 1))


def _grid(rate: int) -> int:
    """The fewest frames that are a whole number of 5 ms."""
    return rate // gcd(rate, 200)


def _apart(rate: int) -> int:
    """Frames of silence after a piece: a whole number of 5 ms."""
    grid = _grid(rate)
    return -(-round(_APART * rate) // grid) * grid


def _pieces(turns: Sequence[tuple[int, int]], rate: int, length: int) -> list[tuple[int, int, int]]:
    """The turns with their context, on the grid of the pitch; those that touch are one. A piece may reach past the end
    of the vocals by less than a step of the grid."""
    grid, around = _grid(rate), round(CONTEXT * rate)
    reaches: list[list[int]] = []
    for start, stop in sorted(turns):
        first = max(0, start - around) // grid * grid
        last = -(-min(length, stop + around) // grid) * grid
        if reaches and first <= reaches[-1][1]:
            reaches[-1][1] = max(last, reaches[-1][1])
        else:
            reaches.append([first, last])
    pieces, position = [], 0
    for first, last in reaches:
        pieces.append((first, last - first, position))
        position += last - first + _apart(rate)
    return pieces


def _cut_out(vocals: AudioFile, pieces: Sequence[tuple[int, int, int]], context: Context) -> Iterator[Audio]:
    edge = max(1, round(_EDGE * vocals.rate))
    fade = raised_cosine(edge).astype(np.float32)
    size = round(20.0 * vocals.rate)
    total = sum(frames for _, frames, _ in pieces)
    done = 0
    for place, frames, _ in pieces:
        for start in range(place, place + frames, size):
            stop = min(start + size, place + frames)
            samples = vocals.read(start, stop).samples.copy()
            if place > 0 and start == place:
                samples[:, :edge] *= fade[: samples.shape[1]]
            if stop == place + frames < vocals.frames:
                tail = min(edge, samples.shape[1])
                samples[:, -tail:] *= fade[:tail][::-1]
            done += stop - start
            context.progress(done / total)
            yield Audio(samples, vocals.rate)
        yield Audio.silence(vocals.channels, _apart(vocals.rate), vocals.rate)


def _order(turns: Sequence[Sequence[tuple[int, int]]], length: int, shortest: int) -> list[tuple[int, int, int]]:
    """(voice, first frame, end) from 0 to `length`, -1 where no voice has a turn; gaps below `shortest` are closed."""
    taken = sorted((start, stop, number) for number, one in enumerate(turns) for start, stop in one)
    found: list[tuple[int, int, int]] = []
    position = 0
    for start, stop, number in taken:
        if start - position >= shortest:
            found.append((-1, position, start))
            position = start
        found.append((number, position, stop))
        position = stop
    if length - position >= shortest:
        found.append((-1, position, length))
    elif found:
        number, start, _ = found[-1]
        found[-1] = (number, start, length)
    return found


def _runs(turns: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """`turns` with neighbours of the same kind (any voice, or the original) made one."""
    runs: list[tuple[int, int, int]] = []
    for number, start, stop in turns:
        kind = min(number, 0)
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1], stop)
        else:
            runs.append((kind, start, stop))
    return runs


def _inside(frames: np.ndarray, turns: Sequence[tuple[int, int]]) -> np.ndarray:
    inside = np.zeros(len(frames), bool)
    for start, stop in turns:
        inside |= (frames >= start) & (frames < stop)
    return inside
