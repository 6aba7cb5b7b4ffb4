"""Loudness and true peak of sound of any length, after ITU-R BS.1770-4, EBU Tech 3341 (momentary, short-term) and
Tech 3342 (loudness range).

The measuring is done by FFmpeg's `ebur128` filter, which comes inside PyAV and is fed block by block; its true peak
is that of the signal resampled to 192 kHz. Channels are weighted as the standard defines: a mono file reads 3 LU lower
than the same sound on both channels of a stereo file. That is harmless here, because a song and its cover have the same
number of channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.encode import sound_frame
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource
from understudy.context import Context
from understudy.errors import UnderstudyError

SILENT = -120.0  # stands for minus infinity, in LUFS and in dBTP, so that every figure is a number that JSON can hold
CURVE_RATE = 10  # values per second of the two curves
_PRINTED = 0.0005  # half of the last decimal that FFmpeg prints of a linear peak


@dataclass(frozen=True)
class LoudnessSummary:
    """`integrated` in LUFS, `range` in LU, `true_peak` in dBTP, each with two decimals."""

    integrated: float
    range: float
    true_peak: float


@dataclass(frozen=True, eq=False)
class Loudness:
    """`integrated` in LUFS (`SILENT` where nothing passes the gate of -70 LUFS or the sound is shorter than 400 ms),
    `range` in LU, `true_peak` in dBTP (`SILENT` for digital silence).
    `momentary` and `short_term`: float32 ``[values]`` in LUFS, `CURVE_RATE` per second; value i is that of the 400 ms
    and the 3 s window that end (i + 1) / `CURVE_RATE` seconds from the beginning, `SILENT` until one is full."""

    integrated: float
    range: float
    true_peak: float
    momentary: NDArray[np.float32]
    short_term: NDArray[np.float32]

    @property
    def silent(self) -> bool:
        """Whether there was nothing to measure the loudness of."""
        return self.integrated <= SILENT

    def summary(self) -> LoudnessSummary:
        """The three figures, rounded."""
        return LoudnessSummary(round(self.integrated, 2), round(self.range, 2), round(self.true_peak, 2))


def measure(source: AudioSource, context: Context) -> Loudness:
    """The loudness of all of `source`, at its own rate, with 1 to 8 channels."""
    return measure_blocks(resample_blocks(source, source.rate, context), source.rate, source.channels)


def measure_blocks(blocks: Iterable[Audio], rate: int, channels: int, true_peak: bool = True) -> Loudness:
    """As `measure`, of `blocks` of sound that follow one another. `true_peak`: False leaves it `SILENT`, in a
    third of the time."""
    # the package before its submodules: two threads that import different parts of it first deadlock or crash
    import av  # noqa: F401
    from av.error import BlockingIOError as NothingYet
    from av.error import EOFError as AllDone
    from av.filter import Graph

    if not 1 <= channels <= 8:
        raise UnderstudyError(
            "loudness-channels",
            f"Loudness is defined for 1 to 8 channels, this has {channels}.",
            "Fold the file to stereo first.",
        )
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    graph = Graph()
    entry = graph.add_abuffer(sample_rate=rate, format="flt", layout=layout)
    meter = graph.add("ebur128", f"metadata=1:peak={'true' if true_peak else 'none'}")
    leave = graph.add("abuffersink")
    entry.link_to(meter)
    meter.link_to(leave)
    graph.configure()

    momentary: list[float] = []
    short_term: list[float] = []
    last: dict[str, str] = {}

    def drain() -> None:
        nonlocal last
        while True:
            try:
                frame = graph.pull()
            except (NothingYet, AllDone):
                return
            metadata = dict(frame.metadata)
            if "lavfi.r128.M" not in metadata:  # the rest of less than 100 ms at the end
                continue
            last = metadata
            momentary.append(float(last["lavfi.r128.M"]))
            short_term.append(float(last["lavfi.r128.S"]))

    position, sample_peak = 0, 0.0
    for block in blocks:
        if block.frames:
            sample_peak = max(sample_peak, float(np.abs(block.samples).max()))
            interleaved = np.ascontiguousarray(block.samples.T).reshape(1, -1)
            graph.push(sound_frame(interleaved, "flt", layout, rate, position))
            position += block.frames
            drain()
    if position:
        graph.push(None)
        drain()
    if not last:
        return Loudness(SILENT, 0.0, SILENT, np.zeros(0, np.float32), np.zeros(0, np.float32))
    peak = float(last["lavfi.r128.true_peak"]) if true_peak else 0.0
    if true_peak and peak < 0.1 and sample_peak > peak - _PRINTED:  # three decimals are too few for quiet sounds
        peak = sample_peak
    integrated = float(last["lavfi.r128.I"])
    return Loudness(
        integrated if integrated > -70.0 else SILENT,
        float(last["lavfi.r128.LRA"]),
        max(SILENT, 20 * float(np.log10(peak))) if peak > 0 else SILENT,
        np.maximum(np.array(momentary, np.float32), SILENT),
        np.maximum(np.array(short_term, np.float32), SILENT),
    )
