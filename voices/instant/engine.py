"""`InstantEngine`: conversion with a voice made from recordings, without training and without model weights.

Four passes over the performance, so that a song of any length needs little memory: find quiet places to cut at, measure
the spectral envelopes, convert them (small data, the entire song at once), and synthesise the sound. The first three
are the `study`: with it, any part is sung as it is in the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.crossfade import raised_cosine
from understudy.audio.downmix import Mono, fold
from understudy.audio.pitch import PitchTrack
from understudy.audio.pitch.track import HOP
from understudy.audio.samples import Audio, AudioSource, finite
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.models import Weights
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.instant import rendering, spectrum
from understudy.voices.instant.content import ORDER
from understudy.voices.instant.profile import VoiceProfile, loud_frames, measure_profile
from understudy.voices.instant.spectrum import Array
from understudy.voices.instant.timbre import Half, Timbre, convert_timbre, voicing
from understudy.voices.voice import Voice

WINDOW = 2000  # frames of 5 ms between cuts, about
SEARCH = 400  # frames before and after it in which the quietest place is taken
MARGIN = 60  # frames of context on both sides of a window
FADE = 4  # frames over which neighbouring windows cross-fade
LENGTHENING = 0.1  # formants move with this power of the pitch ratio of two voices: higher voices, shorter tracts


@dataclass(frozen=True)
class _Window:
    """Frames ``first:last`` are this window's own; it is computed with `MARGIN` more on both sides."""

    first: int
    last: int


class InstantEngine:
    version: int = 4
    packages: tuple[str, ...] = ("pocketsphinx",)

    def models(self, voice: Voice) -> tuple[str, ...]:
        return ()

    def prepare(self, context: Context, voice: Voice) -> Path:
        path = context.folder / "profile.npz"
        measure_profile(context, voice).save(path)
        return path

    def study(
        self, context: Context, performance: Performance, prepared: Path, settings: ConversionSettings
    ) -> Path | None:
        profile, path = VoiceProfile.load(prepared), context.folder / "study.npz"
        vocals, f0 = _folded(context.part(0.0, 0.02), performance)
        level = _level(context.part(0.02, 0.1), vocals, len(f0))
        windows = _cut(level, len(f0)) if (level > rendering.SILENCE).any() else []
        rate, basis, warp = vocals.rate, spectrum.to_grid(vocals.rate, profile.top), _warp(profile, f0)

        def measure(window: _Window) -> Half:
            """The cepstra ``[frames, ORDER]`` of the window's own frames."""
            start, signal, pitch = _take(vocals, f0, window)
            envelope = _lengthened(spectrum.envelope(signal, pitch, rate, HOP), voicing(pitch > 0), warp)
            own = (envelope @ basis)[window.first - start : window.last - start]
            return spectrum.cepstrum(own)[:, :ORDER].astype(np.float16)

        cepstra = np.zeros((len(f0), ORDER), np.float16)
        measuring = context.part(0.1, 0.7)
        measured = ordered_map(measure, windows, context.workers)
        for done, (window, part) in enumerate(zip(windows, measured, strict=True), start=1):
            cepstra[window.first : window.last] = part
            measuring.progress(done / len(windows))
        loud = loud_frames(20 * np.log10(np.maximum(level, rendering.SILENCE)))
        wanted = cepstra
        if windows:
            sung = Timbre(cepstra, f0 > 0, loud)
            wanted = convert_timbre(context.part(0.7, 1.0), sung, profile, settings.index_rate, settings.protect)
        cuts = np.array([(window.first, window.last) for window in windows], np.int64).reshape(-1, 2)
        np.savez(path, cuts=cuts, cepstra=cepstra, wanted=wanted)
        return path

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
        studied: Path | None = None,
    ) -> AudioFile:
        profile, path = VoiceProfile.load(prepared), context.folder / "converted.npy"
        known = studied or self.study(context.part(0.0, 0.4), performance, prepared, settings)
        assert known is not None
        with np.load(known, allow_pickle=False) as stored:
            cuts, cepstra, wanted = stored["cuts"], stored["cepstra"], stored["wanted"]
        if studied is None:
            known.unlink()
        singing = context.part(0.4 if studied is None else 0.0, 1.0)
        vocals, f0 = _folded(singing.part(0.0, 0.02), performance)
        rate, frames, warp = vocals.rate, len(f0), _warp(profile, f0)
        windows = [_Window(int(first), int(last)) for first, last in cuts]
        if not windows:
            return write_blocks(path, rate, 1, [Audio.silence(1, vocals.frames, rate)])
        low, high = performance.part or (0.0, np.inf)

        # `back` [ORDER, bins]: cepstra to a log envelope
        back = spectrum.inverse_basis(ORDER) @ spectrum.from_grid(rate)
        described = _below(profile.top, rate)

        def render(window: _Window) -> NDArray[np.float32]:
            if (window.last + FADE) * HOP < low or (window.first - FADE) * HOP > high:
                return np.zeros(_sample(window.last + MARGIN, rate) - _sample(window.first - MARGIN, rate), np.float32)
            start, signal, pitch = _take(vocals, f0, window)
            old, weight = spectrum.envelope(signal, pitch, rate, HOP), voicing(pitch > 0)
            rows = np.clip(np.arange(start, start + len(pitch)), 0, frames - 1)
            before, after = cepstra[rows].astype(np.float32), wanted[rows].astype(np.float32)
            new = _lengthened(old, weight, warp).copy()
            # The envelope is more detailed than ORDER cepstra, and its details are the original singer's. They are
            # removed where the sound is voiced and below the bandwidth of the recordings; then the change is added.
            new += described * weight * (before @ back - new) + (after - before) @ back
            new = spectrum.warped(new, 2 ** (settings.formant_shift / 12))
            sound = rendering.sung(signal, pitch, rate, HOP, old, new, performance.transpose)
            return np.asarray(sound, np.float32)

        return write_blocks(path, rate, 1, _joined(singing.part(0.02, 1.0), render, windows, vocals))


