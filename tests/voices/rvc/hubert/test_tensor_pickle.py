"""Nothing that a file asks for is run; what is damaged is refused."""

from __future__ import annotations

import builtins
import collections
import io
import os
import pickle
import random
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audio.errors import UnderstudyError
from tests.voices.rvc.hubert.material import write_fairseq
from voices.rvc.hubert.tensor_pickle import StoredTensor, read_tensor_tree


class Payload:
    """Pickles as a call that leaves a file behind where anything runs it."""

    def __init__(self, called: Callable[..., Any], *arguments: Any) -> None:
        self.call = (called, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def payloads(marker: Path) -> dict[str, Payload]:
    text = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Payload(os.system, f"touch {marker}"),
        "subprocess": Payload(subprocess.check_call, ["touch", str(marker)]),
        "exec": Payload(builtins.exec, text),
        "eval": Payload(builtins.eval, f"__import__('os').system('touch {marker}')"),
        "open": Payload(builtins.open, str(marker), "w"),
        "nested": Payload(collections.OrderedDict, [("x", Payload(os.system, f"touch {marker}"))]),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["os.system", "subprocess", "exec", "eval", "open", "nested"])
def test_a_hostile_file_is_refused_and_nothing_is_run(tmp_path: Path, kind: str, legacy: bool) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "hubert_base.pt"
    write_fairseq(path, {"w": torch.zeros(2)}, legacy=legacy, extra=payloads(marker)[kind])
    with pytest.raises(UnderstudyError) as refused:
        read_tensor_tree(path)
    assert refused.value.code == "model-hostile"
    assert "Nothing of it was run" in refused.value.message
    assert not marker.exists()


def test_the_payloads_do_leave_a_trace_where_they_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for payload in payloads(marker).values():
        pickle.loads(pickle.dumps(payload))
        assert marker.exists()
        marker.unlink()


class Unknown:
    path: str

    def __init__(self, path: str) -> None:
        Path(path).touch()

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,), {"path": self.path}


def test_unknown_classes_are_neither_looked_up_nor_called(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    harmless = Unknown(str(tmp_path / "made"))
    harmless.path = str(marker)
    path = tmp_path / "model.pt"
    torch.save({"model": {"w": torch.arange(3.0)}, "other": harmless}, path)
    tree = read_tensor_tree(path)
    assert torch.equal(tree["model"]["w"].read(), torch.arange(3.0))
    assert not marker.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_come_back_as_they_were(tmp_path: Path, legacy: bool) -> None:
    shared = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "half": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).half(),
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "transposed": shared.T,
        "part": shared[1:3, 2:],
        "scalar": torch.tensor(7.0),
        "empty": torch.zeros(0, 3),
        "counter": torch.tensor([1, 2]),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    path = tmp_path / "model.pt"
    torch.save(collections.OrderedDict(tensors), path, _use_new_zipfile_serialization=not legacy)
    tree = read_tensor_tree(path)
    assert list(tree) == list(tensors)
    for name, tensor in tensors.items():
        assert isinstance(tree[name], StoredTensor)
        read = tree[name].read()
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor.detach())


