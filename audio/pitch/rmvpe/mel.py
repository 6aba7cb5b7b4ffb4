"""The spectrogram that RMVPE was trained on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16000
HOP = 160  # samples: a frame every 10 ms
BANDS = 128
_WINDOW = 1024
_LOW, _HIGH = 30.0, 8000.0  # Hz
_LEAST = 1e-5  # magnitudes below are as good as silence


def log_mel(sound: Tensor) -> Tensor:
    """Natural log of the mel magnitudes, ``[len(sound) // 160 + 1, 128]``, of a mono `sound` ``[samples]`` at 16 kHz.

    Frame k is centred at sample ``160 k``, the sound is mirrored at its ends. Magnitudes, not power; Hann windows of
    1024; 128 triangles from 30 to 8000 Hz. Silence fills up 512 samples or fewer, which can't be mirrored.
    """
    import torch

    frames = len(sound) // HOP + 1
    if len(sound) <= _WINDOW // 2:
        sound = torch.nn.functional.pad(sound, (0, _WINDOW - len(sound)))
    window = torch.hann_window(_WINDOW, device=sound.device)
    spectrum = torch.stft(sound, _WINDOW, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    mel = torch.from_numpy(_triangles()).to(sound.device) @ spectrum[:, :frames].abs()
    return mel.clamp(min=_LEAST).log().T


@cache
def _triangles() -> NDArray[np.float32]:
    """``[128, 513]``: triangles whose corners lie evenly on the mel scale (2595 log10(1 + f / 700), O'Shaughnessy
    1987), each scaled to an area of one (in Hz), so that noise of equal density is equal in all bands."""
    lowest, highest = 2595 * np.log10(1 + np.array([_LOW, _HIGH]) / 700)
    corners = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    bins = np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * 2 / (corners[2:] - corners[:-2])[:, None], np.float32)
