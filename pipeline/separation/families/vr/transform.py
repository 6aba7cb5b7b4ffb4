"""From a window of the song to the stacked spectra that VR networks hear, and back.

A window's lower bands are cut out of its Fourier transform: their rates are whole fractions of its length, so the
resampling is exact, has no delay, and runs on any device. The ends of a window, where that wraps around and spectra
see only half of what they should, lie in `MARGIN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from understudy.pipeline.separation.families.vr.bands import Band, Bands

if TYPE_CHECKING:
    from torch import Tensor

MARGIN = 8
"""Spectra at either end of a window that the network doesn't hear."""
_SLOPE = 0.94
"""Of a lower band's Nyquist frequency: from there on it fades out. What is heard of each lies lower."""


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
            if self.bands.reverse:  # each band's own samples: the networks learned it so
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