def test_a_container_inside_itself_and_one_held_a_thousand_times(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    loop: dict[str, Any] = {"w": torch.ones(1)}
    loop["self"] = loop
    torch.save({"loop": loop, "many": [loop] * 1000}, path)
    tree = read_tensor_tree(path)
    assert tree["loop"]["self"]["self"] is tree["loop"]
    assert isinstance(tree["many"][999]["w"], StoredTensor)


def zipped(path: Path, pickled: bytes, *, compress: bool = False, data: bytes = b"\0" * 64) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/byteorder", "little")
        archive.writestr("model/data/0", data)
    return path


def outcome(path: Path) -> str:
    """What becomes of a file: "read", tensors and all, or the code of its refusal."""
    try:
        tree = read_tensor_tree(path)
        for value in tree.values() if isinstance(tree, dict) else ():
            if isinstance(value, StoredTensor):
                value.read()
    except UnderstudyError as error:
        return error.code
    return "read"


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"


def tensor(offset: bytes, shape: bytes, strides: bytes) -> bytes:
    """A pickle of one tensor in a storage of 16 values."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00w"
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + STORAGE
        + offset
        + shape
        + strides
        + b"\x89NtRs."
    )


def test_the_hand_made_tensor_is_right_to_begin_with(tmp_path: Path) -> None:
    tree = read_tensor_tree(zipped(tmp_path / "m.pt", tensor(b"K\x00", b"(K\x10t", b"(K\x01t")))
    assert tree["w"].shape == (16,)
    assert torch.equal(tree["w"].read(), torch.zeros(16))


BILLION = b"J\x00\xca\x9a\x3b"


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (b"K\x01", b"(K\x10t", b"(K\x01t"),
        (BILLION, b"(K\x01t", b"(K\x01t"),
        (b"K\x00", b"(K\x04t", b"(" + BILLION + b"t"),
        (b"K\x00", b"(" + BILLION * 4 + b"t", b"(" + b"K\x00" * 4 + b"t"),  # a billion to the fourth, of one value
        (b"K\x00", b"(K\x04t", b"(J\xff\xff\xff\xfft"),
        (b"J\xff\xff\xff\xff", b"(K\x04t", b"(K\x01t"),
        (b"K\x00", b"(K\x04K\x04t", b"(K\x01t"),
        (b"K\x00", b"(" + b"K\x01" * 9 + b"t", b"(" + b"K\x01" * 9 + b"t"),
        (b"K\x00", b"N", b"N"),
    ],
)
def test_a_tensor_beyond_its_data_is_refused(tmp_path: Path, offset: bytes, shape: bytes, strides: bytes) -> None:
    with pytest.raises(UnderstudyError) as refused:
        read_tensor_tree(zipped(tmp_path / "m.pt", tensor(offset, shape, strides)))
    assert refused.value.code == "model-unreadable"


def nest(depth: int, last: bytes) -> bytes:
    """Tuples of the same tuple twice: 2 ** depth leaves in `depth` steps."""
    return b"\x80\x04)" + b"".join(b"q\x01h\x01\x86" for _ in range(depth)) + last


@pytest.mark.parametrize(
    "pickled",
    [
        pytest.param(b"\x80\x02}" + nest(60, b"")[2:] + b"K\x01s.", id="a key whose hash takes for ever"),
        pytest.param(nest(60, b"X\x01\x00\x00\x00x\x93."), id="a name whose text takes for ever"),
        pytest.param(
            b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + nest(60, b"")[2:] + b"NK\x01tQ.", id="key"
        ),
    ],
)
def test_nests_that_grow_without_end_take_no_time(tmp_path: Path, pickled: bytes) -> None:
    path = zipped(tmp_path / "m.pt", pickled)
    assert outcome(path) in ("read", "model-unreadable")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing", b""),
        ("text", b"hello there, this is no model"),
        ("html", b"<!DOCTYPE html><html>"),
        ("a bare pickle", pickle.dumps({"a": 1})),
        ("a big memo index", b"\x80\x02}r\xff\xff\xff\x7f."),
        ("a zip that is cut off", b"PK\x03\x04" + b"\0" * 100),
        ("underflow", b"\x80\x02R."),
    ],
)
def test_what_is_no_torch_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(UnderstudyError) as refused:
        read_tensor_tree(path)
    assert refused.value.code == "model-unreadable"


def test_a_compressed_zip_is_refused_unpacked_by_nobody(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", pickle.dumps({"a": 1}, 2), compress=True, data=b"\0" * 10_000_000)
    with pytest.raises(UnderstudyError, match="compressed"):
        read_tensor_tree(path)


def test_a_zip_with_a_giant_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", pickle.dumps({"a": 1}, 2))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(UnderstudyError, match="directory"):
        read_tensor_tree(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_mutated_files_are_read_or_refused(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    write_fairseq(path, {"a.weight": torch.ones(4, 3), "b.weight": torch.ones(2)}, legacy=legacy)
    original = path.read_bytes()
    source = random.Random(11)
    outcomes = set()
    for _ in range(150):
        data = bytearray(original)
        for _ in range(source.choice((1, 1, 3, 20))):
            data[source.randrange(min(len(data), 9000))] = source.randrange(256)
        if source.random() < 0.15:
            data = data[: source.randrange(len(data))]
        path.write_bytes(data)
        outcomes.add(outcome(path))
    assert {"read", "model-unreadable"} <= outcomes <= {"read", "model-unreadable", "model-hostile"}


def test_the_reader_agrees_with_torch(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    weights = {f"layer.{n}": torch.randn(n + 1, 3, generator=torch.Generator().manual_seed(n)) for n in range(20)}
    torch.save(weights, buffer)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(buffer.getvalue())
    theirs = torch.load(path, weights_only=True)
    ours = read_tensor_tree(path)
    assert all(torch.equal(ours[name].read(), tensor) for name, tensor in theirs.items())
