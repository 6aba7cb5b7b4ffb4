"""`track`: the pitch track of a sound of any length, channels and rate."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from understudy.audio.downmix import strongest_mono
from understudy.audio.pitch.classical import add_whistle
from understudy.audio.pitch.postprocess import median, repair_octaves
from understudy.audio.pitch.track import HOP, PitchTrack
from understudy.audio.pitch.tracker import F0, PEAK, RATE, PitchSettings, Tracker
from understudy.audio.samples import AudioSource, Samples
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.errors import UnderstudyError


def track(context: Context, source: AudioSource, settings: PitchSettings, weights: Path | None = None) -> PitchTrack:
    """The pitch of `source`, which may have any length: it is read in windows of some 20 s, each with 2 s and more of
    context on both sides, `context.workers` at once. `weights`: the file of RMVPE's, which only that tracker reads.

    Frame k is centred at ``k * 5 ms``; there are ``floor(duration / 5 ms) + 1`` frames. The result doesn't depend
    on the level of the sound or on the polarity of its channels. Raises `UnderstudyError` for an unknown or missing
    tracker, and for weights that are missing or not RMVPE's.
    """
    trackers = [tracker(name, weights) for name in settings.trackers]
    gain = _level_gain(context.part(0, 0.1), source)
    share = 0.9 / len(trackers)
    tracks = [
        _track_one(context.part(0.1 + share * at, 0.1 + share * (at + 1)), source, gain, one, settings)
        for at, one in enumerate(trackers)
    ]
    pitch = PitchTrack(tracks[0] if len(tracks) == 1 else median(tracks), HOP)
    return repair_octaves(pitch) if settings.repair else pitch


def tracker(name: str, weights: Path | None = None) -> Tracker:
    """The tracker called `name`; raises `UnderstudyError` ``pitch-tracker-unknown``. `weights`: the file of RMVPE's
    weights; the other trackers' come with their packages."""
    from understudy.audio.pitch.classical import track_harvest, track_praat
    from understudy.audio.pitch.fcpe import track_fcpe
    from understudy.audio.pitch.rmvpe.tracker import MARGIN, WINDOW, track_rmvpe
    from understudy.audio.pitch.swift import track_swift

    trackers = {
        "swift-f0": Tracker(track_swift, highest=2050),
        "fcpe": Tracker(track_fcpe, highest=1900),
        "praat": Tracker(track_praat),
        "harvest": Tracker(track_harvest),
        "rmvpe": Tracker(partial(track_rmvpe, weights=weights), WINDOW, MARGIN, silence_around=False, highest=1900),
    }
    if name not in trackers:
        raise UnderstudyError(
            "pitch-tracker-unknown",
            f"There is no pitch tracker named {name!r}.",
            f"Choose one of: {', '.join(sorted((*trackers, 'median')))}.",
        )
    return trackers[name]


def _track_one(context: Context, source: AudioSource, gain: float, one: Tracker, settings: PitchSettings) -> F0:
    """The f0 of one tracker for the whole source, float32 Hz ``[frames]``."""
    rate, length = source.rate, source.frames
    frames = length * 200 // rate + 1
    within = settings.model_copy(update={"high": min(settings.high, one.highest)})
    step, side = round(one.window * 200), round(one.margin * 200)  # hops
    end = -(-length // rate) * 200 if one.silence_around else frames - 1
    starts = range(0, max(1, end), step)

    def window(start: int) -> F0:
        """The frames from `start` to the next window's."""
        stop = min(start + step, max(1, end))
        first, last = start - side, stop + side
        if one.silence_around:
            sound = _sound(source, gain, first * rate // 200, last * rate // 200, (last - first) * 80)
        else:
            first, last = max(0, first), min(last * rate // 200, length)
            begin = first * rate // 200
            sound = _sound(source, gain, begin, last, (last - begin) * RATE // rate)
        f0 = one.track(sound, within, context.device)
        return add_whistle(f0, sound, settings, one.highest)[start - first : stop - first + 1]

    f0 = np.zeros(starts[-1] + step + 1, np.float32)
    for done, part in enumerate(ordered_map(window, starts, context.workers)):
        f0[done * step : done * step + len(part)] = part
        context.progress((done + 1) / len(starts))
    return f0[:frames].copy()


def _sound(source: AudioSource, gain: float, start: int, stop: int, length: int) -> Samples:
    """`length` samples at `RATE` of the source's frames from `start` to `stop`, mono and times `gain`."""
    block = strongest_mono(source.read(start, stop).samples) * np.float32(gain)
    if source.rate == RATE:
        return block
    import soxr

    # HQ is flat and clean far beyond what matters to a tracker, at a third of VHQ's time
    result = np.asarray(soxr.resample(block, source.rate, RATE, quality="HQ"), np.float32)[:length]
    return np.pad(result, (0, length - len(result)))


def _level_gain(context: Context, source: AudioSource) -> float:
    """The factor that brings the loud parts to `PEAK`: the 90th percentile of the peaks of the seconds that are within
    40 dB of the loudest, so that neither long silences nor a single click decide. 1 for digital silence."""
    peaks = []
    for start in range(0, source.frames, source.rate):
        peaks.append(float(np.abs(source.read(start, min(start + source.rate, source.frames)).samples).max()))
        context.progress((start + source.rate) / source.frames)
    loud = np.array([peak for peak in peaks if peak > 0.01 * max(peaks)])
    return PEAK / float(np.percentile(loud, 90)) if len(loud) else 1.0
