"""The two harmonic/percussive cues: singing is tonal over short times and unsteady over long ones.

In short windows a sung note is a horizontal line and a drum a vertical one; in long windows the glides and syllables
of a voice smear it into vertical shapes, while a held chord stays horizontal. They are separated by median
filtering along time and along frequency (FitzGerald, "Harmonic/percussive separation using median filtering", DAFx
2010; two resolutions as in Tachibana, Ono and Sagayama, "Singing voice enhancement in monaural music signals based on
two-stage harmonic/percussive sound separation on multiple resolution spectrograms", IEEE/ACM TASLP 2014).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from understudy.audio.samples import Samples
from understudy.pipeline.separation.spectrogram import Grid, Map, Spectrum, analyse, level, resynthesize


def tonal_share(samples: Samples, spectrum: Spectrum, grid: Grid) -> Map:
    """Share 0..1 of each bin of `spectrum`, which is `samples` on `grid`, that draws lines in 23 ms windows."""
    steady = _steady_part(samples, Grid.of(grid.rate, 0.023, grid.top), seconds=0.12, hertz=1000.0)
    return _share(steady, spectrum, grid)


def restless_share(samples: Samples, spectrum: Spectrum, grid: Grid) -> Map:
    """Share 0..1 of each bin of `spectrum`, which is `samples` on `grid`, that draws no lines in 0.74 s windows."""
    steady = _steady_part(samples, Grid.of(grid.rate, 0.743, grid.top), seconds=2.0, hertz=15.0)
    return _share(samples - steady, spectrum, grid)


def _steady_part(samples: Samples, grid: Grid, *, seconds: float, hertz: float) -> Samples:
    """What of `samples` is smooth over `seconds` rather than over `hertz`, by a soft mask on `grid`."""
    spectrum = analyse(samples, grid)
    magnitude = level(spectrum)
    along_time = median_filter(magnitude, (grid.frames(seconds) | 1, 1)) ** 2
    along_frequency = median_filter(magnitude, (1, grid.width(hertz) | 1)) ** 2
    spectrum *= along_time / (along_time + along_frequency + 1e-12)
    return resynthesize(spectrum, grid, samples.shape[1])


def _share(part: Samples, spectrum: Spectrum, grid: Grid) -> Map:
    """How much of `spectrum` is `part`: the size of their correlation over the channels, relative to its power."""
    common = np.abs(np.sum(analyse(part, grid) * np.conj(spectrum), axis=0))
    return np.asarray(common / (np.sum(np.abs(spectrum) ** 2, axis=0) + 1e-9), np.float32)
