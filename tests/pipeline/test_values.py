"""What stages may return comes back from the store as it was; everything else is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.audio.pitch import PitchTrack
from understudy.pipeline.values import from_tree, stored, to_tree


@stored
@dataclass(frozen=True)
class Leaf:
    name: str
    share: float | None
    severity: Literal["mind", "wrong"] = "mind"


@stored
@dataclass(frozen=True)
class Tree:
    leaf: Leaf | None
    leaves: tuple[Leaf, ...]
    by_name: dict[str, Leaf]
    figures: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Unknown:
    """That was never registered."""

    name: str = ""


leaves = st.builds(
    Leaf,
    st.text(),
    st.none() | st.floats(allow_nan=False),
    st.sampled_from(["mind", "wrong"]),
)
trees = st.builds(
    Tree,
    st.none() | leaves,
    st.lists(leaves, max_size=3).map(tuple),
    st.dictionaries(st.text() | st.just("$"), leaves, max_size=3),
    st.dictionaries(st.text(), st.lists(st.integers(), max_size=3).map(tuple), max_size=3),
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain | trees,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text() | st.just("$"), inner, max_size=3),
    max_leaves=8,
)


def through_the_store(value: Any, folder: Path) -> Any:
    return from_tree(json.loads(json.dumps(to_tree(value, folder))), folder)


@given(values)
def test_every_value_comes_back_as_it_was(value: Any):
    with TemporaryDirectory() as folder:
        found = through_the_store(value, Path(folder))
    assert found == value
    assert type(found) is type(value)


def test_arrays_and_tracks_inside_of_others_come_back(tmp_path: Path):
    arrays: tuple[Any, ...] = (np.arange(3), np.zeros((2, 2), np.float32))
    track = PitchTrack(np.array([0, 220], np.float32), 0.01)
    found: Any = through_the_store({"arrays": arrays, "a/b": {"pitch": track}}, tmp_path)
    for before, after in zip(arrays, found["arrays"], strict=True):
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)
    assert np.array_equal(found["a/b"]["pitch"].f0, track.f0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": (1, Unknown())}, r"value\['a'\]\[1\]: it is a .*Unknown, which isn't registered with `stored`"),
        ({1: 2}, "value: it is a builtins.dict"),
        ({1, 2}, "builtins.set"),
        ((np.float32(1),), r"value\[0\]: it is a numpy.float32"),
        (np.array([object()]), "numpy.ndarray"),
        (Path("/elsewhere/song.wav"), "lies outside its folder"),
        (b"bytes", "builtins.bytes"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path: Path, value: Any, said: str):
    with pytest.raises(TypeError, match=said):
        to_tree(value, tmp_path)


def test_two_kinds_of_one_name_are_refused():
    with pytest.raises(TypeError, match=r"knows another Leaf already: .*test_values\.Leaf"):
        stored(type("Leaf", (), {"__module__": "elsewhere"}))
    with pytest.raises(TypeError, match="is no dataclass"):
        stored(type("Stem", (), {}))
