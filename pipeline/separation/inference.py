"""`infer`: the stems of a song of any length by one network, in bounded memory.

The song is read window by window at the network's rate, several windows are computed as a batch, and their results are
overlapped and added: weighted by the network's fade and divided by the sum of the weights, so that the gain is one
whatever the layout. The part of the sums that no later window touches is written to disk; only the rest is held.
Averaging over small shifts of the song (Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation") and over
both polarities means more windows in the same sums.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, AudioWriter, write_blocks
from understudy.context import Context
from understudy.models.memory import available_memory
from understudy.pipeline.separation.layout import Place, shifted
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

CHANNELS = 2
LONGEST_SHIFT = 0.5
"""Largest shift of the song in seconds, for the average over shifts."""
MOST_AT_ONCE = 32
"""Largest batch: beyond it no GPU gets faster."""

_running = Lock()  # one batch at a time: it uses all of torch's threads


def infer(
    context: Context, network: Network, song: AudioSource, settings: InferenceSettings
) -> Mapping[str, AudioFile]:
    """The network's stems of `song` (any rate, one or two channels) by name, as files in `context.folder` with the
    song's rate, channels and length.

    Where memory runs out: smaller batches, then shorter windows, each with a warning; where a single shortest window
    doesn't fit, torch's ``OutOfMemoryError`` on a GPU, `MemoryError` on a CPU, where windows that can't fit aren't
    tried. Raises `Cancelled`.
    """
    for caution in network.cautions:
        context.warn(caution)
    adapted = _adapted(song, network.rate, context)
    network = _fitting(context, network)
    while True:
        try:
            found = _stems(context.part(0.02, 0.95), network, adapted, settings)
            break
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            shorter = network.shorter() if network.shorter else None
            if shorter is None:
                if network.device.startswith("cuda"):
                    raise
                raise MemoryError("a window of the song doesn't fit into memory") from error
        network = _shortened(context, network, shorter)  # begins again: the windows lie elsewhere now
    stems = {}
    for number, (name, stem) in enumerate(found.items()):
        part = context.part(0.95 + 0.05 * number / len(found), 0.95 + 0.05 * (number + 1) / len(found))
        stems[name] = _like(song, stem, context.folder / f"{name}.npy", part)
    for leftover in context.folder.glob("*.inference.npy"):
        leftover.unlink()
    return stems


def _fitting(context: Context, network: Network) -> Network:
    """On a CPU, the network with windows that fit into the available memory. (A full GPU raises an error in time.)"""
    left = None if network.device.startswith("cuda") else available_memory()
    while left is not None and network.working > left and network.shorter is not None:
        network = _shortened(context, network, network.shorter())
    return network


def _shortened(context: Context, network: Network, shorter: Network) -> Network:
    _make_room(network.device)
    context.warn(
        f"There is too little memory {_where(network.device)}, so the song is separated in windows of "
        f"{shorter.window / shorter.rate:.1f} instead of {network.window / network.rate:.1f} seconds."
    )
    return shorter


def _out_of_memory(error: RuntimeError) -> bool:
    """torch has a class of error for a full GPU; for the CPU's memory there is only a message."""
    return type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)


