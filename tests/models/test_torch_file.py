"""Nothing that a file asks for is run; what is damaged is refused; what is harmless comes back as it was."""

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
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from tests.support.contentvec_files import write_fairseq
from understudy.errors import UnderstudyError
from understudy.models.torch_file import Name, Unknown, load


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


@pytest.mark.parametrize("unknown", get_args(Unknown))
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["os.system", "subprocess", "exec", "eval", "open", "nested"])
def test_a_hostile_file_is_refused_and_nothing_is_run(
    tmp_path: Path, kind: str, legacy: bool, unknown: Unknown
) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "hubert_base.pt"
    write_fairseq(path, {"w": torch.zeros(2)}, legacy=legacy, extra=payloads(marker)[kind])
    with pytest.raises(UnderstudyError) as refused:
        load(path, unknown=unknown)
    assert refused.value.code == "model-unsafe"
    assert "Nothing of it was run" in refused.value.hint
    assert not marker.exists()


def test_the_payloads_do_leave_a_trace_where_they_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for payload in payloads(marker).values():
        pickle.loads(pickle.dumps(payload))
        assert marker.exists()
        marker.unlink()


class Touching:
    path: str

    def __init__(self, path: str) -> None:
        Path(path).touch()

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,), {"path": self.path}


def test_unknown_classes_are_neither_looked_up_nor_called(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    harmless = Touching(str(tmp_path / "made"))
    (tmp_path / "made").unlink()
    harmless.path = str(marker)
    path = tmp_path / "model.pt"
    torch.save({"model": {"w": torch.arange(3.0)}, "other": harmless}, path)
    tree = load(path, unknown="ignore")
    assert torch.equal(tree["model"]["w"], torch.arange(3.0))
    assert not marker.exists()
    assert not (tmp_path / "made").exists()
    with pytest.raises(UnderstudyError) as refused:
        load(path)
    assert refused.value.code == "model-unsafe"


class OlderFraction(Fraction):
    """Pickles as Python 3.10 did it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Fraction, (f"{self.numerator}/{self.denominator}",)


def test_classes_come_back_as_their_names_and_fractions_as_fractions(tmp_path: Path) -> None:
    path = tmp_path / "model.th"
    segments = [Fraction(39, 5), OlderFraction(39, 5)]
    torch.save({"klass": collections.Counter, "kwargs": {"segments": segments}}, path)
    tree = load(path, unknown="ignore")
    assert tree == {"klass": Name("collections Counter"), "kwargs": {"segments": [Fraction(39, 5)] * 2}}


@pytest.mark.parametrize("arguments", [("1" * 5000 + "/3",), (1, 0), (1 << 63, 1), ("x",), ("1/2", 3), ()])
def test_only_moderate_fractions_are_fractions(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    path = tmp_path / "model.th"
    torch.save({"segment": Payload(Fraction, *arguments)}, path)
    assert not isinstance(load(path, unknown="ignore")["segment"], Fraction)
    with pytest.raises(UnderstudyError) as refused:
        load(path)
    assert refused.value.code == "model-unsafe"


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
    tree = load(path)
    assert list(tree) == list(tensors)
    for name, tensor in tensors.items():
        assert isinstance(tree[name], torch.Tensor)
        assert tree[name].dtype == tensor.dtype
        assert tree[name].shape == tensor.shape
        assert torch.equal(tree[name], tensor.detach())


def test_a_container_inside_itself_and_one_held_a_thousand_times(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    loop: dict[str, Any] = {"w": torch.ones(1)}
    loop["self"] = loop
    torch.save({"loop": loop, "many": [loop] * 1000}, path)
    tree = load(path)
    assert tree["loop"]["self"]["self"] is tree["loop"]
    assert isinstance(tree["many"][999]["w"], torch.Tensor)


def zipped(path: Path, pickled: bytes, *, compress: bool = False, data: bytes = b"\0" * 64) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/byteorder", "little")
        archive.writestr("model/data/0", data)
    return path


def outcome(path: Path, unknown: Unknown = "ignore") -> str:
    """What becomes of a file: "read", tensors and all, or the code of its refusal."""
    try:
        tree = load(path, unknown=unknown)
        for value in tree.values() if isinstance(tree, dict) else ():
            if isinstance(value, torch.Tensor):
                value.clone()
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
    tree = load(zipped(tmp_path / "m.pt", tensor(b"K\x00", b"(K\x10t", b"(K\x01t")))
    assert tree["w"].shape == (16,)
    assert torch.equal(tree["w"], torch.zeros(16))


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
        load(zipped(tmp_path / "m.pt", tensor(offset, shape, strides)))
    assert refused.value.code == "model-damaged"


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
    assert outcome(path) in ("read", "model-damaged", "model-unsafe")
    assert outcome(path, "refuse") in ("model-damaged", "model-unsafe")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing", b""),
        ("text", b"hello there, this is no model"),
        ("html", b"<!DOCTYPE html><html>"),
        ("a bare pickle", pickle.dumps({"a": 1})),
        ("a big memo index", b"\x80\x02}r\xff\xff\xff\x7f."),
        ("underflow", b"\x80\x02R."),
    ],
)
def test_what_is_no_torch_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(UnderstudyError) as refused:
        load(path)
    assert refused.value.code == "model-damaged"


def test_a_zip_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    assert outcome(path) == "archive-refused"


def test_a_compressed_zip_is_refused_unpacked_by_nobody(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", pickle.dumps({"a": 1}, 2), compress=True, data=b"\0" * 10_000_000)
    with pytest.raises(UnderstudyError, match="packed"):
        load(path)


def test_a_zip_with_a_giant_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", pickle.dumps({"a": 1}, 2))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(UnderstudyError, match="more than 20000 entries"):
        load(path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["zip", "pickle in a zip", "old"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "model.pt"
    write_fairseq(path, {"a.weight": torch.ones(4, 3), "b.weight": torch.ones(2)}, legacy=form == "old")
    original = path.read_bytes()
    if form == "pickle in a zip":
        with zipfile.ZipFile(path) as archive:
            original = archive.read("model/data.pkl")
    reach = len(original) if form == "zip" else min(len(original), 9000)  # of a zip, a checksum guards the pickle
    source = random.Random(11)
    outcomes = set()
    for _ in range(150):
        data = bytearray(original)
        for _ in range(source.choice((1, 1, 3, 20))):
            data[source.randrange(reach)] = source.randrange(256)
        if source.random() < 0.15:
            data = data[: source.randrange(len(data))]
        if form == "pickle in a zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("model/data.pkl", data)
                for key in range(6):
                    archive.writestr(f"model/data/{key}", bytes(20000))
        else:
            path.write_bytes(data)
        outcomes.add(outcome(path))
    refusal = "archive-refused" if form == "zip" else "model-damaged"
    assert {"read", refusal} <= outcomes <= {"read", "model-damaged", "model-unsafe", "archive-refused"}


def test_the_reader_agrees_with_torch(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    weights = {f"layer.{n}": torch.randn(n + 1, 3, generator=torch.Generator().manual_seed(n)) for n in range(20)}
    torch.save(weights, buffer)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(buffer.getvalue())
    theirs = torch.load(path, weights_only=True)
    ours = load(path)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_mapped_tensors_leave_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(3)}, path)
    before = path.read_bytes()
    load(path)["w"].zero_()
    assert path.read_bytes() == before
    assert load(path)["w"].tolist() == [1, 1, 1]


def test_a_zip_with_another_file_before_it_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", pickle.dumps({"a": 1}, 2))
    path.write_bytes(zipped(tmp_path / "other.pt", pickle.dumps({"a": 2}, 2)).read_bytes() + path.read_bytes())
    with pytest.raises(UnderstudyError, match="before its first entry"):
        load(path)


def test_what_is_harmless_is_loaded(tmp_path: Path) -> None:
    state = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters()).state_dict()
    content = {
        "model": {"a": torch.arange(3.0)},
        "optimizer": state,
        "b": torch.nn.Parameter(torch.zeros(2)),
        "c": 1e-4,
    }
    for form in (True, False):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=form)
        found = load(tmp_path / "a.pth")
        assert found["model"]["a"].tolist() == [0, 1, 2]
        assert found["optimizer"] == state
