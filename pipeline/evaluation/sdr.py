"""Two ratios of signal to error over a whole song, all channels together.

SDR is ``10 log10(sum s^2 / sum (s - e)^2)`` as the Music Demixing Challenge ranked its entries by (Mitsufuji et al.,
"Music Demixing Challenge 2021"), with its small constant in both sums, so that nothing divides by zero. SI-SDR is the
same with the truth scaled to the least squared error (Le Roux et al., 2019, "SDR - half-baked or well done?"), so that
a wrong gain doesn't count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.audio.samples import AudioSource
from understudy.context import Context

_DELTA = 1e-7
_LEAST = 1e-12  # of the estimate's power; keeps SI-SDR within 120 dB, whatever the gain
_BLOCK = 1 << 18  # frames
_SILENT = 1e-8  # mean square of -80 dBFS: a ratio means nothing for a stem that is silent


@dataclass(frozen=True)
class Ratios:
    """`sdr` and `si_sdr` in dB, None where the truth is silent (below -80 dBFS). `leak`: level of the estimate
    against the song, dB, which is meaningful for a silent truth, too; None for a silent song."""

    sdr: float | None
    si_sdr: float | None
    leak: float | None


def ratios(context: Context, truth: AudioSource, estimate: AudioSource, song: AudioSource) -> Ratios:
    """The ratios of sources with one rate and channel count, over as many frames as `song` has."""
    signal = product = noise = power = whole = 0.0
    for start in range(0, song.frames, _BLOCK):
        stop = min(start + _BLOCK, song.frames)
        parts = (source.read(start, stop).samples for source in (truth, estimate, song))
        wanted, found, mixed = (part.astype(np.float64) for part in parts)
        signal += float(np.vdot(wanted, wanted))
        product += float(np.vdot(wanted, found))
        power += float(np.vdot(found, found))
        noise += float(np.sum(np.square(wanted - found)))
        whole += float(np.vdot(mixed, mixed))
        context.progress(stop / song.frames)
    leak = 10 * float(np.log10((power + _DELTA) / whole)) if whole > 0 else None
    if signal <= _SILENT * song.frames * truth.channels:
        return Ratios(None, None, leak)
    sdr = 10 * float(np.log10((signal + _DELTA) / (noise + _DELTA)))
    near = product**2 / signal  # energy of the estimate's projection on the truth
    least = _LEAST * max(power, _DELTA)
    si_sdr = 10 * float(np.log10(max(near, least) / max(power - near, least)))
    return Ratios(sdr, si_sdr, leak)
