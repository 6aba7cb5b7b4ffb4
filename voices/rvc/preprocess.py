"""A vocal as RVC's networks expect it: mono, 16 kHz, high-passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.audio.downmix import fold
from understudy.audio.effects.control import Curve
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.windows import map_windows
from understudy.context import Context

RATE = 16000
FRAME = 160  # samples of 10 ms, the synthesizer's frame
_RUMBLE = 48.0  # Hz of the high-pass, as in RVC's training
_PEAKS = (0.1, 0.95)  # the loudest sample is brought between these; RVC bounds it above


@dataclass(frozen=True, eq=False)
class PreparedVocal:
    """`sound`: mono at 16 kHz on disk. `energy`: mean square of each frame of 10 ms as it was before the level was
    changed, ``[frames]``; the last frame may reach beyond the sound's end."""

    sound: AudioFile
    energy: Curve

    @property
    def frames(self) -> int:
        return len(self.energy)

    @property
    def last(self) -> int:
        """The frame that begins nearest to the sound's end: the frames after it are a reflection."""
        return (self.sound.frames + FRAME // 2) // FRAME

    def read(self, start: int, stop: int) -> Samples:
        """Samples ``start:stop`` ``[stop - start]``; past its ends the sound is reflected, as RVC's padding does."""
        length = self.sound.frames
        if length < 2:
            return np.zeros(stop - start, np.float32)
        places = np.abs((np.arange(start, stop) + length - 1) % (2 * length - 2) - (length - 1))
        low, high = int(places.min()), int(places.max()) + 1
        return np.asarray(self.sound.read(low, high).samples[0][places - low])


def preprocess(context: Context, vocals: AudioSource) -> PreparedVocal:
    """`vocals` (any channels and rate) as the networks expect it; writes ``prepared.npy`` into `context.folder`."""
    mono = fold(context.part(0, 0.2), vocals)
    path = context.folder / "resampled.npy"
    peak = 0.0

    def watched() -> Iterator[Audio]:
        nonlocal peak
        for block in resample_blocks(mono, RATE, context.part(0.2, 0.7)):
            peak = max(peak, float(np.abs(block.samples).max()))
            yield block

    resampled = write_blocks(path, RATE, 1, watched())
    gain = float(np.clip(peak, *_PEAKS)) / peak if peak > 0 else 1.0
    energies: list[Curve] = []

    def cleaned() -> Iterator[Audio]:
        # windows of whole frames; the filter's response has decayed after half a second
        def without_rumble(window: Audio, start: int) -> Audio:
            return _high_passed(window, max(0, -start), min(window.frames, resampled.frames - start))

        windows = map_windows(resampled, without_rumble, context.part(0.7, 1.0), seconds=20.0, margin=0.5)
        for block in windows:
            padded = np.pad(block.samples[0], (0, -block.frames % FRAME)).reshape(-1, FRAME)
            energies.append(np.einsum("ts,ts->t", padded, padded, dtype=np.float64) / FRAME)
            yield Audio(block.samples * np.float32(gain), RATE)

    sound = write_blocks(context.folder / "prepared.npy", RATE, 1, cleaned())
    path.unlink()
    return PreparedVocal(sound, np.concatenate(energies) if energies else np.zeros(0))


def _high_passed(window: Audio, begin: int, end: int) -> Audio:
    """`window` through a Butterworth high-pass of order 5, both ways; only frames ``begin:end`` are in the song."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(5, _RUMBLE, "highpass", fs=RATE, output="sos")
    result = np.zeros_like(window.samples)
    inside = window.samples[0, begin:end].astype(np.float64)
    if len(inside) > 1:
        result[0, begin:end] = sosfiltfilt(sections, inside, padlen=min(18, len(inside) - 1))
    return Audio(result, RATE)
