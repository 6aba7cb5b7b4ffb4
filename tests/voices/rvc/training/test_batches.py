"""The order of training, and the tensors of a batch."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.training_data import dataset_of, sung
from understudy.voices.rvc.architecture import tiny
from understudy.voices.rvc.pitch import coarse_pitch
from understudy.voices.rvc.training.batches import batches, collate
from understudy.voices.rvc.training.dataset import Clip, Dataset
from understudy.voices.rvc.training.slicing import Piece
from understudy.voices.rvc.training.spectrogram import spectrogram


def clips_of(frames: list[int]) -> Dataset:
    """A dataset of clips with these lengths alone."""
    clips = tuple(Clip(0, Piece(0, 2 * count, 1.0), count, 0) for count in frames)
    return Dataset((), clips, tuple(range(len(clips))), (), 16000)


LENGTHS = st.lists(st.integers(50, 400), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 12), st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_has_every_clip_and_hardly_any_twice(frames: list[int], size: int, seed: int, epoch: int) -> None:
    found = batches(clips_of(frames), size, seed, epoch)
    assert all(len(batch) == size for batch in found)
    counted = Counter(index for batch in found for index in batch)
    assert set(counted) == set(range(len(frames)))
    if len(frames) >= size:
        assert max(counted.values()) <= 2
    assert found == batches(clips_of(frames), size, seed, epoch)


@given(LENGTHS, st.integers(1, 6), st.integers(1, 5))
def test_several_processes_share_the_order_of_one(frames: list[int], size: int, world: int) -> None:
    dataset = clips_of(frames)
    whole = batches(dataset, size, 7, 3)
    parts = [batches(dataset, size, 7, 3, rank, world) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    joined = [parts[place % world][place // world] for place in range(len(parts[0]) * world)]
    assert joined[: len(whole)] == whole
    assert joined[len(whole) :] == whole[: len(joined) - len(whole)] or len(whole) < world


def test_epochs_and_seeds_differ_and_lengths_in_a_batch_do_not() -> None:
    dataset = clips_of([frames for frames in range(60, 400, 2)])
    first = batches(dataset, 8, 1, 0)
    assert first != batches(dataset, 8, 1, 1)
    assert first != batches(dataset, 8, 2, 0)
    spread = [max(lengths) - min(lengths) for batch in first for lengths in [[dataset.clips[i].frames for i in batch]]]
    assert max(spread) < 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    takes = [sung(12, seed=1), sung(5, seed=2), sung(5, seed=3)]
    return dataset_of(tmp_path_factory.mktemp("data"), takes)


def test_a_batch_holds_the_clips_longest_first(data: Dataset) -> None:
    architecture = tiny()
    chosen = data.training[:3]
    batch = collate(data, chosen, architecture)
    order = sorted(chosen, key=lambda index: -data.clips[index].frames)
    longest = data.clips[order[0]].frames
    assert batch.lengths.tolist() == [data.clips[index].frames for index in order]
    assert batch.content.shape == (3, longest, 768)
    assert batch.sound.shape == (3, 1, longest * architecture.hop)
    assert batch.coarse is not None
    assert batch.f0 is not None
    for row, index in enumerate(order):
        frames = data.clips[index].frames
        sound = data.sound(index)
        assert sound.shape == (frames * architecture.hop,)
        assert np.array_equal(batch.sound[row, 0, : len(sound)].numpy(), sound)
        assert torch.equal(
            batch.spectrogram[row, :, :frames], spectrogram(torch.from_numpy(sound)[None], architecture)[0]
        )
        f0 = data.f0(index)
        assert np.array_equal(batch.f0[row, :frames].numpy(), f0)
        assert np.array_equal(batch.coarse[row, :frames].numpy(), coarse_pitch(f0))
        content = batch.content[row, :frames]
        assert np.array_equal(content[::2].numpy(), data.content(index))
        assert torch.equal(content[::2][: frames // 2], content[1::2])
        for values, time in ((batch.content, 1), (batch.f0, 1), (batch.coarse, 1), (batch.spectrogram, 2)):
            assert not values[row].narrow(time - 1, frames, longest - frames).any()
        assert not batch.sound[row, 0, len(sound) :].any()


def test_models_without_pitch_get_none(tmp_path: Path) -> None:
    plain = dataset_of(tmp_path, [sung(12, seed=1)], version="v1", f0=False)
    batch = collate(plain, plain.training[:2], tiny("v1", f0=False))
    assert batch.f0 is None
    assert batch.coarse is None
    assert batch.content.shape[2] == 256
