"""Slaney's mel scale ("Auditory Toolbox", 1998): linear up to 1 kHz, then 27 mels to a factor of 6.4."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mel_filters(rate: int, window: int, bands: int) -> NDArray[np.float64]:
    """Triangles `[bands, window // 2 + 1]` equally spaced on the mel scale from 0 Hz to half the rate, each of unit
    area in Hz: the product with a spectrum of `window` samples at `rate` Hz gives its mel bands."""
    knee, per_hertz, per_octave = 1000.0, 3 / 200, 27 / np.log(6.4)
    top = knee * per_hertz + np.log(rate / 2 / knee) * per_octave
    mels = np.linspace(0, top, bands + 2)
    linear = mels / per_hertz
    edges = np.where(linear < knee, linear, knee * np.exp((mels - knee * per_hertz) / per_octave))
    bins = np.arange(window // 2 + 1) * rate / window
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - low) / (mid - low), (high - bins) / (high - mid)
    return np.asarray(np.maximum(0, np.minimum(rise, fall)) * (2 / (high - low)), np.float64)
