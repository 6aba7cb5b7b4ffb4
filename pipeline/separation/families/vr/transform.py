"""From a window of the song to the stacked spectra that VR networks take, and back.

Each band has a sample rate of its own. A window is a whole number of hops of every band, so a lower rate's samples are
the inverse transform of the lowest part of the window's Fourier transform: this resampling is exact, has no delay and
runs on any device. It wraps around at the window's ends, where spectra also cover only half of a frame; both stay
within `MARGIN` spectra, which the network doesn't get.

    window [2, frames] -> per band: resample, mix channels, STFT, crop -> stack along the bins -> [2, bins + 1, spectra]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.pipeline.separation.families.vr.bands import Band, Bands

MARGIN = 8
"""Spectra at either end of a window that are not part of the network's input."""
_SLOPE = 0.94
"""Share of a lower band's Nyquist frequency above which it fades out. The bins used of each band lie lower."""


@dataclass(frozen=True, eq=False)
class Transform:
    """`bands` in windows of ``spectra + 2 * MARGIN`` hops on `device`."""

    bands: Bands
    spectra: int
    device: str

    @property
    def window(self) -> int:
        return (self.spectra + 2 * MARGIN) * self.bands.hop

    def analyse(self, windows: Tensor) -> Tensor:
        """``[batch, 2, window]`` -> complex ``[batch, 2, bins + 1, spectra + 2 * MARGIN + 1]``."""
        whole = torch.fft.rfft(windows)
        stacked = []
        for band in self.bands.bands:
            sound = windows if band.rate == self.bands.rate else self._lowered(whole, band)
            sound = torch.einsum("os,bsn->bon", self._tensor(band.sides), sound)
            if self.bands.reverse:  # of each band by itself: as in training
                sound = sound.flip(-1)
            spectra = torch.stft(
                sound.reshape(-1, sound.shape[-1]),
                band.n_fft,
                band.hop,
                window=self._hann(band),
                pad_mode="constant",
                return_complex=True,
            )
            spectra = spectra.reshape(*sound.shape[:2], *spectra.shape[1:])
            stacked.append(spectra[:, :, band.low : band.high])
        # the bands' bins one above the other; zeros up to the size that the network takes
        missing = self.bands.bins + 1 - sum(part.shape[2] for part in stacked)
        stacked.append(stacked[-1].new_zeros(*stacked[-1].shape[:2], missing, stacked[-1].shape[3]))
        return torch.cat(stacked, 2) * self._tensor(self.bands.tilt)[:, None]

    def synthesise(self, stacked: Tensor) -> Tensor:
        """Complex ``[batch, 2, bins + 1, spectra + 2 * MARGIN + 1]`` -> ``[batch, 2, window]``."""
        batch = stacked.shape[0]
        whole = stacked.new_zeros(batch, 2, self.window // 2 + 1)
        first = 0
        for band in self.bands.bands:
            count = band.high - band.low
            spectra = stacked.new_zeros(batch, 2, band.n_fft // 2 + 1, stacked.shape[3])
            spectra[:, :, band.low : band.high] = stacked[:, :, first : first + count]
            spectra *= self._tensor(band.back)[:, None]
            first += count
            length = self._length(band)
            sound = torch.istft(
                spectra.reshape(-1, *spectra.shape[2:]), band.n_fft, band.hop, window=self._hann(band), length=length
            ).reshape(batch, 2, length)
            sound = torch.einsum("so,bon->bsn", torch.linalg.inv(self._tensor(band.sides)), sound)
            if self.bands.reverse:
                sound = sound.flip(-1)
            # back to the song's rate: the band's transform is the lowest part of the window's
            raised = torch.fft.rfft(sound)[..., : length // 2]
            whole[..., : raised.shape[-1]] += raised * (self.window / length)
        found: Tensor = torch.fft.irfft(whole, self.window)
        return found

    def _lowered(self, whole: Tensor, band: Band) -> Tensor:
        length = self._length(band)
        kept = length // 2 + 1
        slope = torch.arange(kept, device=self.device) / (kept - 1)
        curve = (0.5 + 0.5 * torch.cos(torch.pi * (slope - _SLOPE) / (1 - _SLOPE))).where(slope > _SLOPE, 1.0)
        lowered: Tensor = torch.fft.irfft(whole[..., :kept] * (curve * (length / self.window)), length)
        return lowered

    def _length(self, band: Band) -> int:
        return (self.spectra + 2 * MARGIN) * band.hop

    def _hann(self, band: Band) -> Tensor:
        return torch.hann_window(band.n_fft, device=self.device)

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)
