"""Attacks that would leave a trace if they ran, files that would fill memory or disk: each is refused, none acts."""

from __future__ import annotations

import builtins
import collections
import functools
import io
import os
import pickle
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.rvc_files import document, small, write_random_index, write_random_pth
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.importing import import_voice


class Calls:
    """Pickled as a call of `function`; made again, it would be made."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(marker: Path) -> dict[str, Any]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, touch),
        "exec": Calls(exec, touch),
        "popen": Calls(subprocess.Popen, ["touch", str(marker)]),
        "open": Calls(builtins.open, str(marker), "w"),
        "makedirs": Calls(os.makedirs, str(marker)),
        "import": Calls(__import__, "antigravity"),
        "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "partial": Calls(functools.partial, os.system, f"touch {marker}"),
        "torch load": Calls(torch.load, str(marker)),
        "torch hub": Calls(torch.hub.load, "a/b", "c"),
        "counter": Calls(collections.Counter, [1, 2]),
        "memory": Calls(bytearray, 10**13),
        "tensor of any size": Calls(torch.FloatTensor, 10**12),
        "ordered copies": Calls(collections.OrderedDict, [(1, 2)]),
        "pickle in pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {marker}"))),
    }


KINDS = sorted(attacks(Path("x")))
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda attack: attack,
    "in weight": lambda attack: document(small(), weight={**document(small())["weight"], "enc_p.proj.bias": attack}),
    "in info": lambda attack: document(small(), info=attack),
    "in config": lambda attack: document(small(), config=[attack] * 18),
    "in what nobody reads": lambda attack: document(small(), another=[{"deep": (attack,)}]),
    "in a name": lambda attack: document(small(), weight={attack: 1}) if attack.__hash__ else attack,
    "beside training": lambda attack: {"model": {}, "optimizer": attack},
}


def refusal(path: Path, tmp_path: Path, index: Path | None = None) -> UnderstudyError:
    """Why `path` isn't taken in; nothing of it is left anywhere."""
    root, work = tmp_path / "library", tmp_path / "work"
    work.mkdir(exist_ok=True)
    before = {entry for entry in tmp_path.rglob("*") if root not in (entry, *entry.parents)}
    with pytest.raises(UnderstudyError) as refused:
        import_voice(root, path, Context(work), "nova", consent="self", index=index)
    assert {entry for entry in tmp_path.rglob("*") if root not in (entry, *entry.parents)} == before
    assert not root.exists() or {entry.name for entry in root.iterdir()} <= {".lock"}
    assert refused.value.hint
    assert refused.value.message.isprintable()
    return refused.value


