"""Reverb: convolution with a synthetic room.

A room's late sound is, to the ear, noise that decays exponentially (Moorer, "About This Reverberation Business", 1979),
faster the higher the frequency, preceded by a few early reflections. That is what `room` makes, from a fixed seed. The
dry sound is not part of it: the caller mixes.
"""

from __future__ import annotations

import numpy as np

from understudy.audio.samples import Samples

LONGEST = 4.0  # seconds of decay time that a room can have; its response is no longer than that
_PRE_DELAY = 0.012  # seconds before the first reflection
_EARLY = 0.06  # seconds that reflections stand alone
_BANDS = (
    (0.0, 250.0, 1.0),
    (250.0, 2000.0, 1.0),
    (2000.0, 6000.0, 0.75),
    (6000.0, 1e9, 0.45),
)  # Hz, Hz, share of decay
_LOW_CUT = 150.0  # Hz


def room(rate: int, decay: float, seed: int) -> Samples:
    """A room's response ``[frames]`` that decays by 60 dB in `decay` seconds below 2 kHz and keeps the energy of sound
    from 250 to 2000 Hz, where a voice has most of its energy.

    Different seeds give responses that have nothing in common but their sound: two of them make a wide room.
    """
    from scipy.signal import butter, sosfiltfilt

    decay = min(max(decay, 0.1), LONGEST)
    frames = round((_PRE_DELAY + decay) * rate)
    random = np.random.default_rng(seed)
    noise = random.standard_normal(frames)
    time = np.maximum(np.arange(frames) / rate - _PRE_DELAY, 0.0)
    # sparse at first, dense later, as reflections come
    density = np.clip(time / _EARLY, 0.02, 1.0) ** 2
    sparse = np.where(random.random(frames) < density, noise / np.sqrt(density), 0.0)
    sparse[: round(_PRE_DELAY * rate)] = 0.0
    response = np.zeros(frames)
    for low, high, share in _BANDS:
        if low >= 0.45 * rate:
            continue
        band = sparse
        if low > 0:
            band = sosfiltfilt(butter(2, low, "highpass", fs=rate, output="sos"), band)
        if high < 0.45 * rate:
            band = sosfiltfilt(butter(2, high, "lowpass", fs=rate, output="sos"), band)
        response += band * 10 ** (-3 * time / (decay * share))
    response = sosfiltfilt(butter(1, _LOW_CUT, "highpass", fs=rate, output="sos"), response)
    response[: round(_PRE_DELAY * rate)] = 0.0  # filtering both ways rings ahead
    power = np.square(np.abs(np.fft.rfft(response)))
    frequency = np.fft.rfftfreq(frames, 1 / rate)
    result: Samples = (response / np.sqrt(power[(frequency > 250) & (frequency < 2000)].mean())).astype(np.float32)
    return result


def reverberate(samples: Samples, response: Samples) -> Samples:
    """`samples` ``[..., frames]`` convolved with `response`: same length, without the reverb of what came before."""
    from scipy.signal import oaconvolve

    wet: Samples = oaconvolve(samples, np.broadcast_to(response, (*samples.shape[:-1], len(response))), axes=-1)
    return wet[..., : samples.shape[-1]].astype(np.float32, copy=False)
