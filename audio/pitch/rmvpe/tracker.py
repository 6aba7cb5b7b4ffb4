"""RMVPE as one of the trackers."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.rmvpe.mel import log_mel
from understudy.audio.pitch.rmvpe.network import Network, build
from understudy.audio.pitch.rmvpe.weights import read_weights
from understudy.audio.pitch.track import regrid
from understudy.audio.pitch.tracker import PitchSettings
from understudy.audio.samples import Samples
from understudy.errors import UnderstudyError
from understudy.models.warm import warm

WINDOW = 30.72  # seconds; a multiple of 0.32, so that all windows' frames fall together alike in the inner levels
MARGIN = 2.56  # seconds; about the length of the training examples (2.55), a multiple of 0.32 as well
_SURE = 0.06  # times `settings.confidence`: threshold of the salience; 0.03, its authors' threshold, at the default
_PRECISION = "float32"  # bfloat16 is nearly twice as fast, but moved 1 % of the frames across the threshold of voicing
_LOWEST = 1997.3794084376191  # cents above 10 Hz: 31.7 Hz, the lowest of the 360 pitches, which are 20 cents apart
_REACH = 4  # pitches on both sides of the strongest one over which the mean is taken
_running = Lock()


def track_rmvpe(sound: Samples, settings: PitchSettings, device: str, weights: Path | None) -> NDArray[np.float32]:
    """Raises `UnderstudyError` ``model-missing`` without `weights`, and what `read_weights` raises."""
    import torch

    network = _network(weights, device)
    frames = len(sound) // 80 + 1
    with _running, torch.inference_mode():  # one window at a time: it uses all of torch's threads
        salience = network(log_mel(torch.from_numpy(np.ascontiguousarray(sound)).to(device)))
    f0, certainty = decode(salience.cpu().numpy())
    certainty = np.where((f0 >= settings.low) & (f0 <= settings.high), certainty, 0)
    least = np.nextafter(np.float32(_SURE * settings.confidence), np.float32(1))  # the threshold itself is unvoiced
    return regrid(f0, certainty, least, least, 0.5, frames)


def _network(weights: Path | None, device: str) -> Network:
    import torch

    if weights is None:
        raise UnderstudyError(
            "model-missing",
            "The pitch tracker 'rmvpe' needs its weights (rmvpe.pt), and none were given.",
            "Get them with 'understudy models fetch rmvpe', or choose the tracker 'swift-f0', which needs none.",
        )
    try:
        state = weights.stat()
        key: Hashable = ("rmvpe", weights.resolve(), state.st_size, state.st_mtime_ns, device, _PRECISION)
    except OSError:
        key = ("rmvpe", weights)  # missing: reading it raises the error
    return warm(key, lambda: build(read_weights(weights), device, getattr(torch, _PRECISION)))


def decode(salience: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """f0 in Hz and its salience (0..1), ``[frames]`` each, also of unvoiced frames, from the salience of 360 pitches,
    ``[frames, 360]``.

    f0 is the mean of the most salient pitch and its four neighbours on both sides, in cents, weighted with their
    salience: its resolution is finer than their steps of 20 cents.
    """
    best = salience.argmax(axis=1)
    around = best[:, None] + np.arange(-_REACH, _REACH + 1)
    weights = np.take_along_axis(np.pad(salience, ((0, 0), (_REACH, _REACH))), around + _REACH, axis=1)
    cents = _LOWEST + 20 * (weights.astype(np.float64) * around).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-30)
    return 10 * 2 ** (cents / 1200), np.take_along_axis(salience, best[:, None], axis=1)[:, 0]
