"""`separate_embedded`: vocals and instrumental by classical means, without any weights of a network.

Five `cues` show which bins of the spectrogram are likely sung: those that do not repeat, that are tonal over short
times and unsteady over long ones, that lie on the harmonics of the predominant pitch, and that are equally loud on both
sides. `fusion` makes a mask of them. What it lets through shows where in the stereo image the voice is and what it
sings, of which the final mask is made. The instrumental is the song minus the masked song, so that the two sum to the
song.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.spectrogram import Grid, Map, Spectrum, analyse, level, resynthesize
from understudy.audio.stored import AudioFile, AudioWriter
from understudy.audio.windows import crossfade_windows
from understudy.context import Context
from understudy.pipeline.separation.embedded.cues import cues_of, second_look
from understudy.pipeline.separation.embedded.fusion import THIRD, fuse, sung_share

WINDOW, OVERLAP = 45.0, 3.0
"""Length of a window in seconds, and its overlap with the next one."""
HIGHEST = 13000.0
"""Hz above which everything goes to the instrumental."""


def separate_embedded(context: Context, song: AudioSource) -> Mapping[str, AudioFile]:
    """``vocals`` and ``instrumental`` of `song` (any rate and channel count) as files in `context.folder`, exactly
    as long as the song and summing to it in float32."""
    shared = round(OVERLAP * song.rate)
    windows = max(1, ceil((song.frames - shared) / ((WINDOW - OVERLAP) * song.rate)))
    size = ceil((song.frames - shared) / windows) + shared  # equal windows: none is too short to find repetitions in
    stems = {name: context.folder / f"{name}.npy" for name in ("vocals", "instrumental")}
    with (
        AudioWriter(stems["vocals"], song.rate, song.channels) as vocals,
        AudioWriter(stems["instrumental"], song.rate, song.channels) as instrumental,
    ):
        for block in crossfade_windows(
            song, lambda window, _: vocals_of(window), context, seconds=max(1, size) / song.rate, overlap=OVERLAP
        ):
            mix = song.read(vocals.frames, vocals.frames + block.frames)
            vocals.write(block)
            instrumental.write(Audio(mix.samples - block.samples, song.rate))
    return {"vocals": vocals.file, "instrumental": instrumental.file}


def vocals_of(mix: Audio) -> Audio:
    """The vocals in up to a minute or so of sound."""
    peak = np.abs(mix.samples).max(initial=0)
    if peak == 0:
        return mix
    samples = mix.samples / peak
    grid = Grid.of(mix.rate, 0.093, HIGHEST)
    spectrum = analyse(samples, grid)
    spectrum *= vocal_share(samples, spectrum, grid)
    return Audio(resynthesize(spectrum, grid, mix.frames) * peak, mix.rate)


def vocal_share(samples: Samples, spectrum: Spectrum, grid: Grid) -> Map:
    """The share 0..1 of each bin of `spectrum`, which is `samples` on `grid`, that is sung, ``[frames, bins]``; the
    samples peak at 1."""
    cues = cues_of(samples, spectrum, grid)
    share = sung_share(cues, level(spectrum), grid)
    return fuse({**cues, **second_look(share, spectrum, grid)}, grid, THIRD)
