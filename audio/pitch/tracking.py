"""`track`: the pitch track of a sound of any length, channels and rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audio.context import Context
from audio.pitch.repair import repair_octaves
from audio.pitch.settings import PitchSettings
from audio.pitch.track import HOP, PitchTrack
from audio.pitch.trackers import PEAK, RATE, tracker
from audio.samples import AudioSource, Samples
from audio.windows import ordered_map

_WINDOW = 20  # seconds, whole, so that windows begin on the grid at any rate
_MARGIN = 2  # seconds of context on both sides, longer than the memory of every tracker


def track(context: Context, source: AudioSource, settings: PitchSettings) -> PitchTrack:
    """The pitch of `source`, which may have any length: it is read in windows of 20 s, each with 2 s of context on both
    sides, `context.workers` at once.

    Frame k is centred at ``k * 5 ms``; there are ``floor(duration / 5 ms) + 1`` frames. The answer doesn't depend on
    the level of the sound or on the polarity of its channels. Raises `UnderstudyError` for an unknown or missing
    tracker.
    """
    hear = tracker(settings.tracker)
    rate, length = source.rate, source.frames
    frames = length * 200 // rate + 1
    seconds = range(0, max(1, -(-length // rate)), _WINDOW)
    gain = _level_gain(context.part(0, 0.1), source)

    def window(second: int) -> NDArray[np.float32]:
        stop = min(second + _WINDOW, seconds.stop)
        block = source.read((second - _MARGIN) * rate, (stop + _MARGIN) * rate)
        sound = _resampled(strongest_mono(block.samples) * np.float32(gain), rate, (stop - second + 2 * _MARGIN) * RATE)
        return hear(sound, settings, context.device)[_MARGIN * 200 : (_MARGIN + stop - second) * 200 + 1]

    listening = context.part(0.1, 1)
    f0 = np.zeros(seconds.stop * 200 + 1, np.float32)
    for done, heard in enumerate(ordered_map(window, seconds, context.workers)):
        start = done * _WINDOW * 200
        f0[start : start + len(heard)] = heard
        listening.progress((done + 1) / len(seconds))
    pitch = PitchTrack(f0[:frames].copy(), HOP)
    return repair_octaves(pitch) if settings.repair else pitch


def strongest_mono(samples: Samples) -> Samples:
    """One channel that holds the voice: the first principal component of the channels, ``[frames]``.

    For a voice in the middle that is (L + R) / sqrt 2; for one channel in reversed polarity, where the mean would
    cancel, the difference; for a panned voice, the side it sits on. Where the component holds little more than half
    the energy, as with a delay or two takes left and right, every sum is a comb filter and the louder channel is
    taken alone.
    """
    if samples.shape[0] == 1:
        return np.asarray(samples[0])
    covariance = samples.astype(np.float64) @ samples.T.astype(np.float64)
    energies, directions = np.linalg.eigh(covariance)
    if energies[-1] < 0.65 * energies.sum():
        return np.asarray(samples[int(np.argmax(np.diag(covariance)))])
    return (directions[:, -1].astype(np.float32) @ samples).astype(np.float32)


def _level_gain(context: Context, source: AudioSource) -> float:
    """The factor that brings the loud parts to `PEAK`: the 90th percentile of the peaks of the seconds that are within
    40 dB of the loudest, so that neither long silences nor a single click decide. 1 for digital silence."""
    peaks = []
    for start in range(0, source.frames, source.rate):
        peaks.append(float(np.abs(source.read(start, min(start + source.rate, source.frames)).samples).max()))
        context.progress((start + source.rate) / source.frames)
    heard = np.array([peak for peak in peaks if peak > 0.01 * max(peaks)])
    return PEAK / float(np.percentile(heard, 90)) if len(heard) else 1.0


def _resampled(sound: Samples, rate: int, length: int) -> Samples:
    if rate == RATE:
        return sound
    import soxr

    # HQ is flat and clean far beyond what a tracker can hear, at a third of VHQ's time
    result = np.asarray(soxr.resample(sound, rate, RATE, quality="HQ"), np.float32)[:length]
    return np.pad(result, (0, length - len(result)))
