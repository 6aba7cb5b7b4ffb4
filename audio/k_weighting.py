"""K-weighting and loudness from energies, after ITU-R BS.1770-4.

`understudy.audio.loudness` measures one finished sound. This module is for decisions before mixing. The key idea: with
stems x_i and gains g_i, the power of the mix is the sum over i and j of ``g_i g_j <x_i x_j>``. So the products of all
pairs of K-weighted stems are measured once per block, and the loudness of any mix follows without filtering again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.context import Context

HOP = 0.1  # seconds per block of energy
_WARM_UP = 0.5  # seconds; the high-pass has decayed by more than 100 dB then
_WINDOW = 10.0  # seconds read at a time


def k_weighting(rate: int) -> NDArray[np.float64]:
    """The filter as second-order sections ``[2, 6]``: a shelf of +4 dB above 1.7 kHz and a high-pass at 38 Hz.

    The standard gives coefficients for 48 kHz. These are computed from the corresponding analogue filters by the
    bilinear transform, and so hold for any rate.
    """
    shelf_k = np.tan(np.pi * 1681.974450955533 / rate)
    shelf_q, high, band = (
        0.7071752369554196,
        10 ** (3.999843853973347 / 20),
        10 ** (3.999843853973347 / 20 * 0.4996667741545416),
    )
    norm = 1 + shelf_k / shelf_q + shelf_k**2
    shelf = [
        (high + band * shelf_k / shelf_q + shelf_k**2) / norm,
        2 * (shelf_k**2 - high) / norm,
        (high - band * shelf_k / shelf_q + shelf_k**2) / norm,
        1.0,
        2 * (shelf_k**2 - 1) / norm,
        (1 - shelf_k / shelf_q + shelf_k**2) / norm,
    ]
    pass_k, pass_q = np.tan(np.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1 + pass_k / pass_q + pass_k**2
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (pass_k**2 - 1) / norm, (1 - pass_k / pass_q + pass_k**2) / norm]
    return np.array([shelf, high_pass])


def power_response(frequencies: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """What the filter does to the power at `frequencies` in Hz, linear."""
    delay = np.exp(-2j * np.pi * np.asarray(frequencies, np.float64) / rate)  # of one sample
    powers = np.stack([np.ones_like(delay), delay, delay**2])
    sections = k_weighting(rate)
    response = (sections[:, :3] @ powers) / (sections[:, 3:] @ powers)
    return np.asarray(np.square(np.abs(response.prod(axis=0))))


def k_weighted(window: Audio) -> Samples:
    """The samples of `window`, K-weighted, ``[channels, frames]``."""
    from scipy.signal import sosfilt

    weighted: Samples = sosfilt(k_weighting(window.rate).astype(np.float32), window.samples, axis=1)
    return weighted


def energies(sources: Sequence[AudioSource], context: Context) -> NDArray[np.float64]:
    """Products of all pairs of `sources` per block, float64 ``[blocks, sources, sources]``.

    Element ``[b, i, j]`` is the mean over block b (`HOP` seconds) of the product of sources i and j, K-weighted and
    summed over channels. The sources have one rate, and either 1 channel or the most that any of them has; a mono
    source counts in every channel. As long as the longest source; a last part shorter than a block is left out.
    """
    rate = sources[0].rate
    channels = max(source.channels for source in sources)
    frames = max(source.frames for source in sources)
    hop = round(HOP * rate)
    blocks = frames // hop
    result = np.zeros((blocks, len(sources), len(sources)))
    step, warm_up = round(_WINDOW / HOP), round(_WARM_UP / HOP) * hop
    for first in range(0, blocks, step):
        last = min(first + step, blocks)
        weighted = []
        for source in sources:
            window = k_weighted(source.read(first * hop - warm_up, last * hop))[:, warm_up:]
            weighted.append(np.broadcast_to(window, (channels, window.shape[1])).reshape(channels, last - first, hop))
        for i, one in enumerate(weighted):
            for j, other in enumerate(weighted[: i + 1]):
                # the matrix is symmetric: each pair is computed once
                shared = np.einsum("cbh,cbh->b", one, other, dtype=np.float64, optimize=False) / hop
                result[first:last, i, j] = result[first:last, j, i] = shared
        context.progress(last / blocks)
    return result


def mixed_loudness(shared: NDArray[np.float64], gains: Sequence[float]) -> float | None:
    """Integrated loudness in LUFS of the sources mixed with linear `gains`; None where nothing passes the gate.

    `shared` comes from `energies`. Gating: 400 ms every 100 ms, above -70 LUFS and above their mean less 10 LU.
    """
    factors = np.asarray(gains, np.float64)
    power = np.maximum(np.einsum("bij,i,j->b", shared, factors, factors), 0.0)
    if len(power) < 4:
        return None
    total = np.cumsum(np.concatenate([[0.0], power]))
    blocks = np.maximum(total[4:] - total[:-4], 0.0) / 4
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if not len(loud):
        return None
    loud = loud[loud > loud.mean() * 0.1]
    return float(-0.691 + 10 * np.log10(loud.mean()))
