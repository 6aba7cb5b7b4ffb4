"""Sample rate conversion with soxr at its very high quality: pass band to 0.91 of the lower Nyquist frequency,
aliases below -150 dB, linear phase with the delay removed, so that sound at time t stays at time t.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from understudy.audio.samples import Audio, AudioSource, read_blocks
from understudy.context import Context

_BLOCK = 1 << 16  # frames


def resampled_frames(frames: int, from_rate: int, to_rate: int) -> int:
    """How long `frames` at `from_rate` become at `to_rate`: ``round(frames * to_rate / from_rate)``, half up."""
    return (2 * frames * to_rate + from_rate) // (2 * from_rate)


def resample(audio: Audio, rate: int) -> Audio:
    """`audio` at `rate` Hz, ``[channels, round(frames * rate / audio.rate)]``; the same audio where rates agree."""
    if audio.rate == rate:
        return audio
    blocks = [block.samples for block in resampled(read_blocks(audio, _BLOCK), audio.rate, rate)]
    samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((audio.channels, 0), np.float32)
    return Audio(samples, rate)


def resample_blocks(source: AudioSource, rate: int, context: Context, frames: int | None = None) -> Iterator[Audio]:
    """What `resample` gives, block by block, for sources of any length; blocks of at least one frame.

    `frames`: exactly so many, the last ones cut off or silence: what went to another rate and back may differ by one.
    """
    if frames is not None:
        yield from _exactly(frames, resample_blocks(source, rate, context), rate, source.channels)
        return
    if source.rate == rate:
        for start in range(0, source.frames, _BLOCK):
            stop = min(start + _BLOCK, source.frames)
            yield source.read(start, stop)
            context.progress(stop / source.frames)
        return
    total = max(1, resampled_frames(source.frames, source.rate, rate))
    done = 0
    for block in resampled(read_blocks(source, _BLOCK), source.rate, rate):
        yield block
        done += block.frames
        context.progress(done / total)


def _exactly(frames: int, blocks: Iterator[Audio], rate: int, channels: int) -> Iterator[Audio]:
    missing = frames
    for block in blocks:
        if missing > 0:
            yield block.read(0, min(block.frames, missing))
        missing -= block.frames
    if missing > 0:
        yield Audio.silence(channels, missing, rate)


def resampled(blocks: Iterable[Audio], from_rate: int, rate: int) -> Iterator[Audio]:
    """A sound that comes in `blocks` at `from_rate` Hz, at `rate`: what `resample` gives of all of it."""
    import soxr

    blocks = iter(blocks)
    block = next(blocks, None)
    if block is None:
        return
    stream = soxr.ResampleStream(from_rate, rate, block.channels, dtype="float32", quality="VHQ")
    given = made = 0
    while block is not None:
        following = next(blocks, None)
        given += block.frames
        samples = stream.resample_chunk(np.ascontiguousarray(block.samples.T), last=following is None).T
        if following is None:  # soxr may round the other way by a frame
            missing = resampled_frames(given, from_rate, rate) - made
            samples = np.pad(samples[:, :missing], ((0, 0), (0, max(0, missing - samples.shape[1]))))
        made += samples.shape[1]
        if samples.shape[1]:
            yield Audio(np.ascontiguousarray(samples), rate)
        block = following
