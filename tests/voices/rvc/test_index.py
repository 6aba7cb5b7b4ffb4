"""Index files: what trainers write is taken and searched as they do; faiss never sees what isn't sound to the byte."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from tests.support.rvc_files import write_random_index
from understudy.errors import UnderstudyError
from understudy.voices.rvc.index import IndexFile, check_index, open_index

HEADER = 4 + 33  # fourcc, header


def refusal(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as refused:
        check_index(path)
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message
    return refused.value


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_random_index(tmp_path_factory.mktemp("index") / "a.index", vectors=200).read_bytes()


def test_what_trainers_write(tmp_path: Path) -> None:
    assert check_index(write_random_index(tmp_path / "a.index", "v2", 2000)) == IndexFile(768, 2000, 51, 1)
    assert check_index(write_random_index(tmp_path / "a.index", "v1", 40)) == IndexFile(256, 40, 1, 1)
    assert check_index(write_random_index(tmp_path / "a.index", "v1", 1)) == IndexFile(256, 1, 1, 1)


def test_most_lists_may_be_empty(tmp_path: Path) -> None:
    """faiss writes them in another form then."""
    features = np.random.default_rng(0).standard_normal((400, 256), np.float32)
    index = faiss.index_factory(256, "IVF100,Flat")
    index.train(features)
    index.add(features[:5])
    faiss.write_index(index, str(tmp_path / "a.index"))
    assert b"sprs" in (tmp_path / "a.index").read_bytes()
    assert check_index(tmp_path / "a.index") == IndexFile(256, 5, 100, 1)


def test_what_is_opened_is_searched_as_stored(tmp_path: Path) -> None:
    path = write_random_index(tmp_path / "a.index", "v1", 300, seed=3)
    features = np.random.default_rng(3).standard_normal((300, 256), np.float32)
    index = open_index(path)
    assert (index.ntotal, index.d) == (300, 256)
    distances, nearest = index.search(features[:20], 1)
    assert nearest[:, 0].tolist() == list(range(20))
    np.testing.assert_allclose(distances, 0, atol=1e-3)
    np.testing.assert_array_equal(index.reconstruct_n(0, 300), features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "metric", "vectors", "code"),
    [
        ("IVF4,Flat", faiss.METRIC_L2, 0, "index-empty"),
        ("IVF4,Flat", faiss.METRIC_INNER_PRODUCT, 200, "index-unsupported"),
        ("IVF4,Flat", faiss.METRIC_L1, 200, "index-unsupported"),
        ("Flat", faiss.METRIC_L2, 200, "index-unsupported"),
        ("IVF4,SQ8", faiss.METRIC_L2, 200, "index-unsupported"),
        ("IVF4,PQ8x4", faiss.METRIC_L2, 200, "index-unsupported"),
        ("HNSW8,Flat", faiss.METRIC_L2, 200, "index-unsupported"),
        ("PCA8,IVF4,Flat", faiss.METRIC_L2, 200, "index-unsupported"),
        ("IVF4_HNSW4,Flat", faiss.METRIC_L2, 200, "index-unsupported"),
    ],
)
def test_other_kinds_of_indexes(kind: str, metric: int, vectors: int, code: str, tmp_path: Path) -> None:
    features = np.random.default_rng(0).standard_normal((200, 256), np.float32)
    index = faiss.index_factory(256, kind, metric)
    index.train(features)
    index.add(features[:vectors])
    faiss.write_index(index, str(tmp_path / "a.index"))
    error = refusal(tmp_path / "a.index")
    assert error.code == code
    if code == "index-empty":
        assert "trained_" in error.message
        assert "added_" in error.hint


def test_features_of_another_width(tmp_path: Path) -> None:
    index = faiss.index_factory(512, "IVF1,Flat")
    index.train(np.ones((1, 512), np.float32))
    index.add(np.ones((1, 512), np.float32))
    faiss.write_index(index, str(tmp_path / "a.index"))
    assert "512" in refusal(tmp_path / "a.index").message


def test_a_map_of_vectors_is_not_needed(tmp_path: Path, good: bytes) -> None:
    index: Any = faiss.deserialize_index(np.frombuffer(good, np.uint8))
    index.make_direct_map()
    faiss.write_index(index, str(tmp_path / "a.index"))
    assert refusal(tmp_path / "a.index").code == "index-unsupported"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data + b"\0", "cut off, or something follows"),
        (lambda data: data[:60], "its header gives"),
        (lambda data: data[:5000], "cut off"),
        (lambda data: data[:4], "cut off"),
        (lambda data: put(data, 8, "<q", 1 << 40), "its header gives"),
        (lambda data: put(data, 8, "<q", -1), "its header gives"),
        (lambda data: put(data, 8, "<q", 199), "add up"),
        (lambda data: put(data, 32, "<B", 7), "its header gives"),
        (lambda data: put(data, 37, "<Q", 1 << 50), "lists"),
        (lambda data: put(data, 37, "<Q", 0), "lists"),
        (lambda data: put(data, 45, "<Q", 1 << 50), "lists"),
        (lambda data: put(data, data.index(b"ilar") + 4, "<Q", 3), "inconsistent"),
        (lambda data: put(data, data.index(b"ilar") + 12, "<Q", 3), "inconsistent"),
        (lambda data: put(data, data.index(b"ilar") + 24, "<Q", 1 << 60), "missing"),
        (lambda data: put(data, data.index(b"ilar") + 32, "<Q", 1 << 60), "add up"),
        (lambda data: put(data, len(data) - 8, "<q", 200), "beyond"),
        (lambda data: put(data, len(data) - 8, "<q", -1), "beyond"),
        (lambda data: put(data, len(data) - 8, "<q", struct.unpack("<q", data[-16:-8])[0]), "one id"),
        (lambda data: put(data, data.index(b"ilar") + 600, "<f", float("nan")), "not finite"),
        (lambda data: put(data, data.index(b"IxF2") + 45, "<f", float("inf")), "not finite"),
    ],
)  # fmt: skip
def test_damage_is_found(change: Callable[[bytes], bytes], message: str, tmp_path: Path, good: bytes) -> None:
    (tmp_path / "a.index").write_bytes(change(good))
    error = refusal(tmp_path / "a.index")
    assert error.code == "index-damaged"
    assert message in error.message


def put(data: bytes, position: int, form: str, value: float) -> bytes:
    return data[:position] + struct.pack(form, value) + data[position + struct.calcsize(form) :]


def test_whatever_is_taken_is_safe_for_faiss(tmp_path: Path, good: bytes) -> None:
    """Bytes changed at random where they matter: refused, or opened and searched without harm."""
    fuzz = random.Random(0)
    lists = good.index(b"ilar")
    taken = 0
    for turn in range(150):
        path = tmp_path / f"{turn}.index"  # faiss goes on reading a mapped file behind one's back
        data = bytearray(good)
        for _ in range(fuzz.randint(1, 2)):
            at = fuzz.choice([fuzz.randrange(HEADER + 60), lists + fuzz.randrange(120), fuzz.randrange(len(data))])
            data[at] ^= 1 << fuzz.randrange(8)
        path.write_bytes(data)
        try:
            found = check_index(path)
        except UnderstudyError:
            continue
        taken += 1
        index = open_index(path)
        assert index.ntotal == found.vectors
        _, nearest = index.search(np.zeros((2, found.dimension), np.float32), 3)
        assert nearest.max() < found.vectors
    assert taken > 10  # changed values of vectors are no damage that anyone could see


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.index").code == "file-not-found"
    assert refusal(tmp_path).code == "file-not-found"
