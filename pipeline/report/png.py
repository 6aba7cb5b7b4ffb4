"""A spectrogram as a PNG with a palette of its own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.pipeline.report.bands import BandLevels

COLUMNS, ROWS = 1200, 192
RANGE = 72.0  # dB from the darkest to the lightest shade
_SHADES = 48  # fewer than 256: the eye sees no steps, and the file is a third smaller

# Our own ramp from night blue over violet and orange to cream: lightness rises evenly, so it reads without colour too
_RAMP = np.array(
    [
        (8, 8, 24),
        (40, 22, 86),
        (96, 33, 122),
        (158, 50, 116),
        (214, 82, 84),
        (244, 134, 58),
        (252, 196, 96),
        (255, 248, 220),
    ],
    np.float64,
)


def encode_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """``[rows, columns]`` of palette positions and a palette ``[colours, 3]`` as a PNG file."""
    import av

    colours = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
    colours[: len(palette), 1:] = palette
    codec = av.VideoCodecContext.create("png", "w")
    codec.height, codec.width = indices.shape
    codec.pix_fmt, codec.time_base = "pal8", Fraction(1)
    codec.options = {"compression_level": "9"}
    both: Any = (np.ascontiguousarray(indices), colours)
    frame = av.VideoFrame.from_ndarray(both, format="pal8")
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))


def spectrogram_png(levels: BandLevels, top: float) -> bytes:
    """Bands over time, low notes at the bottom. `top`: the power in dB that gets the lightest shade."""
    power = levels.bands.astype(np.float64)
    if power.shape[0] > COLUMNS:
        edges = np.linspace(0, power.shape[0], COLUMNS + 1).astype(int)
        power = np.add.reduceat(power, edges[:-1], axis=0) / np.diff(edges)[:, None]
    level = 10 * np.log10(np.maximum(power, 1e-14))
    # twice the rows, in between by interpolation, so that the bands don't show as bars
    position = np.linspace(0, level.shape[1] - 1, ROWS)
    below = np.minimum(position.astype(int), level.shape[1] - 2)
    share = position - below
    level = level[:, below] * (1 - share) + level[:, below + 1] * share
    shade = np.clip((level - (top - RANGE)) / RANGE, 0, 1) * (_SHADES - 1)
    ramp = np.linspace(0, len(_RAMP) - 1, _SHADES)
    palette = np.stack([np.interp(ramp, np.arange(len(_RAMP)), _RAMP[:, colour]) for colour in range(3)], axis=1)
    return encode_png(np.round(shade).astype(np.uint8).T[::-1], np.round(palette).astype(np.uint8))


def brightest(levels: BandLevels) -> float:
    """The level in dB that nearly all of the sound stays below: what `spectrogram_png` wants as `top`."""
    return float(10 * np.log10(max(1e-9, float(np.percentile(levels.bands, 99.7))))) + 3.0


def describe(levels: BandLevels) -> str:
    """What `spectrogram_png` shows, in words."""
    level = levels.level
    loud = float(np.percentile(level, 95)) if level.size else -120.0
    active = 100 * float(np.mean(level > loud - 30)) if level.size else 0.0
    if loud < -80:
        return "It is silent."
    return f"50 Hz to 16 kHz. There is sound in {active:.0f} percent of the time."
