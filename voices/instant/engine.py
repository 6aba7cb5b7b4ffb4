"""`InstantEngine`: conversion with a voice made from recordings, without training and without model weights.

Four passes over the performance, so that a song of any length needs little memory: find quiet places to cut at, measure
the spectral envelopes, convert them (small data, the entire song at once), and synthesise the sound.
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
from understudy.voices.instant.timbre import Timbre, convert_timbre, voicing
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

    def convert(
        self,
        context: Context,
        performance: Performance,
        voice: Voice,
        prepared: Path,
        settings: ConversionSettings,
        models: Mapping[str, Weights],
    ) -> AudioFile:
        profile, path = VoiceProfile.load(prepared), context.folder / "converted.npy"
        vocals = fold(context.part(0.0, 0.01), performance.vocals)
        rate = vocals.rate
        frames = int(np.ceil(vocals.frames / (rate * HOP))) + 1
        f0 = _resampled(performance.pitch, frames)
        level = _level(context.part(0.01, 0.05), vocals, frames)
        if not (level > rendering.SILENCE).any():
            return write_blocks(path, rate, 1, [Audio.silence(1, vocals.frames, rate)])
        windows = _cut(level, frames)
        voiced = f0 > 0
        # Voices that differ in pitch differ in the length of their vocal tract, which scales all formants.
        warp = 1.0
        if voiced.any():
            ratio = profile.pitch / float(np.median(f0[voiced]))
            warp = float(np.clip(ratio**LENGTHENING, 0.86, 1.16))

        # `basis` [bins, POINTS]: log envelope to the mel grid; `back` [ORDER, bins]: cepstra to a log envelope
        basis, back = spectrum.to_grid(rate, profile.top), spectrum.inverse_basis(ORDER) @ spectrum.from_grid(rate)
        described = _below(profile.top, rate)

        def lengthened(envelope: Array, weight: Array) -> Array:
            """`envelope` ``[frames, bins]`` warped to the target voice's vocal tract length, by `weight` (voicing)."""
            return envelope if warp == 1.0 else envelope + weight * (spectrum.warped(envelope, warp) - envelope)

        def measure(window: _Window) -> NDArray[np.float16]:
            """The cepstra ``[frames, ORDER]`` of the window's own frames."""
            start, signal, pitch = _take(vocals, f0, window)
            envelope = lengthened(spectrum.envelope(signal, pitch, rate, HOP), voicing(pitch > 0))
            own = (envelope @ basis)[window.first - start : window.last - start]
            return spectrum.cepstrum(own)[:, :ORDER].astype(np.float16)

        cepstra = np.empty((frames, ORDER), np.float16)
        measuring = context.part(0.05, 0.3)
        measured = ordered_map(measure, windows, context.workers)
        for done, (window, part) in enumerate(zip(windows, measured, strict=True), start=1):
            cepstra[window.first : window.last] = part
            measuring.progress(done / len(windows))

        loud = loud_frames(20 * np.log10(np.maximum(level, rendering.SILENCE)))
        sung = Timbre(cepstra, voiced, loud)
        wanted = convert_timbre(context.part(0.3, 0.4), sung, profile, settings.index_rate, settings.protect)

        def render(window: _Window) -> NDArray[np.float32]:
            start, signal, pitch = _take(vocals, f0, window)
            old, weight = spectrum.envelope(signal, pitch, rate, HOP), voicing(pitch > 0)
            rows = np.clip(np.arange(start, start + len(pitch)), 0, frames - 1)
            before, after = cepstra[rows].astype(np.float32), wanted[rows].astype(np.float32)
            new = lengthened(old, weight).copy()
            # The envelope is more detailed than ORDER cepstra, and its details are the original singer's. They are
            # removed where the sound is voiced and below the bandwidth of the recordings; then the change is added.
            new += described * weight * (before @ back - new) + (after - before) @ back
            new = spectrum.warped(new, 2 ** (settings.formant_shift / 12))
            sound = rendering.sung(signal, pitch, rate, HOP, old, new, performance.transpose)
            return np.asarray(sound, np.float32)

        return write_blocks(path, rate, 1, _joined(context.part(0.4, 1.0), render, windows, vocals))


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
