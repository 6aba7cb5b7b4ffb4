"""swift-f0: a small convolutional network on spectrograms (Nieradzik, "SwiftF0", 2025), run by ONNX Runtime.

Its weights come inside its package. It answers every 16 ms, with a pitch between 47 and 2094 Hz and a confidence."""

from __future__ import annotations

from functools import cache
from typing import Any

from audio.pitch.grid import regrid
from audio.pitch.settings import PitchSettings
from audio.pitch.trackers import F0, RATE
from audio.samples import Samples


@cache
def _detector() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)  # windows run side by side, and one thread each keeps the bytes the same


def track_swift(sound: Samples, settings: PitchSettings, device: str) -> F0:
    frames = len(sound) // 80 + 1
    if len(sound) == 0:
        return regrid(sound, sound, settings.confidence, 1, frames)
    heard = _detector().detect(sound, RATE, settings.low, settings.high)
    return regrid(heard.pitch_hz, heard.confidence, settings.confidence, 80 / 256, frames)
