"""An index from features: the file that RVC's trainers make of the same vectors in the same order."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.context import Context, scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.rvc import index_building
from understudy.voices.rvc.index import IndexFile, check_index, open_index
from understudy.voices.rvc.index_building import Features, build_index
from understudy.voices.rvc.retrieval import open_retrieval


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def clips(*lengths: int, dimension: int = 256, seed: int = 0) -> list[Features]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((length, dimension), np.float32) for length in lengths]


def stored(path: Path) -> Features:
    """All vectors of an index by their ids."""
    index = open_index(path)
    index.make_direct_map()
    vectors: Features = index.reconstruct_n(0, index.ntotal)
    return vectors


def test_it_is_the_file_that_faiss_itself_makes(tmp_path: Path, context: Context) -> None:
    import faiss

    features = clips(400, 1300, 800, dimension=768)
    found = build_index(features, tmp_path / "own.index", context)
    assert found == IndexFile(768, 2500, 64, 1)  # 2500 // 39
    vectors = np.concatenate(features)[np.random.default_rng(1234).permutation(2500)]
    index = faiss.index_factory(768, "IVF64,Flat")
    faiss.extract_index_ivf(index).nprobe = 1
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "faiss.index"))
    assert (tmp_path / "own.index").read_bytes() == (tmp_path / "faiss.index").read_bytes()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(0, 5))
def test_every_vector_is_in_it_once(lengths: list[int], seed: int) -> None:
    features = clips(*lengths, seed=seed)
    with scratch_context() as context:
        path = context.folder / "own.index"
        found = build_index(features, path, context, seed)
        data = path.read_bytes()
        assert found == check_index(path)
        count = sum(lengths)
        assert (found.vectors, found.lists) == (count, max(1, min(int(16 * count**0.5), count // 39)))
        given = np.concatenate(features)
        assert sorted(map(bytes, stored(path))) == sorted(map(bytes, given))
        build_index(features, path, context, seed)
        assert path.read_bytes() == data
        # a search for a stored vector gives that vector
        near = open_retrieval(path, 256).neighbours(given[:3])
        assert np.allclose(near, given[:3], atol=1e-6)


def test_above_the_limit_centres_stand_for_the_vectors(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_building, "MOST", 3000)
    monkeypatch.setattr(index_building, "CENTRES", 100)
    monkeypatch.setattr(index_building, "BATCH", 500)
    random = np.random.default_rng(1)
    places = random.standard_normal((10, 256)).astype(np.float32)
    features = [place + random.normal(0, 0.01, (400, 256)).astype(np.float32) for place in places]
    fractions: list[float] = []
    counting = Context(tmp_path, on_progress=fractions.append)
    assert build_index(features, tmp_path / "own.index", counting) == IndexFile(256, 100, 2, 1)
    assert fractions == sorted(fractions)
    distances = np.linalg.norm(stored(tmp_path / "own.index")[:, None] - places[None], axis=2)
    assert distances.min(axis=1).max() < 0.2  # every centre lies within a cluster: its vectors are 0.16 from the middle
    assert distances.min(axis=0).max() < 0.2  # and every cluster has one
    data = (tmp_path / "own.index").read_bytes()
    build_index(features, tmp_path / "own.index", context)
    assert (tmp_path / "own.index").read_bytes() == data


def test_centres_are_the_means_of_what_is_nearest(context: Context) -> None:
    vectors = np.repeat(np.eye(4, 256, dtype=np.float32) * 10, 500, axis=0)
    vectors[4:] += np.tile(np.array([0.5, -0.5], np.float32), 998)[:, None]
    vectors = np.concatenate([vectors[[0, 500, 1000, 1500]], np.delete(vectors, [0, 500, 1000, 1500], axis=0)])
    found = index_building.centres(lambda start, stop: vectors[start:stop].copy(), len(vectors), 4, context)
    assert np.allclose(found, np.eye(4, 256) * 10, atol=0.02)


def test_a_cancelled_or_failed_build_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.index"
    path.write_bytes(b"old")
    cancelled = Context(tmp_path)
    cancelled.cancelled.set()
    with pytest.raises(Cancelled):
        build_index(clips(100), path, cancelled)
    bad = clips(100)
    bad[0][7, 7] = np.inf
    with pytest.raises(UnderstudyError) as refused:
        build_index(bad, path, Context(tmp_path))
    assert refused.value.code == "features-not-finite"
    opened = Path.open

    class Full:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = opened(path, mode)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(UnderstudyError) as refused:
        build_index(clips(100), path, Context(tmp_path))
    assert refused.value.code == "disk-full"
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["own.index"]
