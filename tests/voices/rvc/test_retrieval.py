"""Retrieval against the formula, worked out with plain numpy, and its edges."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.rvc_files import write_random_index
from understudy.errors import UnderstudyError
from understudy.voices.rvc.retrieval import Retrieval, open_retrieval, pull_to_index

WIDTH = 16
Rows = NDArray[np.float32]


def rows(count: int, seed: int) -> Rows:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def indexed(vectors: Rows, lists: int, empty: bool = False) -> Retrieval:
    index = faiss.index_factory(WIDTH, f"IVF{lists},Flat")
    index.train(rows(100 * lists, 9))
    if not empty:
        index.add(vectors)
    return Retrieval(index, WIDTH)


def by_formula(query: Rows, vectors: Rows, count: int = 8) -> Rows:
    distances = np.square(query[:, None].astype(np.float64) - vectors[None]).sum(-1)
    nearest = np.argsort(distances, axis=1)[:, :count]
    weights = 1 / np.take_along_axis(distances, nearest, 1) ** 2
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(np.einsum("tk,tkd->td", weights, vectors[nearest]), np.float32)


def test_an_exact_search_gives_the_weighted_mean_of_the_eight_nearest() -> None:
    vectors, query = rows(500, 1), rows(40, 2)
    found = indexed(vectors, 4).neighbours(query, nprobe=4)
    np.testing.assert_allclose(found, by_formula(query, vectors), atol=2e-6)


def test_one_list_is_searched_unless_more_are_asked_for() -> None:
    vectors, query = rows(500, 1), rows(40, 2)
    retrieval = indexed(vectors, 8)
    one, exact = retrieval.neighbours(query), by_formula(query, vectors)
    assert np.abs(one - exact).max() > 0.1
    lists = retrieval.index.quantizer.assign(vectors, 1)[:, 0]
    for frame, own in zip(query, retrieval.index.quantizer.assign(query, 1)[:, 0], strict=True):
        np.testing.assert_allclose(
            one[(query == frame).all(1)], by_formula(frame[None], vectors[lists == own]), atol=2e-6
        )
    assert retrieval.index.nprobe == 1  # the shared index is not changed by a search


def test_more_lists_than_there_are_is_an_exact_search() -> None:
    vectors, query = rows(300, 1), rows(5, 2)
    np.testing.assert_allclose(
        indexed(vectors, 4).neighbours(query, nprobe=4096), by_formula(query, vectors), atol=2e-6
    )


def test_a_frame_that_is_stored_gives_what_is_stored() -> None:
    vectors = rows(200, 1)
    np.testing.assert_allclose(indexed(vectors, 1).neighbours(vectors[:10]), vectors[:10], atol=1e-6)


def test_equal_vectors_stored_twice_do_no_harm() -> None:
    vectors = rows(50, 1)
    found = indexed(np.concatenate([vectors, vectors]), 1).neighbours(vectors[:3])
    np.testing.assert_allclose(found, vectors[:3], atol=1e-6)


def test_a_list_with_fewer_than_eight_gives_the_mean_of_those() -> None:
    vectors, query = rows(3, 1), rows(10, 2)
    np.testing.assert_allclose(indexed(vectors, 1).neighbours(query), by_formula(query, vectors, 3), atol=2e-6)


def test_a_frame_whose_list_is_empty_stays_as_it_is() -> None:
    query = rows(10, 2)
    np.testing.assert_array_equal(indexed(rows(0, 1), 4, empty=True).neighbours(query), query)


@pytest.mark.parametrize("distance", [1e-18, 1e-9, 1e9, 1e15])
def test_no_distance_is_too_small_or_too_great(distance: float) -> None:
    vectors = rows(20, 1) * np.float32(distance)
    found = indexed(vectors, 1).neighbours(np.zeros((1, WIDTH), np.float32))
    assert np.isfinite(found).all()


def test_no_frames_give_no_frames() -> None:
    assert indexed(rows(20, 1), 1).neighbours(rows(0, 2)).shape == (0, WIDTH)


def test_the_rate_says_how_far_features_are_pulled() -> None:
    retrieval, content = indexed(rows(200, 1), 1), np.repeat(rows(10, 2), 2, axis=0)
    near = np.repeat(retrieval.neighbours(content[::2]), 2, axis=0)
    for rate in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(
            pull_to_index(content, retrieval, None, rate, 0.5, 1), rate * near + (1 - rate) * content, atol=1e-6
        )


def test_protect_shields_unvoiced_frames_alone() -> None:
    retrieval, content = indexed(rows(200, 1), 1), np.repeat(rows(10, 2), 2, axis=0)
    voiced = np.arange(20) % 3 > 0
    free = pull_to_index(content, retrieval, voiced, 0.8, 0.5, 1)
    shielded = pull_to_index(content, retrieval, voiced, 0.8, 0.2, 1)
    np.testing.assert_array_equal(shielded[voiced], free[voiced])
    moved = 0.2 * (free - content)[~voiced]
    np.testing.assert_allclose((shielded - content)[~voiced], moved, atol=1e-6)
    np.testing.assert_array_equal(pull_to_index(content, retrieval, voiced, 0.8, 0.0, 1)[~voiced], content[~voiced])


def test_an_odd_number_of_frames_is_pulled_whole() -> None:
    content = np.repeat(rows(4, 2), 2, axis=0)[:7]
    assert pull_to_index(content, indexed(rows(50, 1), 1), None, 0.5, 0.5, 1).shape == (7, WIDTH)


def test_an_index_of_the_other_version_is_refused(tmp_path: Path) -> None:
    path = write_random_index(tmp_path / "x.index", "v1", 300)
    with pytest.raises(UnderstudyError) as caught:
        open_retrieval(path, 768)
    assert caught.value.code == "index-mismatch"
    assert "v1" in caught.value.message
    assert open_retrieval(path, 256).dimension == 256
