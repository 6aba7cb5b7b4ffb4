"""Batches of clips of similar length, the same ones for the same seed and epoch, and the tensors of a batch."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.pitch import coarse_pitch
from understudy.voices.rvc.training.batch import Batch
from understudy.voices.rvc.training.dataset import Dataset
from understudy.voices.rvc.training.spectrogram import spectrogram

BUCKET = 75  # frames; RVC WebUI's buckets of "100" are of 75 frames of float32 sound


def batches(
    dataset: Dataset, batch_size: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[tuple[int, ...]]:
    """The batches of an epoch in their order, each of `batch_size` indices of training clips.

    Clips are drawn from buckets of similar length. A bucket smaller than a batch joins a neighbour, and each is filled
    up with some of its own clips again. Process `rank` of `world` gets every `world`-th batch, all processes equally
    many: the last ones may be repeated.
    """
    random = np.random.default_rng((seed, epoch))
    found: list[tuple[int, ...]] = []
    for members in _buckets(dataset, batch_size):
        shuffled = [members[place] for place in random.permutation(len(members))]
        count = -(-len(members) // batch_size)
        filled = (shuffled * -(-count * batch_size // len(members)))[: count * batch_size]
        found += [tuple(filled[at : at + batch_size]) for at in range(0, len(filled), batch_size)]
    ordered = [found[place] for place in random.permutation(len(found))]
    each = -(-len(ordered) // world)
    return [ordered[at % len(ordered)] for at in range(rank, each * world, world)]


def _buckets(dataset: Dataset, least: int) -> list[list[int]]:
    """The training clips, the longest first, in groups of at least so many if there are that many."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index in dataset.training:
        by_length[dataset.clips[index].frames // BUCKET].append(index)
    found: list[list[int]] = []
    for _, members in sorted(by_length.items(), reverse=True):
        if found and len(found[-1]) < least:
            found[-1] += members
        else:
            found.append(members)
    if len(found) > 1 and len(found[-1]) < least:
        last = found.pop()
        found[-1] += last
    return found


def collate(dataset: Dataset, indices: tuple[int, ...], architecture: Architecture, device: str = "cpu") -> Batch:
    """The clips as a `Batch` on `device`, longest first; all are of speaker 0."""
    order = sorted(indices, key=lambda index: -dataset.clips[index].frames)
    lengths = [dataset.clips[index].frames for index in order]
    longest = lengths[0]
    content, coarse, f0, magnitudes, sounds = [], [], [], [], []
    for index, frames in zip(order, lengths, strict=True):
        rest = longest - frames
        features = torch.from_numpy(np.repeat(dataset.content(index), 2, axis=0)[:frames])
        content.append(_padded(features.T, rest).T)
        sound = torch.from_numpy(dataset.sound(index)).to(device)
        sounds.append(_padded(sound, rest * architecture.hop))
        magnitudes.append(_padded(spectrogram(sound[None], architecture)[0], rest))
        if architecture.f0:
            hertz = dataset.f0(index)
            f0.append(_padded(torch.from_numpy(hertz), rest))
            coarse.append(_padded(torch.from_numpy(coarse_pitch(hertz)), rest))
    return Batch(
        content=torch.stack(content).to(device),
        coarse=torch.stack(coarse).to(device) if coarse else None,
        f0=torch.stack(f0).to(device) if f0 else None,
        spectrogram=torch.stack(magnitudes).to(device),
        sound=torch.stack(sounds)[:, None].to(device),
        lengths=torch.tensor(lengths, device=device),
        speaker=torch.zeros(len(order), dtype=torch.int64, device=device),
    )


def _padded(values: Tensor, frames: int) -> Tensor:
    """`values` with `frames` zeros after the last axis."""
    return torch.nn.functional.pad(values, (0, frames))