def _folded(context: Context, performance: Performance) -> tuple[Mono, NDArray[np.float64]]:
    """The vocals in one channel, and their f0 on frames of `HOP` seconds."""
    vocals = fold(context, performance.vocals)
    return vocals, _resampled(performance.pitch, int(np.ceil(vocals.frames / (vocals.rate * HOP))) + 1)


def _warp(profile: VoiceProfile, f0: NDArray[np.float64]) -> float:
    """The factor of all formants. Voices that differ in pitch differ in the length of their vocal tract."""
    if not (f0 > 0).any():
        return 1.0
    ratio = profile.pitch / float(np.median(f0[f0 > 0]))
    return float(np.clip(ratio**LENGTHENING, 0.86, 1.16))


def _lengthened(envelope: Array, weight: Array, warp: float) -> Array:
    """`envelope` ``[frames, bins]`` warped to the target voice's vocal tract length, by `weight` (voicing)."""
    return envelope if warp == 1.0 else envelope + weight * (spectrum.warped(envelope, warp) - envelope)


def _below(top: float, rate: int) -> Array:
    """``[bins]``: 1 at frequencies well below `top`, 0 above it."""
    frequency = np.arange(spectrum.transform_size(rate) // 2 + 1) * rate / spectrum.transform_size(rate)
    return np.asarray(np.clip((0.95 * top - frequency) / 1000, 0, 1), np.float32)


def _resampled(pitch: PitchTrack, frames: int) -> NDArray[np.float64]:
    """The track on frames of `HOP` seconds: the nearest frame's f0, 0 outside the track."""
    nearest = np.round(np.arange(frames) * HOP / pitch.hop).astype(int)
    f0 = np.zeros(frames)
    inside = nearest < pitch.frames
    f0[inside] = pitch.f0[nearest[inside]]
    return f0


def _sample(frame: int, rate: int) -> int:
    return round(frame * HOP * rate)


def _level(context: Context, vocals: Mono, frames: int) -> NDArray[np.float32]:
    """RMS of the mono sum around every frame."""
    level = np.zeros(frames, np.float32)
    block = 12000
    for first in range(0, frames, block):
        context.progress(first / frames)
        last = min(first + block, frames)
        start = _sample(first, vocals.rate)
        power = np.square(_mono(vocals, start, _sample(last, vocals.rate)))
        total = np.concatenate([[0.0], np.cumsum(power)])
        edges = np.array([_sample(frame, vocals.rate) - start for frame in range(first, last + 1)])
        level[first:last] = np.sqrt(np.diff(total[edges]) / np.maximum(np.diff(edges), 1))
    return level


def _mono(vocals: Mono, start: int, stop: int) -> NDArray[np.float64]:
    samples = finite(vocals.source.read(start, stop).samples).astype(np.float64)
    return np.asarray(vocals.weights.astype(np.float64) @ samples)


def _cut(level: NDArray[np.float32], frames: int) -> list[_Window]:
    """Windows of about `WINDOW` frames that meet where the vocal is quietest. `level`: RMS ``[frames]``."""
    smooth = np.convolve(level, np.ones(9) / 9, "same")
    cuts = [0]
    while frames - cuts[-1] > WINDOW + SEARCH:
        around = cuts[-1] + WINDOW
        # the last window is as long as its fade, even though its last frame may have no samples
        low, high = around - SEARCH, min(around + SEARCH, frames - FADE)
        cuts.append(low + int(np.argmin(smooth[low:high])))
    return [_Window(first, last) for first, last in zip(cuts, [*cuts[1:], frames], strict=True)]


def _take(
    vocals: Mono, f0: NDArray[np.float64], window: _Window
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """First frame, samples and pitch of a window with its margins (silence past the ends)."""
    start, stop = window.first - MARGIN, window.last + MARGIN
    signal = _mono(vocals, _sample(start, vocals.rate), _sample(stop, vocals.rate))
    pitch = np.zeros(stop - start)
    low, high = max(0, start), min(len(f0), stop)
    pitch[low - start : high - start] = f0[low:high]
    return start, np.ascontiguousarray(signal), pitch


def _joined(
    context: Context,
    render: Callable[[_Window], NDArray[np.float32]],
    windows: list[_Window],
    vocals: AudioSource,
) -> Iterator[Audio]:
    """The windows' sounds in order, cross-faded over ``2 * FADE`` frames around every cut."""
    rate = vocals.rate
    tail = np.zeros(0, np.float32)
    for done, (window, sound) in enumerate(zip(windows, ordered_map(render, windows, context.workers), strict=True), 1):
        origin = _sample(window.first - MARGIN, rate)
        begin = _sample(window.first - FADE, rate) if window.first else 0
        end = _sample(window.last - FADE, rate) if done < len(windows) else vocals.frames
        beyond = _sample(window.last + FADE, rate) if done < len(windows) else end
        own = sound[begin - origin : end - origin].copy()
        if len(tail):
            ramp = raised_cosine(len(tail)).astype(np.float32)
            own[: len(tail)] = own[: len(tail)] * ramp + tail * (1 - ramp)
        tail = sound[end - origin : beyond - origin]
        context.progress(done / len(windows))
        yield Audio(own[None], rate)
