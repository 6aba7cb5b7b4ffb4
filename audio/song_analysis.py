"""Tempo, beats and musical key of a song.

Beats: the onset strength is the spectral flux of a compressed mel spectrogram (Mueller, "Fundamentals of Music
Processing", 2015, section 6.1). The tempo is the lag at which its autocorrelation is highest, weighted with a
preference for tempi around 120 BPM, and the beats are the path that best follows that tempo and the onsets (Ellis,
"Beat Tracking by Dynamic Programming", JNMR 36, 2007; librosa's `beat_track` is the same method).

Key: a chroma profile, i.e. how strong the sustained tones of each of the 12 pitch classes are, is correlated with the
profile of each major and minor key (Krumhansl, "Cognitive Foundations of Musical Pitch", 1990, chapter 4). The profiles
are the ratings of Krumhansl and Kessler (Psychological Review 89, 1982).

Mel bands and pitch scale are librosa's. Its modules `beat`, `onset`, `feature` and `util` are not loaded: with an empty
numba cache that compiles for 13 to 24 s of CPU time, `librosa.filters` alone takes about 1 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from understudy.audio.downmix import Mono, channel_covariance
from understudy.audio.samples import AudioSource, Samples, fold_weights
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.errors import UnderstudyError

Array = NDArray[np.float64]

RATE = 22050  # Hz at which the song is analysed
SHORTEST = 5.0  # seconds; shorter sounds have no tempo and no key
PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

_WINDOW = 20  # seconds of song analysed at once
_SIDE = 1  # second of sound read on both sides of a window
_SILENT = 1e-6  # RMS below which a song counts as silent

_ONSET_HOP = 245  # samples: 90 values of onset strength per second
_ONSET_FFT = 1024
_BANDS = 40
_COMPRESSION = 100.0  # of magnitudes relative to the song's RMS
_FASTEST, _SLOWEST = 240.0, 40.0  # BPM
_PREFERRED, _OCTAVES = 120.0, 0.9  # BPM, and the standard deviation of the preference in octaves (Ellis 2007)
_TIGHTNESS = 400.0  # weight of regular beats against onsets
_LEAST_PERIODIC = 0.25  # autocorrelation of the onset strength below which there is no tempo; speech reaches 0.17

_CHROMA_HOP = RATE // 10
CHROMA_FFT = 8192
_LOWEST, _HIGHEST = 65.0, 2000.0  # Hz of the tones that count for the key
_LEAST_CONTRAST = 0.3  # standard deviation of the pitch classes over their mean; noise has 0.17, speech up to 0.27
_LEAST_CORRELATION = 0.6  # with a key's profile; speech reaches 0.52, songs 0.75 to 0.9

_FREQUENCIES = np.arange(CHROMA_FFT // 2 + 1) * RATE / CHROMA_FFT
_TONES = ((_FREQUENCIES >= _LOWEST) & (_FREQUENCIES <= _HIGHEST)).astype(np.float64)

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True)
class SongAnalysis:
    """What was measured of a song; None and empty where it has no such thing.

    `bpm`: mean tempo in beats per minute. `bpm_confidence`: 0..1, the autocorrelation of the onsets at one beat.
    `beats`: times in seconds, ascending. `key`: tonic and mode, e.g. ``F# minor`` (a name of `PITCH_CLASSES` and
    ``major`` or ``minor``). `key_confidence`: 0..1, the correlation with that key's profile.
    """

    bpm: float | None = None
    bpm_confidence: float = 0.0
    beats: tuple[float, ...] = ()
    key: str | None = None
    key_confidence: float = 0.0


def analyse_song(context: Context, song: AudioSource) -> SongAnalysis:
    """Tempo, beats and key of `song` (any length, channels and rate). Memory does not grow with the song but for some
    800 bytes per second; `context.workers` windows are analysed at once.

    The result does not depend on the level of the song or on the polarity of its channels. Silence, noise, speech and
    sounds shorter than `SHORTEST` have neither tempo nor key. Raises `UnderstudyError` ``package-missing`` where
    librosa cannot be imported; `Cancelled`.
    """
    if song.frames < SHORTEST * song.rate:
        return SongAnalysis()
    covariance = channel_covariance(context.part(0, 0.2), song)
    weights = fold_weights(covariance)
    rms = float(np.sqrt(np.maximum(weights @ covariance @ weights, 0.0) / song.frames))
    if rms < _SILENT:
        return SongAnalysis()
    mono = Mono(song, weights)
    _mel_bands()  # a missing librosa is reported before any work
    seconds = range(0, -(-song.frames // song.rate), _WINDOW)
    analysing = context.part(0.2, 0.9)
    onsets: list[Array] = []
    sustained = np.zeros(CHROMA_FFT // 2 + 1)
    windows = ordered_map(lambda start: _analyse(mono, rms, start), seconds, context.workers)
    for done, (part, tones) in enumerate(windows, start=1):
        onsets.append(part)
        sustained += tones
        analysing.progress(done / len(seconds))
    strength = np.concatenate(onsets)[: song.frames * RATE // (song.rate * _ONSET_HOP) + 1]
    bpm, periodic, beats = _tempo_and_beats(context.part(0.9, 1.0), strength)
    key, correlation = _key(sustained)
    return SongAnalysis(bpm, periodic, beats, key, correlation)


def _analyse(mono: Mono, rms: float, start: int) -> tuple[Array, Array]:
    """Of the `_WINDOW` seconds from second `start` on: the onset strength ``[frames]``, and the power spectrum
    ``[bins]`` of sustained tones, summed over time."""
    import soxr

    first, last = start - _SIDE, start + _WINDOW + _SIDE
    sound = mono.read(first * mono.rate, last * mono.rate).samples[0] / np.float32(rms)
    if mono.rate != RATE:
        sound = np.asarray(soxr.resample(sound, mono.rate, RATE, quality="HQ"), np.float32)
    begin = _SIDE * RATE

    # One frame before the window: the flux of its first frame needs it.
    spectrum = magnitudes(sound, begin - _ONSET_HOP, _ONSET_HOP, _WINDOW * RATE // _ONSET_HOP + 1, _ONSET_FFT)
    bands = np.log1p(_COMPRESSION * (spectrum @ _mel_bands().T))
    onsets = np.maximum(np.diff(bands, axis=0), 0).mean(axis=1, dtype=np.float64)

    # A sustained tone is as strong 0.2 s before and after: the minimum over three frames leaves little of speech,
    # glides and drums.
    count = _WINDOW * RATE // _CHROMA_HOP
    power = magnitudes(sound, begin - 2 * _CHROMA_HOP, _CHROMA_HOP, count + 4, CHROMA_FFT).astype(np.float64) ** 2
    sustained = np.minimum(np.minimum(power[:-4], power[4:]), power[2:-2])
    return onsets, sustained.sum(axis=0)


def magnitudes(sound: Samples, start: int, hop: int, count: int, size: int) -> Samples:
    """Magnitudes ``[count, size // 2 + 1]`` of Hann windows of `size` samples, one every `hop` from `start` on."""
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    window /= window.sum()
    low = start - size // 2
    needed = sound[max(0, low) : low + (count - 1) * hop + size]
    missing = (count - 1) * hop + size - len(needed)
    padded = np.pad(needed, (max(0, -low), max(0, missing - max(0, -low))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]
    result = np.empty((count, size // 2 + 1), np.float32)
    for first in range(0, count, 256):
        result[first : first + 256] = np.abs(np.fft.rfft(frames[first : first + 256] * window, axis=1))
    return result


@cache
def _filters() -> ModuleType:
    """librosa's filter banks."""
    try:
        return import_module("librosa.filters")
    except (ImportError, RuntimeError) as error:  # RuntimeError: numba finds no folder for its cache
        raise UnderstudyError(
            "package-missing",
            f"Tempo and key need the package librosa, which cannot be imported ({error}).",
            "Install it with: pip install librosa. If it is installed, set NUMBA_CACHE_DIR to a writable folder.",
        ) from error


@cache
def _mel_bands() -> Samples:
    """``[_BANDS, bins]`` from 30 Hz to 10 kHz."""
    bands: Samples = _filters().mel(sr=RATE, n_fft=_ONSET_FFT, n_mels=_BANDS, fmin=30.0, fmax=10000.0)
    return bands


def _tempo_and_beats(context: Context, strength: Array) -> tuple[float | None, float, tuple[float, ...]]:
    """BPM, confidence and beat times in seconds from the onset strength ``[frames]``."""
    per_second = RATE / _ONSET_HOP
    novelty = _novelty(strength)
    period, periodic = _beat_period(novelty)
    if period is None:
        return None, periodic, ()
    frames = _beat_path(context, novelty, period)
    if len(frames) < 4:
        return None, periodic, ()
    # a parabola through three values finds a peak to a fraction of a frame
    inside = np.clip(frames, 1, len(novelty) - 2)
    before, at, after = novelty[inside - 1], novelty[inside], novelty[inside + 1]
    bend = before - 2 * at + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0)
    times = (frames + np.clip(offset, -0.5, 0.5)) / per_second
    slope = np.polyfit(np.arange(len(times)), times, 1)[0]
    return round(60 / float(slope), 2), periodic, tuple(float(time) for time in np.round(np.maximum(times, 0.0), 4))


def _novelty(strength: Array) -> Array:
    """Onset strength above its local mean (1 s), smoothed over 30 ms, with an RMS of 1."""
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    above = np.maximum(strength - uniform_filter1d(strength, round(RATE / _ONSET_HOP), mode="nearest"), 0.0)
    smooth: Array = gaussian_filter1d(above, 1.5)
    return smooth / max(1e-12, float(np.sqrt(np.mean(smooth**2))))


def _beat_period(novelty: Array) -> tuple[float | None, float]:
    """The beat in frames of the onset strength, or None, and its autocorrelation 0..1."""
    per_second = RATE / _ONSET_HOP
    longest = round(60 / _SLOWEST * per_second)
    size = min(len(novelty), round(12 * per_second))
    total = np.zeros(2 * longest + 2)
    # Autocorrelation in windows of 12 s: a tempo that drifts keeps its peak.
    for start in range(0, max(1, len(novelty) - size + 1), size // 2):
        part = novelty[start : start + size] - novelty[start : start + size].mean()
        spectrum = np.abs(np.fft.rfft(part, 2 * size)) ** 2
        own = np.fft.irfft(spectrum)[: len(total)]
        own = np.pad(own, (0, len(total) - len(own))) / (1 - np.minimum(np.arange(len(total)) / size, 0.75))
        total += own
    if total[0] <= 1e-9:
        return None, 0.0
    total /= total[0]
    lags = np.arange(1, longest + 1)
    tempo = 60 * per_second / lags
    preference = np.exp(-0.5 * (np.log2(tempo / _PREFERRED) / _OCTAVES) ** 2) * (tempo <= _FASTEST)
    # a beat repeats after two beats as well, half a beat doesn't
    double = np.maximum(np.maximum(total[2 * lags - 1], total[2 * lags]), total[2 * lags + 1])
    best = int(np.argmax(preference * (total[lags] + 0.5 * double)))
    periodic = float(np.clip(total[lags[best]], 0.0, 1.0))
    if periodic < _LEAST_PERIODIC:
        return None, periodic
    before, at, after = total[lags[best] - 1 : lags[best] + 2]
    bend = min(before - 2 * at + after, -1e-12)
    return float(lags[best]) + float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)), periodic


def _beat_path(context: Context, novelty: Array, period: float) -> NDArray[np.intp]:
    """The frames of the beats: the path with the highest sum of onset strength, less a penalty for every interval that
    is not `period` frames (Ellis 2007, equation 3)."""
    from scipy.ndimage import gaussian_filter1d

    local = gaussian_filter1d(novelty, period / 32)
    shortest, longest = max(1, round(period / 2)), round(2 * period)
    intervals = np.arange(longest, shortest - 1, -1)
    penalty = -_TIGHTNESS * np.log(intervals / period) ** 2
    score = local.copy()
    came_from = np.full(len(local), -1)
    for frame in range(shortest, len(local)):
        first = max(0, frame - longest)
        ways = score[first : frame - shortest + 1] + penalty[len(intervals) - (frame - shortest + 1 - first) :]
        best = int(np.argmax(ways))
        if ways[best] > 0:
            score[frame] += ways[best]
            came_from[frame] = first + best
        if frame % 20000 == 0:
            context.progress(frame / len(local))
    # the last beat: the best score within the last two beats
    last = len(local) - min(len(local), longest) + int(np.argmax(score[-longest:]))
    path = [last]
    while came_from[path[-1]] >= 0:
        path.append(int(came_from[path[-1]]))
    frames = np.array(path[::-1])
    # beats before the first and after the last onset were only extrapolated
    strong = np.flatnonzero(local[frames] > 0.3 * np.sqrt(np.mean(local[frames] ** 2)))
    return frames[strong[0] : strong[-1] + 1] if len(strong) else frames[:0]


def _key(sustained: Array) -> tuple[str | None, float]:
    """Key and confidence from the spectrum ``[bins]`` of the sustained tones."""
    chroma = chroma_bank(_tuning(sustained)) @ sustained
    if chroma.std() < _LEAST_CONTRAST * chroma.mean() or not chroma.any():
        return None, 0.0
    profiles = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
    correlations = np.corrcoef(np.vstack([np.sqrt(chroma), profiles]))[0, 1:]
    best = int(np.argmax(correlations))
    correlation = float(np.clip(correlations[best], 0.0, 1.0))
    if correlation < _LEAST_CORRELATION:
        return None, correlation
    return f"{PITCH_CLASSES[best % 12]} {'major' if best < 12 else 'minor'}", correlation


def _tuning(sustained: Array) -> float:
    """How far the tones lie above those of A = 440 Hz, -0.5..0.5 semitones: the circular mean of the spectrum's peaks,
    weighted with their power."""
    inner = sustained[1:-1]
    peaks = 1 + np.flatnonzero((inner > sustained[:-2]) & (inner >= sustained[2:]) & (_TONES[1:-1] > 0))
    before, at, after = (np.log(sustained[peaks + offset] + 1e-30) for offset in (-1, 0, 1))
    # a parabola through three bins in dB finds a frequency to a fraction of a bin
    place = peaks + 0.5 * (before - after) / np.minimum(before - 2 * at + after, -1e-9)
    semitones = 12 * np.log2(place * RATE / CHROMA_FFT / 440.0)
    return float(np.angle(np.sum(sustained[peaks] * np.exp(2j * np.pi * semitones))) / (2 * np.pi))


def chroma_bank(tuning: float) -> Array:
    """``[12, bins]``, C first, for tones `tuning` semitones above A = 440 Hz: a Gaussian around each pitch class whose
    width is two standard deviations of a semitone, or of a bin where bins are wider, as in `librosa.filters.chroma`
    (which would load librosa's compiled functions)."""
    octaves = _filters().hz_to_octs(np.maximum(_FREQUENCIES, _FREQUENCIES[1]), tuning=tuning, bins_per_octave=12)
    semitones = 12 * np.asarray(octaves) + 9  # above C
    width = np.maximum(np.diff(semitones, append=semitones[-1]), 1.0)
    distance = (semitones - np.arange(12)[:, None] + 6) % 12 - 6
    bank: Array = np.exp(-0.5 * (2 * distance / width) ** 2) * _TONES
    return bank
