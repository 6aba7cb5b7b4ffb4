"""Functions over several sounds of one length, block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, AudioWriter
from understudy.context import Context

BLOCK = 1 << 20
"""Frames per block; a multiple of every hop in use, so that the frames of spectra lie on one grid in all blocks."""


def map_blocks(
    context: Context,
    sources: Mapping[str, AudioSource],
    names: tuple[str, ...],
    function: Callable[[Mapping[str, Samples]], Mapping[str, Samples]],
    margin: int = 0,
) -> Mapping[str, AudioFile]:
    """Apply `function` to the sources, which share rate, channels and length; its results as files `names` in
    `context.folder`.

    `function` gets ``[channels, n]`` of each source by name and returns ``[channels, n]`` of each of `names`. `margin`:
    frames on both sides (silence past the ends) that it gets beside those that are used; at least as many as a sample
    of its result depends on.
    """
    shape = {(source.rate, source.channels, source.frames) for source in sources.values()}
    if len(shape) != 1:
        raise ValueError(f"sounds of different rates, channels or lengths: {sorted(shape)}")
    rate, channels, frames = shape.pop()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(AudioWriter(context.folder / f"{name}.npy", rate, channels)) for name in names
        }
        for start in range(0, frames, BLOCK):
            stop = min(start + BLOCK, frames)
            read = {name: source.read(start - margin, stop + margin).samples for name, source in sources.items()}
            made = function(read)
            for name, writer in writers.items():
                writer.write(Audio(made[name][:, margin : margin + stop - start], rate))
            context.progress(stop / frames)
    return {name: writer.file for name, writer in writers.items()}


def summed(context: Context, stems: Sequence[AudioSource]) -> AudioFile:
    """Several stems of one shape as one."""
    named = {str(number): stem for number, stem in enumerate(stems)}
    return map_blocks(context, named, ("sum",), lambda parts: {"sum": np.sum(list(parts.values()), axis=0)})["sum"]
