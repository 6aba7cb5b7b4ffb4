"""FCPE: a conformer network on mel spectrograms ("Fast Context-based Pitch Estimation", Luo et al. 2025), through the
optional package torchfcpe, which brings its weights (32.7 to 1975.5 Hz in 20-cent steps, every 10 ms)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from io import StringIO
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from understudy.audio.pitch.track import regrid
from understudy.audio.pitch.tracker import F0, PitchSettings
from understudy.audio.samples import Samples
from understudy.errors import UnderstudyError
from understudy.packages import require_package

_SURE = 0.1  # times `settings.confidence`: threshold of the network's likelihood (noise 0.01, a voice 0.7 and more)
_loading = Lock()


def track_fcpe(sound: Samples, settings: PitchSettings, device: str) -> F0:
    """Raises `UnderstudyError`: ``package-missing`` without torchfcpe, ``pitch-tracker-missing`` if it doesn't load."""
    frames = len(sound) // 80 + 1
    if len(sound) < 1024:
        return np.zeros(frames, np.float32)
    with _loading:
        model = _model(device)
    import torch

    with torch.inference_mode():
        wave = torch.from_numpy(sound).to(device).clamp(-1, 1)[None, :, None]
        likelihood = model.model(model.wav2mel(wave, 16000))[0]
        steps = model.model.cent_table
        # the mean of the nine steps around the likeliest, weighted with how likely they are
        certainty, best = likelihood.max(dim=-1)
        around = (best[:, None] + torch.arange(-4, 5, device=best.device)).clamp(0, len(steps) - 1)
        weights = likelihood.gather(-1, around)
        cents = (weights * steps[around]).sum(-1) / weights.sum(-1)
        f0 = (10 * 2 ** (cents / 1200)).float().cpu().numpy()
        sure = certainty.float().cpu().numpy()
    inside = np.where((f0 >= settings.low) & (f0 <= settings.high), sure, 0)
    return regrid(f0, inside, _SURE * settings.confidence, _SURE * settings.confidence, 0.5, frames)


@cache
def _model(device: str) -> Any:
    try:
        with redirect_stdout(StringIO()), _stand_in_for_torchaudio():
            return require_package("torchfcpe").spawn_bundled_infer_model(device=device)
    except OSError as error:
        raise UnderstudyError(
            "pitch-tracker-missing",
            f"The pitch tracker 'fcpe' doesn't load here ({error}).",
            "Choose the tracker 'swift-f0', which is always there.",
        ) from error


@contextmanager
def _stand_in_for_torchaudio() -> Iterator[None]:
    """torchfcpe imports torchaudio for a resampler that it needs at other rates than ours, and torchaudio's wheels load
    only beside the CUDA build of torch. While it is imported, an empty stand-in takes torchaudio's place."""
    names = ("torchaudio", "torchaudio.transforms")
    before = {name: sys.modules.get(name) for name in names}
    package, transforms = (ModuleType(name) for name in names)
    package.transforms = transforms  # type: ignore[attr-defined]
    transforms.Resample = object  # type: ignore[attr-defined]
    sys.modules.update(zip(names, (package, transforms), strict=True))
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
