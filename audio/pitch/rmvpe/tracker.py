"""RMVPE as one of the trackers."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.grid import regrid
from understudy.audio.pitch.rmvpe.decode import decode
from understudy.audio.pitch.rmvpe.mel import log_mel
from understudy.audio.pitch.rmvpe.network import Network, build
from understudy.audio.pitch.rmvpe.weights import read_weights
from understudy.audio.pitch.settings import PitchSettings
from understudy.audio.samples import Samples
from understudy.errors import UnderstudyError
from understudy.models.warm import warm

WINDOW = 30.72  # seconds; a multiple of 0.32, so that all windows' frames fall together alike in the inner levels
MARGIN = 2.56  # seconds; as much as the network heard at once in training (2.55), a multiple of 0.32 as well
_SURE = 0.06  # of the salience, times the asked confidence: 0.03, its authors' threshold, at the default
_PRECISION = "float32"  # bfloat16 is nearly twice as fast, but moved 1 % of the frames across the threshold of voicing
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
        key = ("rmvpe", weights)  # not there: reading it says so
    return warm(key, lambda: build(read_weights(weights), device, getattr(torch, _PRECISION)))
