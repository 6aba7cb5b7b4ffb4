"""`Audio`: float32 samples with their rate, the one in-memory form of sound in this program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError

Samples = NDArray[np.float32]

_SHARE = 0.65  # of the energy that a sum of channels must hold; without correlation two channels' sums hold half


class AudioSource(Protocol):
    """Anything that sound can be read from by position: an `Audio` in memory or an `AudioFile` on disk.

    Functions that must work on songs of any length take an `AudioSource` and read it window by window.
    """

    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def frames(self) -> int: ...
    def read(self, start: int = 0, stop: int | None = None) -> Audio: ...


class View:
    """Base of sources that are computed from `source` as they are read: its rate, channels and length."""

    source: AudioSource

    @property
    def rate(self) -> int:
        return self.source.rate

    @property
    def channels(self) -> int:
        return self.source.channels

    @property
    def frames(self) -> int:
        return self.source.frames


class InvalidAudio(UnderstudyError, ValueError):
    """An array that isn't sound, ``array-invalid``. Also a `ValueError`, as is usual for a wrong argument."""

    def __init__(self, message: str) -> None:
        hint = "Pass float32 samples [channels, frames], full scale ±1; integers divided by their full scale."
        super().__init__("array-invalid", f"{message}.", hint)

    def __reduce__(self) -> tuple[type[InvalidAudio], tuple[str]]:  # type: ignore[override]
        return type(self), (self.message.removesuffix("."),)


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound in memory.

    `samples`: float32 ``[channels, frames]``. Full scale is ±1; larger values are legal and are not clipped. `rate`:
    frames per second in Hz. Raises `InvalidAudio` for any other dtype or shape; `of` converts other floats.
    """

    samples: Samples
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise InvalidAudio(f"Audio wants float32 [channels, frames], got {self.samples.dtype} {self.samples.shape}")
        if self.rate <= 0:
            raise InvalidAudio(f"Audio wants a positive rate, got {self.rate}")

    @staticmethod
    def of(samples: NDArray[np.floating] | Sequence[float], rate: int) -> Audio:
        """Audio from any float array: 1-D becomes mono ``[1, frames]``, other dtypes become float32."""
        array = np.asarray(samples, dtype=np.float32)
        return Audio(np.ascontiguousarray(array[None] if array.ndim == 1 else array), rate)

    @staticmethod
    def silence(channels: int, frames: int, rate: int) -> Audio:
        return Audio(np.zeros((channels, frames), np.float32), rate)

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """Frames ``start:stop`` as a view; positions before 0 or past the end read as silence."""
        stop = max(start, self.frames if stop is None else stop)
        inside = self.samples[:, max(0, start) : max(0, min(stop, self.frames))]
        before = min(max(0, -start), stop - start)
        after = max(0, stop - start - before - inside.shape[1])
        if before or after:
            inside = np.pad(inside, ((0, 0), (before, after)))
        return Audio(inside, self.rate)

    def mono(self) -> Audio:
        """All channels folded to one by their `fold_weights`, ``[1, frames]``; NaN and infinity become 0 in stereo.

        For a piece of a longer sound, `understudy.audio.downmix.fold` takes weights that are the same throughout.
        """
        if self.channels == 1:
            return self
        samples = finite(self.samples)
        return Audio(fold_weights(covariance(samples))[None] @ samples, self.rate)


def finite(samples: Samples) -> Samples:
    """`samples` with 0 in place of NaN and infinite values."""
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0)


def covariance(samples: Samples) -> NDArray[np.float64]:
    """Sums over all frames of the products of all pairs of channels, ``[channels, channels]``; finite samples."""
    double = samples.astype(np.float64)
    return np.asarray(double @ double.T)


def fold_weights(products: NDArray[np.float64]) -> Samples:
    """The weights ``[channels]`` with which channels fold to mono without cancelling; their absolute values sum to 1.
    `products`: the channels' `covariance`.

    The mean, if it holds `_SHARE` of the energy that channels of one sound would give it: the rule for ordinary stereo.
    Else the first principal component, if that holds as much: the difference for a channel in reversed polarity, one
    side for a sound there. Else the loudest channel alone: of two takes, or of a copy that is delayed by a millisecond,
    every sum is a comb filter.
    """
    channels = len(products)
    mean = np.full(channels, 1 / channels)
    if channels == 1 or channels * mean @ products @ mean >= _SHARE * np.trace(products):
        return np.asarray(mean, np.float32)
    chosen = strongest_direction(products)
    if chosen[int(np.argmax(np.abs(chosen)))] < 0:
        chosen = -chosen
    return np.asarray(chosen / np.abs(chosen).sum(), np.float32)


def strongest_direction(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first principal component of channels with this `covariance`, of length 1 ``[channels]``; the loudest channel
    alone where that component holds less than `_SHARE` of the energy."""
    energies, directions = np.linalg.eigh(products)
    if energies[-1] < _SHARE * energies.sum():
        return np.asarray(np.eye(len(products))[int(np.argmax(np.diag(products)))], np.float64)
    return np.asarray(directions[:, -1])


def read_blocks(source: AudioSource, frames: int) -> Iterator[Audio]:
    """All of `source` in order, in blocks of `frames` frames; the last one may be shorter."""
    for start in range(0, source.frames, frames):
        yield source.read(start, min(start + frames, source.frames))


def concatenate(parts: Sequence[Audio]) -> Audio:
    """Parts one after the other; all must share rate and channels. At least one part."""
    if len({(part.rate, part.channels) for part in parts}) != 1:
        raise ValueError("concatenate wants one rate and one channel count")
    return Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)
