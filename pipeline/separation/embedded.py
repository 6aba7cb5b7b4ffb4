"""`separate_embedded`: vocals and instrumental by classical means, without any weights.

Four cues, each in its own module, say how likely each bin of the spectrogram is sung: panning, repetition,
steadiness and the predominant pitch. Their product is a mask; a multichannel Wiener filter turns it into the vocals. The instrumental is
what is left of the song, so that the two always sum to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from audio.context import Context
from audio.samples import Audio, AudioSource
from audio.stored import AudioFile, AudioWriter
from audio.windows import crossfade_windows
from pipeline.separation.harmonic import harmonic_share
from pipeline.separation.panning import centre
from pipeline.separation.predominant_pitch import comb, predominant_pitch
from pipeline.separation.repetition import foreground
from pipeline.separation.separator import SeparationSettings
from pipeline.separation.spectrogram import Grid, Map, Spectrum, analyse, resynthesize
from pipeline.separation.wiener import stereo_wiener

WINDOW, OVERLAP = 45.0, 3.0
"""Seconds looked at together, and of them shared with the next window."""
LOWEST, HIGHEST = 90.0, 13000.0
"""The band in Hz outside of which nothing is sung."""


def separate_embedded(context: Context, song: AudioSource, settings: SeparationSettings) -> Mapping[str, AudioFile]:
    """``vocals`` and ``instrumental`` of `song` (any rate and channel count) as files in `context.folder`, exactly
    as long as the song and summing to it in float32."""
    windows = max(1, ceil((song.frames / song.rate - OVERLAP) / (WINDOW - OVERLAP)))
    seconds = (song.frames / song.rate - OVERLAP) / windows + OVERLAP if windows > 1 else WINDOW
    stems = {name: context.folder / f"{name}.npy" for name in ("vocals", "instrumental")}
    with (
        AudioWriter(stems["vocals"], song.rate, song.channels) as vocals,
        AudioWriter(stems["instrumental"], song.rate, song.channels) as instrumental,
    ):
        for block in crossfade_windows(
            song, lambda window, _: vocals_of(window), context, seconds=seconds, overlap=OVERLAP
        ):
            mix = song.read(vocals.frames, vocals.frames + block.frames)
            vocals.write(block)
            instrumental.write(Audio(mix.samples - block.samples, song.rate))
    return {"vocals": vocals.file, "instrumental": instrumental.file}


def vocals_of(mix: Audio) -> Audio:
    """The vocals in up to a minute or so of sound."""
    grid = Grid.of(mix.rate, 0.093, HIGHEST)
    spectrum = analyse(mix.samples, grid)
    mask = vocal_mask(spectrum, grid)
    sung = stereo_wiener(spectrum, mask) if mix.channels == 2 else mask * spectrum
    return Audio(resynthesize(sung, grid, mix.frames), mix.rate)


def vocal_mask(spectrum: Spectrum, grid: Grid) -> Map:
    """Share 0..1 of each bin of the song's `spectrum` that is sung."""
    middle = spectrum.mean(axis=0)
    magnitude = np.abs(middle)
    place = centre(spectrum) if len(spectrum) == 2 else np.float32(1)
    varying = foreground(magnitude, grid)
    steady = harmonic_share(magnitude, grid)
    melody = comb(predominant_pitch(magnitude * place * varying, grid), grid)
    mask = place * (0.15 + 0.85 * np.sqrt(varying)) * (0.4 + 0.6 * steady) * (0.4 + 0.6 * melody)
    inside = (grid.frequencies >= LOWEST) & (grid.frequencies <= HIGHEST)
    return np.asarray(mask**0.8 * inside, np.float32)
