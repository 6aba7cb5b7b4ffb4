"""Compressor with a soft knee, after Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor Design" (2012).

The level is the RMS of 10 ms; the gain falls within about 10 ms, beginning before the level rises (a window is known
in advance), and rises by a fixed number of dB per second. Channels share one gain.
"""

from __future__ import annotations

import numpy as np

from understudy.audio.effects.control import TINY, Curve, block_energies, per_frame, released, smoothed
from understudy.audio.samples import Audio

MARGIN = 1.0  # seconds of sound on both sides that the gain may depend on
_HOP = 0.002  # seconds per control value
_LEVEL = 5  # values that the level is taken over
_ATTACK = 10  # values that the gain is smoothed over
_RELEASE = 60.0  # dB per second


def static_gain(level: Curve, threshold: float, ratio: float, knee: float) -> Curve:
    """The gain in dB, 0 or less, at `level` in dB: none below `threshold`, ``1 - 1 / ratio`` dB per dB above it, and
    a parabola between the two that is `knee` dB wide."""
    over = level - threshold
    bend = np.clip(over + knee / 2, 0, knee) ** 2 / (2 * knee) if knee > 0 else np.zeros_like(over)
    return (1 / ratio - 1) * (bend + np.maximum(over - knee / 2, 0))


def compress(window: Audio, start: int, threshold: float, ratio: float, knee: float = 8.0) -> Audio:
    """`window`, which begins at frame `start` of the song, compressed above `threshold` dBFS (RMS)."""
    hop = max(1, round(_HOP * window.rate))
    level = 10 * np.log10(smoothed(block_energies(window.samples, start, hop), _LEVEL) / window.channels + TINY)
    gain = static_gain(level, threshold, ratio, knee)
    if not gain.any():
        return window
    gain = smoothed(released(gain, _RELEASE * _HOP), _ATTACK)
    factor = per_frame(10 ** (gain / 20), start // hop, start, window.frames, hop)
    return Audio(window.samples * factor, window.rate)