@pytest.mark.slow
@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("kind", KINDS)
def test_pickles_that_act(kind: str, place: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = PLACES[place](attacks(marker)[kind])
    forms: dict[str, Callable[[io.BytesIO], None]] = {
        "zip": lambda file: torch.save(content, file),
        "old form": lambda file: torch.save(content, file, _use_new_zipfile_serialization=False),
        "new protocol": lambda file: torch.save(content, file, pickle_protocol=4),
    }
    forms.update({f"raw {protocol}": functools.partial(_dump, content, protocol) for protocol in (0, 2, 4, 5)})
    for form, write in forms.items():
        file = io.BytesIO()
        write(file)
        path = tmp_path / "voice.pth"
        path.write_bytes(file.getvalue())
        error = refusal(path, tmp_path)
        assert error.code == "model-unsafe", (form, error.message)
        assert not marker.exists()
        path.unlink()


def _dump(content: Any, protocol: int, file: io.BytesIO) -> None:
    file.write(pickle.dumps(content, protocol))


def test_what_would_run_is_named(tmp_path: Path) -> None:
    torch.save(document(small(), info=Calls(os.system, "true")), tmp_path / "a.pth")
    error = refusal(tmp_path / "a.pth", tmp_path)
    assert "system" in error.message
    assert "trust" in error.hint


def test_attacks_written_by_hand(tmp_path: Path) -> None:
    """Opcodes that Python's own pickler never writes so."""
    marker = tmp_path / "marker"
    command = f"touch {marker}".encode()
    for program in (
        b"cos\nsystem\n(S'" + command + b"'\ntR.",
        b"(S'" + command + b"'\nios\nsystem\n.",
        b"(cos\nsystem\nS'" + command + b"'\no.",
        b"\x80\x02cos\nsystem\nq\x00X" + struct.pack("<I", len(command)) + command + b"\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x03\x00\x00\x00abcK\x01sb0cos\nsystem\n.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tR.",
        b"\x80\x02ctorch._utils\n_rebuild_wrapper_subclass\n)R.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02]r\xff\xff\xff\xff.",  # a place in the memo for which unpicklers make room
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x02\x8d" + struct.pack("<Q", 1 << 60) + b".",
    ):
        for name, data in (("raw", program), ("zip", _torch_zip(program))):
            path = tmp_path / f"{name}.pth"
            path.write_bytes(data)
            assert refusal(path, tmp_path).code in ("model-unsafe", "model-damaged", "model-not-rvc"), program
            assert not marker.exists()
            path.unlink()


def _torch_zip(program: bytes, more: dict[str, bytes] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entries = {
            "archive/data.pkl": program,
            "archive/version": b"3\n",
            "archive/byteorder": b"little",
            **(more or {}),
        }
        for name, data in entries.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _storage(values: int, key: str = "0") -> bytes:
    number = b"\x8a\x09" + values.to_bytes(9, "little")
    return (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX" + struct.pack("<I", len(key)) + key.encode()
        + b"X\x03\x00\x00\x00cpu" + number + b"tQ"
    )  # fmt: skip


def test_tensors_of_bytes_that_are_not_there(tmp_path: Path) -> None:
    for values in (1 << 20, 1 << 40, 1 << 62):
        program = b"\x80\x02" + _storage(values) + b"."
        (tmp_path / "a.pth").write_bytes(_torch_zip(program, {"archive/data/0": bytes(64)}))
        assert "more bytes of tensors than it has" in refusal(tmp_path / "a.pth", tmp_path).message


def test_the_old_form_reserves_no_memory_for_what_it_lacks(tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save({"weight": torch.zeros(1000)}, whole, _use_new_zipfile_serialization=False)
    data = whole.getvalue()
    at = data.index(b"M\xe8\x03")  # the count of its values, 1000
    (tmp_path / "a.pth").write_bytes(data[:at] + b"\x8a\x05" + (1 << 36).to_bytes(5, "little") + data[at + 3 :])
    assert "more bytes of tensors than it has" in refusal(tmp_path / "a.pth", tmp_path).message


def test_tuples_that_would_be_hashed_or_printed_for_years(tmp_path: Path) -> None:
    grown = b"\x80\x02)q\x00" + b"".join(
        b"(" + bytes([ord("h"), n - 1]) * 12 + b"tq" + bytes([n]) for n in range(1, 60)
    )
    last = b"h" + bytes([59])
    for program in (
        b"}" + last + b"N" + b"s.",
        b"}(" + last + b"N" + b"u.",
        last + b")R.",
        last + last + b"\x93.",
        last + b"Q.",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + last + b"R.",
        b"}(X\x06\x00\x00\x00weight}X\x06\x00\x00\x00config](" + last * 18 + b"eX\x02\x00\x00\x00f0" + last + b"u.",
    ):
        (tmp_path / "a.pth").write_bytes(_torch_zip(grown + program))
        assert refusal(tmp_path / "a.pth", tmp_path).code in ("model-unsafe", "model-damaged", "model-invalid")


def test_programs_in_a_model_file(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "a.pth"))
    assert "program" in refusal(tmp_path / "a.pth", tmp_path).message


def test_a_model_file_that_is_packed_or_reads_two_ways(tmp_path: Path) -> None:
    write_random_pth(tmp_path / "good.pth", small())
    with zipfile.ZipFile(tmp_path / "good.pth") as good:
        entries = {info.filename: good.read(info) for info in good.infolist()}
    folder = next(iter(entries)).split("/")[0]
    attack = pickle.dumps(Calls(os.system, f"touch {tmp_path / 'marker'}"), 2)

    def repacked(changes: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> None:
        with zipfile.ZipFile(tmp_path / "a.pth", "w", method) as archive:
            for name, data in [*entries.items(), *changes]:
                archive.writestr(name, data)

    repacked([], zipfile.ZIP_DEFLATED)
    assert "packed" in refusal(tmp_path / "a.pth", tmp_path).message
    for name in (
        f"{folder}/DATA.PKL",
        f"{folder.upper()}/data.pkl",
        "other/data.pkl",
        "data.pkl",
        f"{folder}/x/data.pkl",
    ):
        repacked([(name, attack)])
        assert refusal(tmp_path / "a.pth", tmp_path).code in ("archive-refused", "model-damaged")
    with pytest.warns(UserWarning, match="Duplicate"):
        repacked([(f"{folder}/data.pkl", attack)])
    assert "twice" in refusal(tmp_path / "a.pth", tmp_path).message
    (tmp_path / "a.pth").write_bytes(_torch_zip(attack) + (tmp_path / "good.pth").read_bytes())
    assert refusal(tmp_path / "a.pth", tmp_path).code in ("archive-refused", "model-unsafe", "model-damaged")
    (tmp_path / "a.pth").write_bytes((tmp_path / "good.pth").read_bytes() + _torch_zip(attack))
    assert refusal(tmp_path / "a.pth", tmp_path).code in ("archive-refused", "model-unsafe", "model-damaged")
    assert not (tmp_path / "marker").exists()


def test_large_pickles_and_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(_torch_zip(b"\x80\x02" + b"]" * (3 << 20) + b"."))
    assert "too large" in refusal(tmp_path / "a.pth", tmp_path).message
    with (tmp_path / "a.pth").open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(1 << 34)  # holds nothing, takes no room
    assert refusal(tmp_path / "a.pth", tmp_path).code == "model-too-large"


# ---- zips as voices are shared ----


def shared(
    tmp_path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_STORED
) -> Path:
    model = write_random_pth(tmp_path / "inner.pth", small()).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for name, data in [("nova.pth", model), *entries]:
            archive.writestr(name, data)
    return tmp_path / "a.zip"


@pytest.mark.parametrize(
    "name",
    ["../evil.pth", "/etc/evil", "a/../../evil", "C:\\evil", "C:evil", "a\\b.index", "//server/share", "a//b",
     "evil\nname", "evil\u202egnp.exe", "x" * 600, "..", "a/..", "NOVA.pth", "ｎｏｖａ.pth", "evil.pth\x1b[31m"],
)  # fmt: skip
def test_names_that_lead_elsewhere_or_collide(name: str, tmp_path: Path) -> None:
    error = refusal(shared(tmp_path, [(name, b"x")]), tmp_path)
    assert error.code == "archive-refused"


def test_links_and_devices(tmp_path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        info = zipfile.ZipInfo("nova.index")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        assert "link" in refusal(shared(tmp_path, [(info, b"/etc/passwd")]), tmp_path).message


def test_archives_in_archives(tmp_path: Path) -> None:
    for name in ("more.zip", "more.rar", "x/more.7z", "more.tar.gz", "MORE.ZIP"):
        error = refusal(shared(tmp_path, [(name, b"PK")]), tmp_path)
        assert error.message.endswith(f"is refused: {name!r} in it is an archive itself.")
        assert error.hint == f"Unpack it and give {name!r} instead; unpack that one as well, unless it is a zip."


def test_damage_is_called_damage_and_a_missing_end_cut_off(tmp_path: Path) -> None:
    whole = shared(tmp_path, []).read_bytes()
    middle = len(whole) // 2

    def message(data: bytes) -> str:
        (tmp_path / "damaged.zip").write_bytes(data)
        return refusal(tmp_path / "damaged.zip", tmp_path).message

    assert "it is damaged" in message(whole[:middle] + bytes(100) + whole[middle + 100 :])
    assert "it is damaged: 100 bytes of it are missing" in message(whole[:middle] + whole[middle + 100 :])
    assert "it is cut off" in message(whole[:-30])


def test_bombs(tmp_path: Path) -> None:
    bomb = shared(tmp_path, [("readme.txt", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert "would grow" in refusal(bomb, tmp_path).message
    many = shared(tmp_path, [(f"{number}.txt", b"") for number in range(3000)])
    assert "entries" in refusal(many, tmp_path).message
    # every entry the same bytes, told to be many
    path = shared(tmp_path, [(f"{number}.txt", b"x" * 100_000) for number in range(3)])
    data = bytearray(path.read_bytes())
    first = data.index(b"0.txt") - 30
    for number in (1, 2):
        at = data.rindex(f"{number}.txt".encode()) - 46
        data[at + 42 : at + 46] = struct.pack("<L", first)
    del data[first + 30 + 5 + 100_000 : data.index(b"2.txt") - 30]
    path.write_bytes(data)
    assert refusal(path, tmp_path).code == "archive-refused"


def test_sizes_that_are_lies(tmp_path: Path) -> None:
    path = shared(tmp_path, [])
    good = path.read_bytes()
    at = good.rindex(b"PK\1\2")
    for size in (1, 1 << 31, 0xFFFFFFFE):
        for field in (20, 24):
            data = bytearray(good)
            data[at + field : at + field + 4] = struct.pack("<L", size)
            path.write_bytes(data)
            assert refusal(path, tmp_path).code == "archive-refused"


def test_encrypted_and_unusual_packing(tmp_path: Path) -> None:
    path = shared(tmp_path, [])
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refusal(path, tmp_path).message
    assert "unusual" in refusal(shared(tmp_path, [("a.txt", b"x" * 99)], zipfile.ZIP_LZMA), tmp_path).message


def test_attacks_inside_of_a_shared_zip(tmp_path: Path) -> None:
    attack = io.BytesIO()
    torch.save(document(small(), info=Calls(os.system, f"touch {tmp_path / 'marker'}")), attack)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.pth", attack.getvalue())
    error = refusal(tmp_path / "a.zip", tmp_path)
    assert error.code == "model-unsafe"
    assert "a.zip:model.pth" in error.message  # not where it was unpacked to
    assert not (tmp_path / "marker").exists()


def test_attacks_called_an_index(tmp_path: Path) -> None:
    model = write_random_pth(tmp_path / "a.pth", small())
    marker = tmp_path / "marker"
    for data in (pickle.dumps(Calls(os.system, f"touch {marker}")), b"IwFl", b"IwFl" + b"\xff" * 999, b"text", b""):
        (tmp_path / "a.index").write_bytes(data)
        error = refusal(model, tmp_path, index=tmp_path / "a.index")
        assert error.code in ("index-not-faiss", "index-damaged", "index-unsupported")
        assert error.message.count("a.index") == 1
        assert not marker.exists()


def test_a_link_to_another_file_is_not_kept_as_one(tmp_path: Path) -> None:
    """A folder with a link: what is stored is a checked copy, never the link."""
    folder = tmp_path / "folder"
    folder.mkdir()
    write_random_pth(folder / "a.pth", small())
    (folder / "a.index").symlink_to(write_random_index(tmp_path / "x.index", vectors=50))
    voice, _ = import_voice(tmp_path / "library", folder, Context(tmp_path), consent="self")
    assert voice.index_file is not None
    assert not voice.index_file.is_symlink()
    (folder / "a.index").unlink()
    (folder / "a.index").symlink_to("/dev/zero")
    with pytest.raises(UnderstudyError) as refused:
        import_voice(tmp_path / "library", folder, Context(tmp_path), "b", consent="self", index=Path("/dev/zero"))
    assert refused.value.code in ("file-not-found", "no-such-index")
    assert [voice.name for voice in library.list_voices(tmp_path / "library")] == ["folder"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Files that ask for terabytes are refused in a process that has a few hundred megabytes more than it needs."""
    asking = {
        "bytearray": Calls(bytearray, 10**13),
        "tensor": Calls(torch.FloatTensor, 10**13),
    }
    for name, attack in asking.items():
        torch.save({"weight": attack}, tmp_path / f"{name}.pth")
    (tmp_path / "storage.pth").write_bytes(_torch_zip(b"\x80\x02" + _storage(1 << 40) + b".", {"archive/data/0": b""}))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "import torch; from understudy.errors import UnderstudyError\n"
        "from understudy.voices.rvc.checkpoint import read_checkpoint\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_checkpoint(Path(path)); sys.exit('taken')\n"
        "    except UnderstudyError as error: print(error.code)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    paths = [str(tmp_path / f"{name}.pth") for name in (*asking, "storage")]
    ran = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    *codes, grown = ran.stdout.split()
    assert codes == ["model-unsafe", "model-unsafe", "model-damaged"]
    assert int(grown) < 100_000  # kB
