"""What can be measured of a recording of a voice: noise, clipping, reverberation, other sounds, bandwidth, pitch.

All blind: there is no clean version to compare with. Each figure was chosen because it separates degraded recordings of
real speech and singing from the untouched ones; the limits that go with them stand in `recordings`. Long recordings
are judged by excerpts, except for what is cheap to know of every sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.resample import resample
from understudy.audio.samples import AudioSource, Samples, read_blocks
from understudy.audio.windows import excerpts
from understudy.context import Context

Floats = NDArray[np.float64]

_RATE = 16000  # Hz at which noise, other sounds and reverberation are judged
_FRAME, _HOP = 1024, 256  # 64 ms: harmonics of a low voice still stand apart
_LOW, _HIGH = 5, 500  # bins of `_FRAME` that hold a voice: 78 Hz to 7.8 kHz
_LEVEL_HOP = 100  # levels per second
_BLOCK_SECONDS = 20
_CALIBRATION = 5.0  # dB that the minimum statistics below find less noise than there is (pink and white, 10 to 30 dB)


@dataclass(frozen=True)
class Measures:
    """`duration` and `voice` in seconds: all of it, and what holds voice. `level`: RMS of the voice in dBFS.

    `snr`: dB of voice over steady noise. `other`, `other_often`: dB of voice over steady tones that aren't its own
    harmonics, on average and in the quarter of the time that has most; music below a voice makes both small.
    `decay`: 80th percentile of the decays of sound, in dB per second; reverb makes them slow.
    `ringing`: seconds for 60 dB at the median of the decays. Both None if there are too few decays.
    `clips`: crests cut flat, per second. `crowding`: how many samples lie just below the peak, for those a bit lower.
    `bandwidth`: Hz above which there is nothing (60 dB down). `f0`: Hz of the voiced frames, 5 ms each.
    """

    rate: int
    duration: float
    voice: float
    level: float
    snr: float
    other: float
    other_often: float
    decay: float | None
    ringing: float | None
    clips: float
    crowding: float
    bandwidth: float
    f0: NDArray[np.float32]

    @property
    def semitones(self) -> float | None:
        """From the 5th to the 95th percentile of the pitch; None below a second of voiced sound."""
        if len(self.f0) < 200:
            return None
        low, high = np.percentile(self.f0, [5, 95])
        return float(12 * np.log2(high / low))


def measure(context: Context, source: AudioSource) -> Measures:
    """Measure a mono `source` of any length and rate. Raises as `understudy.audio.pitch.track` does."""

    from scipy.ndimage import uniform_filter1d

    levels, low, high = _levels(source)
    pitch = track(context.part(0, 0.6), source, PitchSettings())
    nearest = np.round(np.arange(len(levels)) * (1 / _LEVEL_HOP) / pitch.hop).astype(int)
    voiced_levels = pitch.voiced[np.clip(nearest, 0, pitch.frames - 1)]
    near_voiced = uniform_filter1d(voiced_levels.astype(float), 2 * 40 + 1, mode="constant") > 1e-9
    loud = float(np.percentile(levels, 95)) if len(levels) else -120.0
    active = (levels > max(loud - 35, -70)) & near_voiced
    voice = float(active.sum()) / _LEVEL_HOP
    duration = source.frames / source.rate
    if voice == 0:
        empty = np.zeros(0, np.float32)
        return Measures(source.rate, duration, 0, loud, 0, 0, 0, None, None, 0, 0, 0, empty)
    clips, crowding = _clipping(source, low, high)
    parts = excerpts(source)
    spectra, tracks, decays = [], [], []
    for done, (start, stop) in enumerate(parts):
        context.progress(0.6 + 0.3 * done / len(parts))
        sound = resample(source.read(start, stop), _RATE).samples[0]
        power = _power(sound)
        spectra.append(power)
        tracks.append(_part(pitch, start / source.rate, len(power)))
        decays.append(_decays(sound))
    power, f0 = np.concatenate(spectra), np.concatenate(tracks)
    per_frame = _decibels(power[:, _LOW:_HIGH].sum(axis=1))
    top = float(np.percentile(per_frame, 95))
    level = float(_decibels(np.mean(power[per_frame > top - 20][:, _LOW:_HIGH].sum(axis=1))))
    other, other_often = _other_sounds(power, f0)
    decay = np.concatenate(decays)
    enough = len(decay) >= 20
    return Measures(
        rate=source.rate,
        duration=duration,
        voice=voice,
        level=float(_decibels(np.mean(10 ** (levels[active] / 10)))),
        snr=level - _noise(power[per_frame > top - 60], per_frame[per_frame > top - 60]),
        other=level - other,
        other_often=level - other_often,
        decay=float(np.percentile(decay, 80)) if enough else None,
        ringing=60 / float(np.percentile(decay, 50)) if enough else None,
        clips=clips,
        crowding=crowding,
        bandwidth=_bandwidth(source, parts),
        f0=pitch.f0[pitch.voiced],
    )


def _decibels(power: Floats | np.floating) -> Floats:
    return 10 * np.log10(np.maximum(power, 0) + 1e-15)


def _levels(source: AudioSource) -> tuple[Floats, float, float]:
    """The RMS level of every 10 ms in dBFS, and the lowest and the highest sample."""
    size = source.rate // _LEVEL_HOP
    levels, low, high = [], 0.0, 0.0
    for samples in (block.samples[0] for block in read_blocks(source, size * _LEVEL_HOP * _BLOCK_SECONDS)):
        low, high = min(low, float(samples.min())), max(high, float(samples.max()))
        whole = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
        levels.append(_decibels(np.mean(whole**2, axis=1)))
    return (np.concatenate(levels) if levels else np.zeros(0)), low, high


def _clipping(source: AudioSource, low: float, high: float) -> tuple[float, float]:
    """(flat crests per second, crowding below the peak).

    A crest is cut if three samples or more in a row lie within 2 % of the extreme of that polarity and next to equal.
    Encoding and filtering bend flat crests, but still leave more samples in the top 2 % than in as many below.
    """
    runs = crowded = below = 0
    for samples in (block.samples[0] for block in read_blocks(source, _BLOCK_SECONDS * source.rate)):
        relative = np.where(samples > 0, samples / max(high, 1e-9), samples / min(low, -1e-9))
        crowded += int(np.sum(relative > 0.98))
        below += int(np.sum((relative > 0.90) & (relative <= 0.98)))
        flat = (np.abs(np.diff(relative)) < 2e-3) & (relative[1:] > 0.98) & (np.diff(np.signbit(samples)) == 0)
        edges = np.diff(np.concatenate([[0], flat.astype(np.int8), [0]]))
        runs += int(np.sum(np.nonzero(edges == -1)[0] - np.nonzero(edges == 1)[0] >= 2))
    return runs / (source.frames / source.rate), 4 * crowded / max(1, below)


def _power(sound: Samples) -> Floats:
    """Power spectra of mono sound at `_RATE`, ``[frames, bins]``: a sine of amplitude 1 has 0.5 in all its bins."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _FRAME // 2), _FRAME)[::_HOP]
    power = np.empty((len(frames), _FRAME // 2 + 1))
    for first in range(0, len(frames), 500):
        power[first : first + 500] = np.abs(np.fft.rfft(frames[first : first + 500] * window, axis=1)) ** 2
    return power * (2 / _FRAME / np.sum(window**2))


def _part(pitch: PitchTrack, start: float, frames: int) -> Floats:
    """`pitch` from `start` seconds on, at the frames of `_power`."""
    index = np.round((start + np.arange(frames) * _HOP / _RATE) / pitch.hop).astype(int)
    return np.asarray(pitch.f0[np.clip(index, 0, pitch.frames - 1)], np.float64)


def _noise(power: Floats, levels: Floats) -> float:
    """Level of the steady noise in dB: the lower of two estimates, which both are too high where noise is never alone.

    The 5th percentile of each bin over time, after smoothing over 80 ms (minimum statistics, Martin 2001, in their
    simplest form): noise is alone between moving harmonics; a tone held throughout misleads it. The 5th percentile of
    the `levels` of all frames: noise is alone in pauses; singing without any misleads it.
    """

    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(power[:, _LOW:_HIGH], 5, axis=0)
    minimum = float(_decibels(np.percentile(smooth, 5, axis=0).sum())) + _CALIBRATION
    return min(minimum, float(np.percentile(levels, 5)))


def _other_sounds(power: Floats, f0: Floats) -> tuple[float, float]:
    """Level in dB of steady tones off the voice's harmonics: (mean, 75th percentile over time).

    In windows of 16 frames (a quarter of a second) a tone is a narrow peak of what never falls away in the window;
    voices glide too much to leave any, except at the harmonics of their pitch, which are left out.
    """

    from scipy.ndimage import median_filter

    length = 16
    bins = np.arange(power.shape[1])
    width = _RATE / _FRAME
    totals = []
    for start in range(0, max(1, len(power) - length), length // 2):
        window = power[start : start + length]
        floor = np.percentile(window, 15, axis=0)
        own = np.zeros(len(bins), bool)
        pitches = np.unique(np.round(f0[max(0, start - 2) : start + length + 2]))
        for hertz in pitches[pitches > 0]:
            nearest = np.maximum(1, np.round(bins * width / hertz)) * hertz
            own |= np.abs(bins * width - nearest) <= np.maximum(2.5 * width, 0.03 * bins * width)
        peak = (floor > 6 * median_filter(floor, 17)) & (floor >= np.roll(floor, 1)) & (floor >= np.roll(floor, -1))
        totals.append(float(floor[peak & ~own & (bins >= 4) & (bins < 260)].sum()))
    return float(_decibels(np.mean(totals))), float(_decibels(np.percentile(totals, 75)))


def _decays(sound: Samples) -> Floats:
    """Slopes in dB/s of the stretches of 80 ms in which a band of `sound` dies away steadily by 2 dB or more.

    A dry voice stops within a few frames; in a room no stretch is steeper than the room lets it be.
    """

    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfilt

    slopes = []
    for band in ((300, 800), (800, 1800), (1800, 4000)):
        filtered = sosfilt(butter(3, band, "band", fs=_RATE, output="sos"), sound)
        envelope = _decibels(uniform_filter1d(filtered**2, 320)[::80])  # every 5 ms
        if len(envelope) <= 16:
            continue
        loud, quiet = np.percentile(envelope, [95, 5])
        windows = np.lib.stride_tricks.sliding_window_view(envelope, 17)[::4]
        drop = windows[:, 0] - windows[:, -1]
        steady = np.all(np.diff(windows[:, ::4], axis=1) < 0.5, axis=1)
        chosen = steady & (drop >= 4) & (windows[:, 0] > loud - 25) & (windows[:, -1] > quiet + 4)
        slopes.append(drop[chosen] / 0.08)
    return np.concatenate(slopes) if slopes else np.zeros(0)


def _bandwidth(source: AudioSource, parts: list[tuple[int, int]]) -> float:
    """The highest frequency in Hz at which the loud moments (95th percentile) come within 60 dB of the loudest bin."""
    size = 2048
    window = np.hanning(size)
    highest = []
    for start, stop in parts:
        sound = np.pad(source.read(start, stop).samples[0], size // 2)
        frames = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 2]
        power = np.concatenate(
            [
                np.abs(np.fft.rfft(frames[first : first + 200] * window)).astype(np.float32)
                for first in range(0, len(frames), 200)
            ]
        )
        energy = np.sum(power**2, axis=1)
        highest.append(np.percentile(power[energy >= 1e-4 * energy.max()], 95, axis=0) ** 2)
    level = np.convolve(_decibels(np.mean(highest, axis=0)), np.ones(9) / 9, mode="same")
    return float(np.nonzero(level > level.max() - 60)[0].max() * source.rate / size)
