"""A recording cut into the pieces that a network trains on, as RVC's preprocessing does it.

The recording is brought to the model's rate and high-passed, cut where it is silent, and the slices are cut into pieces
of 3.7 s that overlap by 0.3 s. Each piece gets a gain of its own, which brings its peak near 0.675 and leaves a quarter
of the differences in level. The recording stays whole on disk; a piece is a place in it.

Slicing follows openvpi's audio-slicer with RVC's parameters, the pieces Applio: RVC WebUI loses some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.downmix import fold
from understudy.audio.pitch.track import stretches
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, read_blocks
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.voices.recordings import Finding

TICKS = 200  # a second: pieces begin and end at multiples of 5 ms, which are whole samples at every rate
CONTENT_RATE = 16000  # Hz of the sound that embedders and pitch trackers get
PIECE, STEP, LAST = 740, 680, 800  # ticks of a piece, from one to the next, and of the last one of a slice at most
SHORTEST = 100  # ticks; a shorter piece has no room for a training segment
LOUDEST_PEAK = 2.5  # a piece with a higher one is broken

_HOP = 3  # ticks from one level to the next, 15 ms
_WINDOW = 4 * _HOP  # ticks that a level is measured over
_LEAST_SLICE, _LEAST_GAP, _KEPT = 100, 27, 33  # levels: 1.5 s, 0.4 s, 0.5 s of silence kept
_SILENCE = -42.0  # dB
_BELOW_LOUD = 20.0  # dB below the loud parts; decides in recordings so quiet that all of them would count as silence
_RUMBLE = 48.0  # Hz of the high-pass


@dataclass(frozen=True)
class Piece:
    """From `start` to `stop` in ticks of 5 ms of the recording; `gain`: what its samples are multiplied by."""

    start: int
    stop: int
    gain: float

    @property
    def frames(self) -> int:
        """Whole frames of 10 ms."""
        return (self.stop - self.start) // 2

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / TICKS


@dataclass(frozen=True)
class Clips:
    """A recording ready for training. `sound`: mono and high-passed at the model's rate; `content_sound`: the same at
    16 kHz. `pieces`: in their order. `findings`: what was left out, and why."""

    sound: AudioFile
    content_sound: AudioFile
    pieces: tuple[Piece, ...]
    findings: tuple[Finding, ...] = ()


def slice_recording(context: Context, source: AudioSource, rate: int) -> Clips:
    """`source` (any channels and rate) cut into pieces for a model of `rate` Hz; writes ``sound.npy`` and
    ``content_sound.npy`` into `context.folder`. The findings name no
    recording."""
    mono = fold(context.part(0, 0.1), source)
    resampled = resample_blocks(mono, rate, context.part(0.1, 0.5))
    sound = write_blocks(context.folder / "sound.npy", rate, 1, _high_passed(resampled, rate))
    again = resample_blocks(sound, CONTENT_RATE, context.part(0.5, 0.9))
    content_sound = write_blocks(context.folder / "content_sound.npy", CONTENT_RATE, 1, again)
    ticks = sound.frames * TICKS // rate
    measured = levels(sound)
    context.progress(0.95)
    spans = [span for part in slices(measured) for span in pieces(part[0] * _HOP, min(part[1] * _HOP, ticks))]
    kept, findings = _with_gains(sound, spans)
    context.progress(1)
    return Clips(sound, content_sound, tuple(kept), tuple(findings))


def levels(source: AudioSource) -> NDArray[np.float64]:
    """RMS of 60 ms around every multiple of 15 ms, 0 beyond the ends: ``[floor(duration / 15 ms) + 1]``."""
    tick = source.rate // TICKS
    hop, window = _HOP * tick, _WINDOW * tick
    powers = []  # mean square of each hop
    for block in read_blocks(source, 1000 * hop):
        samples = np.pad(block.samples[0].astype(np.float64), (0, -block.frames % hop))
        powers.append(np.square(samples).reshape(-1, hop).sum(1))
    power = np.concatenate([np.zeros(2), *powers, np.zeros(2)])  # the window is four hops, two on either side
    count = source.frames // hop + 1
    mean = (power[:count] + power[1 : count + 1] + power[2 : count + 2] + power[3 : count + 3]) / window
    return np.asarray(np.sqrt(mean))


def slices(measured: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Where the sound is, by its `levels`: (start, stop) in levels. Between slices lie cuts, or silence that is left
    out; as much of the silence as half a second stays on either side."""
    count = len(measured)
    threshold = 10 ** (_SILENCE / 20)
    loud = float(np.percentile(measured, 95))
    removed = _removed(measured, min(threshold, loud * 10 ** (-_BELOW_LOUD / 20)))
    edges = [0, *(edge for span in removed for edge in span), count]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop > start]


