"""How long a step takes and how much memory it needs, measured with steps on clips of noise."""

from __future__ import annotations

import time

import torch

from understudy.models.memory import available_memory
from understudy.voices.rvc.architecture import Architecture, segment_frames, spectrum_bins
from understudy.voices.rvc.training.batch import Batch, draw
from understudy.voices.rvc.training.step import new_state, step
from understudy.voices.training.settings import TrainingSettings

USUAL = 4  # clips per step on a CPU; RVC's
MOST = 16  # clips per step that are chosen where memory allows more: larger batches learn less per clip
FRAMES = 370  # of a clip; most have that many
LONGEST = 400
GIB = 1 << 30


def seconds_per_step(architecture: Architecture, settings: TrainingSettings, device: str, size: int) -> float:
    """Wall time of a training step with `size` clips, the second of two. A network of full size on a CPU is measured
    with one clip, since a clip takes as long beside others."""
    measured = 1 if device.startswith("cpu") and settings.size == "full" else size
    state = new_state(architecture, settings, device)
    began = 0.0
    for number in range(2):
        began = time.monotonic()  # the first one also allocates memory
        batch = _noise(architecture, measured, FRAMES, device)
        step(state, batch, draw(batch, architecture, segment_frames(architecture), settings.seed, number))
    return (time.monotonic() - began) * size / measured


def fitting_batch(architecture: Architecture, settings: TrainingSettings, device: str) -> int:
    """Clips per step that fit into memory: on a CPU up to `USUAL`, on a GPU up to `MOST`."""
    if device.startswith("cuda"):
        return _fitting_gpu(architecture, settings, device)
    left = available_memory()
    if settings.size == "tiny" or left is None:
        return USUAL
    return max(1, min(USUAL, int((left / GIB - 2.5) / 1.3)))  # 4.5 GB with two clips, by RVC's own figure


def _fitting_gpu(architecture: Architecture, settings: TrainingSettings, device: str) -> int:
    """From the peaks of a step with one and with two of the longest clips."""
    state = new_state(architecture, settings, device)
    peaks = []
    try:
        for size in (1, 2):
            torch.cuda.reset_peak_memory_stats(device)
            batch = _noise(architecture, size, LONGEST, device)
            step(state, batch, draw(batch, architecture, segment_frames(architecture), settings.seed, size))
            peaks.append(torch.cuda.max_memory_reserved(device))
    except torch.OutOfMemoryError:
        return 1
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    per_clip = max(1, peaks[1] - peaks[0])
    return max(1, min(MOST, 1 + int((0.85 * free - peaks[0]) / per_clip)))


def _noise(architecture: Architecture, size: int, frames: int, device: str) -> Batch:
    a = architecture
    shape = (size, frames)
    return Batch(
        content=torch.randn(*shape, a.content_channels, device=device),
        coarse=torch.full(shape, 100, device=device) if a.f0 else None,
        f0=torch.full(shape, 200.0, device=device) if a.f0 else None,
        spectrogram=torch.rand(size, spectrum_bins(a.sample_rate), frames, device=device),
        sound=0.1 * torch.randn(size, 1, frames * a.hop, device=device),
        lengths=torch.full((size,), frames, device=device),
        speaker=torch.zeros(size, dtype=torch.int64, device=device),
    )
