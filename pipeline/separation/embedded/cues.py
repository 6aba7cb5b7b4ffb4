"""The cues: which bins of a spectrogram are likely sung.

- repetition: accompaniment repeats, the voice over it varies. REPET-SIM (Rafii and Pardo, "Music/voice separation using
  the similarity matrix", ISMIR 2012): for every frame find the frames most like it; their median is what repeats. What
  exceeds it is foreground.
- harmonic/percussive: singing is tonal over short times and unsteady over long ones. In short windows a sung note is a
  horizontal line and a drum a vertical one; in long windows the glides and syllables of a voice smear it into vertical
  shapes, while a held chord stays horizontal. They are separated by median filtering along time and along frequency
  (FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010; two resolutions as in Tachibana, Ono
  and Sagayama, "Singing voice enhancement in monaural music signals based on two-stage harmonic/percussive sound
  separation on multiple resolution spectrograms", IEEE/ACM TASLP 2014).
- predominant pitch: the harmonics of the strongest melody in the singing range. Salience by harmonic summation over a
  whitened spectrum (Klapuri, "Multiple fundamental frequency estimation by summing harmonic amplitudes", ISMIR 2006)
  and the smoothest strong path through it (Viterbi).
- panning: voices are mixed to both sides alike, many instruments to one side.

A mask made of these gives two more (`second_look`), which are of the song itself:
- position: where in the stereo image its voice and its band are. Each has a spatial covariance matrix per frequency
  band; how well both explain the direction of a bin follows from the complex angular central Gaussian distribution
  (Ito, Araki and Nakatani, "Complex angular central Gaussian mixture model for directional statistics in mask-based
  microphone array signal processing", EUSIPCO 2016).
- harmonic: the harmonics of the melody in what the mask lets through, the more so the more of it they hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter, uniform_filter1d

from understudy.audio.samples import Samples
from understudy.audio.spectrogram import Grid, Map, Spectrum, analyse, level, resynthesize
from understudy.pipeline.separation.embedded.fusion import activity, log_odds

LOWEST, HIGHEST, STEPS = 90.0, 1000.0, 60
"""Range of the predominant pitch in Hz, and steps per octave."""
_BLOCK = 64


def cues_of(samples: Samples, spectrum: Spectrum, grid: Grid) -> dict[str, Map]:
    """The cues for `sung_share`, by name, ``[frames, bins]`` or ``[frames, 1]``: of `samples`, whose short-time
    spectrum on `grid` is `spectrum`."""
    magnitude = level(spectrum)
    tonal = tonal_share(samples, spectrum, grid)
    restless = restless_share(samples, spectrum, grid)
    varying = varying_share(magnitude, grid)
    foreground = magnitude * varying * tonal * restless
    return {
        "varying": log_odds(varying),
        "tonal": log_odds(tonal),
        "restless": log_odds(restless),
        "melody": comb(predominant_pitch(foreground, grid), grid),
        "activity": activity(foreground, magnitude, grid),
        "imbalance": imbalance(spectrum),
    }


def second_look(share: Map, spectrum: Spectrum, grid: Grid) -> dict[str, Map]:
    """The cues that follow from a mask `share` of `spectrum`, by name, ``[frames, bins]``."""
    return {
        "share": log_odds(share),
        "position": position(spectrum, share),
        "harmonic": harmonic(level(spectrum) * share, grid),
    }


def varying_share(magnitude: Map, grid: Grid, *, neighbours: int = 24, apart: float = 0.7) -> Map:
    """Share 0..1 of each bin of `magnitude` that does not repeat.

    `neighbours` similar frames, at least `apart` seconds from each other, vote on what repeats.
    """
    similar = _similar_frames(_reduced(magnitude), neighbours, grid.frames(apart))
    share = np.empty_like(magnitude)
    for first in range(0, len(magnitude), _BLOCK):
        own = magnitude[first : first + _BLOCK]
        repeating = np.minimum(np.median(magnitude[similar[first : first + _BLOCK]], axis=1), own)
        share[first : first + _BLOCK] = (own - repeating) / (own + 1e-9)
    return share


def _reduced(magnitude: Map, bands: int = 96) -> NDArray[np.float32]:
    """Unit-length features ``[frames, bands]`` of log-spaced bands, compressed so that weak bands count too."""
    edges = np.unique(np.geomspace(2, magnitude.shape[1], bands + 1).astype(int))
    feature = np.sqrt(np.add.reduceat(magnitude, edges[:-1], axis=1))
    return np.asarray(feature / (np.linalg.norm(feature, axis=1, keepdims=True) + 1e-9), np.float32)


def _similar_frames(feature: NDArray[np.float32], count: int, apart: int) -> NDArray[np.intp]:
    """For every frame the `count` most similar ones (itself among them): the best of each stretch of `apart` frames,
    so that they do not all come from the same note."""
    frames = len(feature)
    stretches = -(-frames // apart)
    count = min(count, stretches)
    result = np.empty((frames, count), np.intp)
    for first in range(0, frames, 512):
        similarity = np.full((min(512, frames - first), stretches * apart), -1, np.float32)
        similarity[:, :frames] = feature[first : first + 512] @ feature.T
        stretched = similarity.reshape(-1, stretches, apart)
        best = stretched.argmax(axis=2)
        peak = np.take_along_axis(stretched, best[..., None], axis=2)[..., 0]
        chosen = np.argpartition(-peak, count - 1, axis=1)[:, :count]
        result[first : first + 512] = chosen * apart + np.take_along_axis(best, chosen, axis=1)
    return result


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
    along_time = _median(magnitude.T, grid.frames(seconds) | 1).T ** 2
    along_frequency = _median(magnitude, grid.width(hertz) | 1) ** 2
    spectrum *= along_time / (along_time + along_frequency + 1e-12)
    return resynthesize(spectrum, grid, samples.shape[1])


def _median(rows: Map, size: int) -> Map:
    """The median of the `size` (odd) values around each value of a row, mirrored at its ends. All rows go through the
    filter as one: in one dimension it is several times as fast as in two."""
    side = size // 2
    padded = np.pad(rows, ((0, 0), (side, side)), mode="symmetric")
    found: Map = median_filter(padded.ravel(), size).reshape(padded.shape)
    return found[:, side : side + rows.shape[1]]


def _share(part: Samples, spectrum: Spectrum, grid: Grid) -> Map:
    """How much of `spectrum` is `part`: the size of their correlation over the channels, relative to its power."""
    common = np.abs(np.sum(analyse(part, grid) * np.conj(spectrum), axis=0))
    return np.asarray(common / (np.sum(np.abs(spectrum) ** 2, axis=0) + 1e-9), np.float32)


def candidates() -> NDArray[np.float64]:
    """The fundamental frequencies in Hz that are looked at."""
    count = int(np.log2(HIGHEST / LOWEST) * STEPS) + 1
    return LOWEST * 2 ** (np.arange(count) / STEPS)


def predominant_pitch(magnitude: Map, grid: Grid, *, harmonics: int = 16, jump: float = 0.02) -> NDArray[np.float32]:
    """The fundamental in Hz of the predominant melody in every frame of `magnitude`."""
    score = _salience(magnitude, grid, harmonics)
    score /= score.max(axis=1, keepdims=True) + 1e-9
    return candidates()[_best_path(score, jump)].astype(np.float32)


def comb(pitch: NDArray[np.float32], grid: Grid, *, top: float = 6000.0) -> Map:
    """Mask ``[frames, bins]``: 1 on the harmonics of `pitch`, falling to 0 between them and above `top` Hz; each tooth
    is a Gaussian with a standard deviation of 15 Hz and a hundredth of the pitch, which may be off by that much."""
    frequency = grid.frequencies[None]
    fundamental = np.maximum(pitch, 1)[:, None]
    number = np.maximum(1, np.round(frequency / fundamental))
    distance = np.abs(frequency - number * fundamental) / (15 + 0.01 * fundamental)
    return np.asarray(np.exp(-0.5 * distance**2) * (frequency < top), np.float32)


def _salience(magnitude: Map, grid: Grid, harmonics: int) -> NDArray[np.float32]:
    spectrum = np.sqrt(magnitude)
    spectrum = np.maximum(spectrum - uniform_filter1d(spectrum, grid.width(300.0) | 1, axis=1), 0)
    total = np.zeros((len(spectrum), len(candidates())), np.float32)
    for number in range(1, harmonics + 1):
        position = candidates() * number * grid.size / grid.rate
        low = np.minimum(position.astype(int), grid.bins - 2)
        share = (position - low).astype(np.float32)
        value = (1 - share) * spectrum[:, low] + share * spectrum[:, low + 1]
        total += np.where(position < grid.bins - 1, 0.84 ** (number - 1) * value, 0)
    return total


def _best_path(score: NDArray[np.float32], jump: float, reach: int = 24) -> NDArray[np.intp]:
    """Index of the best state per frame: the sum of `score` less `jump` per state moved, at most `reach` at once."""
    frames, states = score.shape
    cost = (jump * np.abs(np.arange(-reach, reach + 1))).astype(np.float32)
    came_from = np.empty((frames, states), np.int16)
    total = score[0]
    for frame in range(1, frames):
        padded = np.pad(total, reach, constant_values=-np.inf)
        options = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1) - cost
        best = options.argmax(axis=1)
        came_from[frame] = best - reach
        total = options[np.arange(states), best] + score[frame]
    path = np.empty(frames, np.intp)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] + came_from[frame, path[frame]]
    return path


def imbalance(spectrum: Spectrum) -> Map:
    """By how much one side of a stereo `spectrum` is stronger around each bin: the absolute logarithm of the ratio of
    the sides' powers, averaged over 5 frames by 5 bins, at most 4. All 0 for any other channel count.

    Only levels are compared: a voice widened by reverb or doubling still counts as balanced.
    """
    if len(spectrum) != 2:
        return np.zeros(spectrum.shape[1:], np.float32)
    left, right = (uniform_filter(np.abs(side) ** 2, 5) + 1e-9 for side in spectrum)
    return np.asarray(np.minimum(np.abs(np.log(left / right)), 4), np.float32)


def position(spectrum: Spectrum, share: Map, *, bands: int = 24) -> Map:
    """How much likelier the direction of each bin is for the voice than for the band: the logarithm of the ratio,
    within -4..4. All 0 for any other channel count than two.

    The directions of both are learned from all bins of `spectrum` in each of `bands` log-spaced frequency bands, by
    how far each bin is sung (`share`). Those of 3 frames by 3 bins are looked at together.
    """
    if len(spectrum) != 2:
        return np.zeros(spectrum.shape[1:], np.float32)
    left, right = spectrum
    across = left * np.conj(right)
    # the covariance matrix of each bin, as its four real parts, ``[4, frames, bins]``
    parts = np.stack([np.abs(left) ** 2, np.abs(right) ** 2, across.real, across.imag])
    power = parts[0] + parts[1] + np.float32(1e-9)
    edges = np.unique(np.geomspace(4, spectrum.shape[2], bands + 1).astype(int))
    edges[0] = 0
    around = np.stack([uniform_filter(part, 3, mode="nearest") for part in parts])
    whole = np.maximum(around[0] + around[1], 0) + np.float32(1e-9)

    def unlikely(weight: Map) -> Map:
        """The negative log-likelihood of the directions, up to a constant, if their source has this `weight`."""
        weight = weight / np.sqrt(power)  # so that loud bins don't decide alone
        sums = np.add.reduceat((weight * parts).sum(axis=1, dtype=np.float64), edges[:-1], axis=1)
        sums = sums / (sums[0] + sums[1] + 1e-9)
        mixed = 0.98 * sums + 0.01 * np.array([[1.0], [1.0], [0.0], [0.0]])  # never singular
        a, d, real, imaginary = np.repeat(mixed, np.diff(edges), axis=1).astype(np.float32)
        determinant = a * d - real**2 - imaginary**2
        form = d * around[0] + a * around[1] - 2 * (real * around[2] + imaginary * around[3])
        # no eigenvalue of the matrix is above 1, so that less than 1 is rounding
        return np.asarray(2 * np.log(np.maximum(form / determinant / whole, 1)) + np.log(determinant), np.float32)

    return np.asarray(np.clip(unlikely((1 - share) ** 2) - unlikely(share**2), -4, 4), np.float32)


def harmonic(sung: Map, grid: Grid) -> Map:
    """`comb` of the predominant pitch in the magnitude `sung`, weighted in each frame by the share of it that is on
    its harmonics."""
    teeth = comb(predominant_pitch(sung, grid), grid)
    inside = (sung * teeth).sum(axis=1) / (sung.sum(axis=1) + 1e-9)
    return np.asarray(teeth * inside[:, None], np.float32)
