"""ONNX files: what is read of them, and that nothing of a broken or hostile one gets further than an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.onnx_files import MDXNet, model, node, part, tensor, varint, whole
from understudy.errors import UnderstudyError
from understudy.models.onnx_file import load

SHAPE = {"input": ["batch", 4]}
STEP = node("Identity", ["input"], ["output"])


def written(
    path: Path, nodes: list[bytes] | None = None, weights: list[bytes] | None = None, extra: bytes = b""
) -> Path:
    path.write_bytes(model(nodes or [STEP], weights or [], SHAPE, {"output": ["batch", 4]}, extra))
    return path


def refused(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        load(path)
    return caught.value


def outcome(path: Path) -> str:
    try:
        load(path)
    except UnderstudyError as error:
        return error.code
    return "read"


def test_a_network_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    made = MDXNet(64, 32)
    graph = load(made.write(path))
    assert graph.inputs == {"input": (None, 4, 64, 32)}
    assert graph.outputs == {"output": (None, 4, 64, 32)}
    assert graph.operators == 13
    assert len(graph.nodes) == len(made.nodes)
    assert graph.nodes[0].operator == "Conv"
    assert graph.nodes[0].attributes == {"kernel_shape": (1, 1)}
    assert graph.nodes[1].attributes["epsilon"] == pytest.approx(1e-5)
    assert all(np.array_equal(graph.weights[name], values) for name, values in made.weights.items())


def test_weights_are_read_in_every_form(tmp_path: Path) -> None:
    numbers = np.array([1.5, -2.0, 3.0], np.float32)
    packed = whole(1, 3) + whole(2, 1) + part(8, "packed") + part(4, numbers.tobytes())
    integers = whole(1, 2) + whole(2, 7) + part(8, "integers") + part(7, varint(5) + varint(-1))
    single = whole(1, 2) + whole(2, 7) + part(8, "single") + whole(7, 4) + whole(7, -3)
    raw = tensor("raw", numbers)
    scalar = whole(2, 1) + part(8, "scalar") + part(9, numbers[:1].tobytes())
    found = load(written(tmp_path / "net.onnx", weights=[packed, integers, single, raw, scalar])).weights
    assert np.array_equal(found["packed"], numbers)
    assert np.array_equal(found["raw"], numbers)
    assert found["integers"].tolist() == [5, -1]
    assert found["single"].tolist() == [4, -3]
    assert found["scalar"].shape == ()


def test_weights_listed_as_inputs_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    shapes: dict[str, list[Any]] = {"input": ["batch", 4], "weight": [3]}
    path.write_bytes(model([STEP], {"weight": np.zeros(3, np.float32)}, shapes, {"output": ["batch", 4]}))
    assert set(load(path).inputs) == {"input"}


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        (whole(1, 2) + whole(2, 1) + part(8, "weight") + part(9, bytes(4)), "fill"),
        (whole(1, -1) + whole(2, 1) + part(8, "weight") + part(9, bytes(4)), "kind"),
        (whole(1, 1 << 62) + whole(1, 1 << 62) + whole(2, 1) + part(8, "weight"), "fill"),
        (whole(1, 1) + whole(2, 8) + part(8, "weight") + part(6, "text"), "kind"),
        (whole(1, 1) + whole(2, 1) + part(8, "weight") + part(13, b""), "another file"),
        (whole(1, 1) + whole(2, 1) + part(8, "weight") + whole(14, 1), "another file"),
    ],
)
def test_weights_that_lie_are_refused(weights: bytes, word: str, tmp_path: Path) -> None:
    error = refused(written(tmp_path / "net.onnx", weights=[weights]))
    assert error.code == "model-damaged"
    assert word in error.message


def test_what_reaches_beyond_a_plain_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    assert "'evil'" in refused(written(path, [node("Identity", ["input"], ["output"], domain="evil")])).message
    branch = part(5, part(1, "body") + part(6, b""))
    assert "branches" in refused(written(path, [STEP + branch])).message
    assert "functions" in refused(written(path, extra=part(25, b""))).message
    assert "too many" in refused(written(path, [STEP] * 20_001)).message
    assert "too many" in refused(written(path, [node("Concat", ["input"] * 1000, ["output"])])).message
    endless = part(5, part(1, "pads") + part(8, bytes(2 << 20)))
    assert "too long" in refused(written(path, [STEP + endless])).message
    path.write_bytes(part(7, part(15, b"")))
    assert "sparse" in refused(path).message
    path.write_bytes(b"")
    assert refused(path).code == "model-damaged"
    assert refused(tmp_path / "none.onnx").code == "file-not-found"
    with pytest.raises(UnderstudyError) as caught:
        load(written(path), largest=10)
    assert caught.value.code == "model-too-large"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_network_or_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert outcome(path) in ("read", "model-damaged")


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_network_gives_a_network_or_a_clear_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(
        model([node("Conv", ["input", "weight"], ["output"], pads=[1, 1], alpha=0.5, mode="x")],
              {"weight": np.ones((2, 3), np.float32)}, SHAPE, {"output": [1]})
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert outcome(path) in ("read", "model-damaged")