def _make_room(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _where(device: str) -> str:
    return "on the GPU" if device.startswith("cuda") else "left"


def _adapted(song: AudioSource, rate: int, context: Context) -> AudioSource:
    if song.rate == rate:
        return song
    blocks = resample_blocks(song, rate, context.part(0.0, 0.02))
    return write_blocks(context.folder / "song.inference.npy", rate, song.channels, blocks)


def _mean(block: Audio) -> Audio:
    """The mean of the channels: as the networks were trained, and stems keep their sum."""
    return Audio(block.samples.mean(axis=0, keepdims=True, dtype=np.float32), block.rate)


def _like(song: AudioSource, stem: AudioFile, path: Path, context: Context) -> AudioFile:
    """`stem` (two channels, the network's rate) with the song's rate, channels and length, at `path`."""
    if stem.rate == song.rate and song.channels == CHANNELS:
        return AudioFile.open(stem.path.rename(path), stem.rate)
    blocks = resample_blocks(stem, song.rate, context, song.frames)
    return write_blocks(
        path, song.rate, song.channels, (block if song.channels > 1 else _mean(block) for block in blocks)
    )


def _stems(
    context: Context, network: Network, song: AudioSource, settings: InferenceSettings
) -> Mapping[str, AudioFile]:
    """The stems at the network's rate, two channels each."""
    scale = _scale(context, song, network)
    step = network.step
    if settings.overlap is not None:
        step = max(1, round(network.window * (1 - settings.overlap)))
    places = list(_places(network, song.frames, step, settings.shifts))
    at_once = settings.batch or _batch(network)
    files = {name: context.folder / f"{name}.inference.npy" for name in network.stems}
    with ExitStack() as stack:
        writers = [stack.enter_context(AudioWriter(path, network.rate, CHANNELS)) for path in files.values()]
        added = _OverlapAdd(network.fade.numpy(), len(network.stems))
        done = 0
        while done < len(places):
            batch = places[done : done + at_once]
            windows = torch.from_numpy(np.stack([_window(song, place, network.window, scale) for place in batch]))
            try:
                with _running, torch.inference_mode():
                    results = _separate(network, windows.to(network.device), settings.polarity)
            except RuntimeError as error:
                if len(batch) == 1 or not _out_of_memory(error):
                    raise  # `infer` goes on with shorter windows
                at_once = len(batch) // 2
                _make_room(network.device)
                context.warn(
                    f"There is too little memory {_where(network.device)}, so {at_once} instead of {len(batch)} "
                    f"windows go at once."
                )
                continue
            # results [batch, stems, 2, window]; what lies before the next window's beginning is finished
            for place, result in zip(batch, results.float().cpu().numpy(), strict=True):
                added.add(place, result)
            done += len(batch)
            until = places[done].first if done < len(places) else song.frames
            finished = scale.undone(added.taken(until))
            for writer, samples in zip(writers, finished, strict=True):
                writer.write(Audio(samples, network.rate))
            context.progress(done / len(places))
    return {name: AudioFile.open(path, network.rate) for name, path in files.items()}


def _separate(network: Network, windows: Tensor, polarity: bool) -> Tensor:
    results = network.separate(windows)
    return (results - network.separate(-windows)) / 2 if polarity else results


def _places(network: Network, frames: int, step: int, shifts: int) -> Iterator[Place]:
    """All windows in order. Shifts are spread evenly, not drawn at random: the same settings give the same bytes."""
    longest = round(LONGEST_SHIFT * network.rate)
    passes = []
    for number in range(shifts):
        offset = number * longest // shifts  # as if so much silence preceded the song
        passes.append(shifted(network.layout(frames + offset, network.window, step), offset, frames))
    # in the order of the song, so that all passes finish a stretch of it at about the same time
    return heapq.merge(*passes, key=lambda place: place.first)


def _window(song: AudioSource, place: Place, frames: int, scale: _Scale) -> Samples:
    """A window of the song as the network's input, ``[2, frames]``."""
    samples = song.read(place.start, place.start + frames).samples
    inside = slice(max(0, -place.start), max(0, min(frames, song.frames - place.start)))
    wanted = np.zeros((CHANNELS, frames), np.float32)
    wanted[:, inside] = scale.done(samples[:, inside])  # around the song there is silence, whatever its mean
    return wanted


def _batch(network: Network) -> int:
    """The number of windows that fit into the GPU's free memory. On a CPU a batch of more than one is no faster."""
    if not network.device.startswith("cuda"):
        return 1
    free, _ = torch.cuda.mem_get_info(network.device)
    return int(max(1, min(MOST_AT_ONCE, 0.8 * free / network.working)))


@dataclass(frozen=True)
class _Scale:
    """The network's input is ``(samples - mean) / deviation``."""

    mean: float = 0.0
    deviation: float = 1.0

    def done(self, samples: Samples) -> Samples:
        return (samples - np.float32(self.mean)) / np.float32(self.deviation)

    def undone(self, samples: Samples) -> Samples:
        return samples * np.float32(self.deviation) + np.float32(self.mean)


def _scale(context: Context, song: AudioSource, network: Network, block: int = 1 << 20) -> _Scale:
    # statistics of the entire song, not of each window, whose loudness would then change from one to the next
    if network.peak is not None:
        return _Scale(0.0, _peak(context, song, network, network.peak) or 1.0)
    if network.normalise == "none":
        return _Scale()
    count, total, squares = song.frames, 0.0, 0.0
    for start in range(0, count, block):
        mono = _mean(song.read(start, min(start + block, count))).samples.astype(np.float64)
        total += float(mono.sum())
        squares += float((mono**2).sum())
    mean = total / max(1, count)
    deviation = max(0.0, (squares - count * mean**2) / max(1, count - 1)) ** 0.5  # as torch.std
    return _Scale(mean, deviation if deviation > 1e-8 else 1.0)


def _peak(context: Context, song: AudioSource, network: Network, peak: Callable[[Tensor], float]) -> float:
    found = 0.0
    with torch.inference_mode():
        for place in network.layout(song.frames, network.window, network.step):
            context.progress(0.0)
            window = torch.from_numpy(_window(song, place, network.window, _Scale())[None])
            found = max(found, peak(window.to(network.device)))
    return found


class _OverlapAdd:
    """Overlap-add of weighted windows; only the part that is not yet finished is held. Sums ``[stems, 2, n]`` and the
    sums of their weights ``[n]`` begin at the song's frame `_begin`."""

    def __init__(self, fade: Samples, stems: int) -> None:
        self._fade = fade
        self._begin = 0
        self._sums = np.zeros((stems, CHANNELS, 0), np.float32)
        self._weights = np.zeros(0, np.float32)

    def add(self, place: Place, result: Samples) -> None:
        """`result`: ``[stems, 2, window]``."""
        first = place.first - self._begin
        missing = first + place.frames - self._weights.size
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, 0), (0, missing)))
            self._weights = np.pad(self._weights, (0, missing))
        weight = self._fade[place.faded : place.faded + place.frames]
        self._sums[:, :, first : first + place.frames] += result[:, :, place.skip : place.skip + place.frames] * weight
        self._weights[first : first + place.frames] += weight

    def taken(self, until: int) -> Samples:
        """``[stems, 2, n]``: what is finished up to the song's frame `until`, which then is no longer held."""
        count = until - self._begin
        finished: Samples = self._sums[:, :, :count] / self._weights[:count]
        self._sums, self._weights = self._sums[:, :, count:].copy(), self._weights[count:].copy()
        self._begin = until
        return finished