def _removed(measured: NDArray[np.float64], threshold: float) -> Iterator[tuple[int, int]]:
    """What is left out: (start, stop) in levels, the same twice for a mere cut."""
    count, begun = len(measured), 0

    def quietest(start: int, stop: int) -> int:
        """The first of the lowest levels from `start` to `stop`, both included."""
        return start + int(np.argmin(measured[start : stop + 1]))

    for start, stop in stretches(measured < threshold):
        length = stop - start
        if stop == count:  # the silence after the last sound
            if length >= _LEAST_GAP:
                yield quietest(start, min(count, start + _KEPT)), count
            return
        leading = start == 0 and stop > _KEPT
        if not leading and (length < _LEAST_GAP or stop - begun < _LEAST_SLICE):
            continue
        if length <= _KEPT:
            left = right = quietest(start, stop)
        else:
            left, right = quietest(start, start + _KEPT), quietest(stop - _KEPT, stop)
            if length <= 2 * _KEPT and start > 0:  # both reach into the middle
                middle = quietest(stop - _KEPT, start + _KEPT)
                left, right = min(left, middle), max(right, middle)
        begun = right
        yield (0 if start == 0 else left), right


def pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """The pieces of a slice, (start, stop) in ticks: of 3.7 s, each beginning 3.4 s after the one before; the last one
    has what is left, up to 4 s."""
    spans = []
    while stop - start > LAST:
        spans.append((start, start + PIECE))
        start += STEP
    return [*spans, (start, stop)]


def gain(peak: float) -> float:
    """The factor for a piece with that peak: 0.75 · 0.9 / peak + 0.25, as RVC levels its pieces."""
    return 0.75 * 0.9 / peak + 0.25


def _with_gains(sound: AudioFile, spans: list[tuple[int, int]]) -> tuple[list[Piece], list[Finding]]:
    tick = sound.rate // TICKS
    kept: list[Piece] = []
    broken: list[float] = []
    short = 0.0
    for start, stop in spans:
        seconds = (stop - start) / TICKS
        if stop - start < SHORTEST:
            short += seconds
            continue
        peak = float(np.abs(sound.read(start * tick, stop * tick).samples).max())
        if peak == 0:
            continue
        if not np.isfinite(peak) or peak > LOUDEST_PEAK:
            broken.append(start / TICKS)
        else:
            kept.append(Piece(start, stop, gain(peak)))
    findings = []
    if broken:
        places = ", ".join(f"{moment:.1f} s" for moment in broken[:5]) + (" and more" if len(broken) > 5 else "")
        sentence = f"left out of training where it is broken or far too loud (at {places})."
        findings.append(Finding("broken", "problem", "", sentence))
    if kept and short >= 0.5:
        sentence = f"{short:.1f} s in snatches shorter than half a second are left out of training."
        findings.append(Finding("snatches", "advice", "", sentence))
    if not kept and not broken:
        sentence = "left out of training, it holds no half second of sound."
        findings.append(Finding("silent", "problem", "", sentence))
    return kept, findings


def _high_passed(blocks: Iterator[Audio], rate: int) -> Iterator[Audio]:
    """A Butterworth high-pass of order 5, forward only."""
    from scipy.signal import butter, sosfilt

    sections = butter(5, _RUMBLE, "highpass", fs=rate, output="sos")
    state = np.zeros((len(sections), 2))
    for block in blocks:
        filtered, state = sosfilt(sections, block.samples[0].astype(np.float64), zi=state)
        yield Audio(filtered[None].astype(np.float32), rate)
