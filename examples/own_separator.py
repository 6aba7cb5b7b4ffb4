"""Use a separation model of your own: a function from samples to stems.

    python examples/own_separator.py song.wav

This function takes the sum of left and right between 150 Hz and 8 kHz for the vocals. Yours may call any network.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import understudy as us


def center(samples: NDArray[np.float32], rate: int) -> dict[str, NDArray[np.float32]]:
    """`samples`: the song, float32 [channels, frames]; `rate` in Hz. The stems have the same shape."""
    spectrum = np.fft.rfft(samples.mean(axis=0))
    frequencies = np.fft.rfftfreq(samples.shape[1], 1 / rate)
    spectrum[(frequencies < 150) | (frequencies > 8000)] = 0
    vocals = np.fft.irfft(spectrum, samples.shape[1]).astype(np.float32)
    return {"vocals": np.broadcast_to(vocals, samples.shape)}


# Raise the version whenever the function gives other stems: they are cached under name and version.
us.register_separator("center", center, stems=["vocals"], version="1")

result = us.separate(sys.argv[1], settings={"separation.model": "center"})
print(result.stems["vocals"].path)  # the instrumental is what is left of the song

ensemble = us.separate(sys.argv[1], settings={"separation.model": "center+embedded"}, output="stems/ensemble")
print(ensemble.stems["vocals"].path)
