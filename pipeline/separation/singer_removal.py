"""`remove_singer`: what is left of the original singer in the instrumental, turned down further for a cover.

A separator's mask M leaves q = 1 - M of each bin in the instrumental, and that share of the singer with it. Beside a
new voice that is heard. The key idea is over-subtraction (Berouti, Schwartz and Makhoul, "Enhancement of speech
corrupted by acoustic noise", 1979), where the singer is known to be: on the harmonics of the vocal's pitch the
instrumental is multiplied by q^(`MOST` * strength) once more. There the band is softer, too: about 1.3 dB of its SDR
per dB of singer. All channels get one gain, so that nothing moves in the stereo image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Samples
from understudy.audio.spectrogram import Grid, Map, Spectrum, analyse, level, resynthesize
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.separation.blockwise import BLOCK, map_blocks
from understudy.pipeline.separation.vocal_level import VocalLevel

MOST = 3.0
"""The exponent of full strength."""

AUTOMATIC = 2.0 / MOST
"""The strength where much of the singer is left."""

_ENOUGH, _MUCH = -9.0, -6.0  # dB of the singer left: at the first nothing is done, from the second `AUTOMATIC`
_SIZE, _TOP = 0.093, 13000.0  # seconds, Hz
_HIGHEST = 8000.0  # Hz: above it no harmonics are told from the band
_WIDTH, _SPREAD = 12.0, 0.006  # of a harmonic: Hz, and share of its frequency by which the pitch may be off
_SILENT = np.float32(1e-6)  # magnitude in a bin
_FRAMES = 5  # that the gain is averaged over: single frames would warble


def removal_strength(requested: float | None, vocal: VocalLevel | None) -> float:
    """The requested strength, 0..1; where None is, by how much of the singer is left."""
    if requested is not None:
        return requested
    if vocal is None or vocal.leftover is None:
        return 0.0
    return AUTOMATIC * float(np.clip((vocal.leftover - _ENOUGH) / (_MUCH - _ENOUGH), 0.0, 1.0))


def expected_removal(strength: float) -> float:
    """dB by which the leftover falls at this strength: the mean of songs with known stems."""
    return 4.2 * strength - 1.5 * strength**2


def remove_singer(
    context: Context,
    song: AudioFile,
    instrumental: AudioFile,
    pitch: PitchTrack,
    requested: float | None,
    vocal: VocalLevel | None = None,
) -> AudioFile:
    """The `instrumental` of `song`, cleaned along the `pitch` of the vocal; the same samples where the strength is 0.
    `vocal`: what is known of the separated vocal."""
    strength = removal_strength(requested, vocal)
    if not strength or not pitch.voiced.any():
        return map_blocks(context, {"instrumental": instrumental}, ("instrumental",), lambda same: same)["instrumental"]
    grid = removal_grid(song.rate)
    margin = 2 * grid.size
    starts = iter(range(-margin, song.frames, BLOCK))

    def cleaned(parts: Mapping[str, Samples]) -> Mapping[str, Samples]:
        start = next(starts)
        if not parts["instrumental"].any():
            return {"instrumental": parts["instrumental"]}
        spectrum = analyse(parts["instrumental"], grid)
        gain = removal_gain(analyse(parts["song"], grid), spectrum, pitch, grid, start, strength)
        # what is taken off is resynthesized, so that all else keeps its bits
        taken = resynthesize(spectrum * (1 - gain), grid, parts["instrumental"].shape[1])
        return {"instrumental": parts["instrumental"] - taken}

    sources = {"song": song, "instrumental": instrumental}
    return map_blocks(context, sources, ("instrumental",), cleaned, margin)["instrumental"]


def removal_grid(rate: int) -> Grid:
    """The grid on which the singer is removed: the embedded separator's, which gives all above to the instrumental."""
    return Grid.of(rate, _SIZE, min(_TOP, rate / 2))


def removal_gain(
    song: Spectrum, instrumental: Spectrum, pitch: PitchTrack, grid: Grid, start: int, strength: float
) -> Map:
    """The gain ``[frames, bins]`` in 0..1 for `instrumental`, of sound that begins at frame `start` of the song."""
    from scipy.ndimage import uniform_filter1d

    # in silence nothing is taken off
    kept = np.minimum((level(instrumental) + _SILENT) / (level(song) + _SILENT), 1.0)
    gain = kept ** (MOST * strength * harmonics(pitch, grid, start, len(kept)))
    return np.asarray(uniform_filter1d(gain, _FRAMES, axis=0, mode="nearest"), np.float32)


def harmonics(pitch: PitchTrack, grid: Grid, start: int, count: int) -> Map:
    """How near each bin lies to a harmonic of `pitch`, 0..1, ``[count, bins]``, in the frames of `analyse` of sound
    that begins at frame `start` of the song."""
    middles = (start + np.arange(count) * grid.hop - grid.size // 2 + grid.hop) / grid.rate
    places = np.round(middles / pitch.hop).astype(int)
    inside = (places >= 0) & (places < pitch.frames)
    f0 = np.where(inside, pitch.f0[np.clip(places, 0, pitch.frames - 1)], 0.0)
    closeness = np.zeros((count, grid.bins), np.float32)
    low = grid.frequencies[grid.frequencies < _HIGHEST]
    sung = np.flatnonzero(f0 > 0)
    harmonic = np.maximum(1.0, np.round(low / f0[sung, None])) * f0[sung, None]
    distance = np.abs(low - harmonic) / (_WIDTH + _SPREAD * harmonic)
    closeness[sung, : len(low)] = np.exp(-(distance**2) / 2)
    return closeness
