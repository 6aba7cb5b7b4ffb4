"""Imports mutated model files, indexes and archives: each must be imported or refused with a clear error.

    python -m benchmarks.fuzz_models --runs 2000 --seed 0

Every file goes through the code of ``understudy voices import``, in one process. Some contain code that would create a
marker file. Failures are: an exception other than `UnderstudyError`, an error without a hint or with more than one
line, a crash (the process would end), more than 20 seconds for a file, files left behind, a marker file, a voice in the
library that can't be loaded, and memory growth of more than 1 GB.
"""

from __future__ import annotations

import argparse
import collections
import gc
import io
import os
import pickle
import random
import resource
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.support.rvc_files import document, random_weights, real, small, write_random_index, write_random_pth
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import archive, library
from understudy.voices.importing import import_voice
from understudy.voices.rvc.checkpoint import read_checkpoint, write_safetensors

_SLOWEST = 20  # seconds
_MOST_GROWTH = 1 << 20  # kB


class _Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def _seeds(folder: Path) -> dict[str, bytes]:
    """Valid files of every format, small ones and two of real size."""
    context = Context(folder)
    made: dict[str, bytes] = {}
    for version in ("v1", "v2"):
        for f0 in (True, False):
            path = write_random_pth(folder / "a.pth", small(version, f0))
            made[f"{version} f0={f0}.pth"] = path.read_bytes()
    torch.save(document(small()), folder / "old.pth", _use_new_zipfile_serialization=False)
    made["old form.pth"] = (folder / "old.pth").read_bytes()
    write_random_pth(folder / "b.pth", small())
    write_safetensors(read_checkpoint(folder / "b.pth"), folder / "b.safetensors")
    made["small.safetensors"] = (folder / "b.safetensors").read_bytes()
    index = write_random_index(folder / "a.index", "v2", 80)
    made["v2.index"] = index.read_bytes()
    with zipfile.ZipFile(folder / "shared.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(folder / "b.pth", "nova/model.pth")
        packed.write(index, "nova/added_1.index")
        packed.writestr("readme.txt", "a voice")
    made["shared.zip"] = (folder / "shared.zip").read_bytes()
    voice, _ = import_voice(folder / "library", folder / "shared.zip", context, "nova", consent="self")
    made["ours.zip"] = archive.export(voice, folder / "ours.zip", context).read_bytes()
    made["real.pth"] = write_random_pth(folder / "real.pth", real("v2", 48000)).read_bytes()
    training = {"enc_q.pre.weight": torch.zeros(192, 1025, 1), **random_weights(real("v1", 40000, False))}
    torch.save({"model": training, "iteration": 1, "optimizer": {}, "learning_rate": 1e-4}, folder / "G_1.pth")
    made["training.pth"] = (folder / "G_1.pth").read_bytes()
    return made


def _flip(data: bytes, fuzz: random.Random) -> bytes:
    """Flips a few bits, mostly at both ends, where the structure is stored."""
    changed = bytearray(data)
    for _ in range(fuzz.randint(1, 6)):
        reach = fuzz.choice([64, 1000, 20_000, len(data)])
        at = fuzz.randrange(min(reach, len(data)))
        changed[at if fuzz.random() < 0.5 else len(data) - 1 - at] ^= 1 << fuzz.randrange(8)
    return bytes(changed)


def _numbers(data: bytes, fuzz: random.Random) -> bytes:
    """A length or a count replaced by one that hurts."""
    changed = bytearray(data)
    for _ in range(fuzz.randint(1, 3)):
        size = fuzz.choice([1, 2, 4, 8])
        number = fuzz.choice([0, 1, 2, (1 << 7), (1 << 8 * size) - 1, (1 << (8 * size - 1)), (1 << (8 * size - 1)) - 1])
        at = fuzz.randrange(min(fuzz.choice([200, 5000, len(data)]), len(data)))
        at = at if fuzz.random() < 0.6 else max(0, len(data) - 1 - at)
        changed[at : at + size] = number.to_bytes(8, "little")[:size]
    return bytes(changed)


def _cut(data: bytes, fuzz: random.Random) -> bytes:
    return data[: fuzz.choice([fuzz.randrange(len(data)), fuzz.randrange(min(200, len(data))), len(data) - 1])]


def _splice(data: bytes, fuzz: random.Random) -> bytes:
    """A piece moved, doubled, taken out, or bytes put in."""
    start = fuzz.randrange(len(data))
    piece = data[start : start + fuzz.choice([1, 8, 100, 5000])]
    at = fuzz.randrange(len(data))
    kind = fuzz.randrange(4)
    if kind == 0:
        return data[:at] + piece + data[at:]
    if kind == 1:
        return data[:start] + data[start + len(piece) :]
    if kind == 2:
        return data[:at] + piece + data[at + len(piece) :]
    return data[:at] + fuzz.randbytes(fuzz.choice([1, 4, 300])) + data[at:]


def _words(data: bytes, fuzz: random.Random) -> bytes:
    """A name in the file replaced by another of the same length, so that all checks of sizes still pass."""
    words = [b"collections", b"OrderedDict", b"_rebuild_tensor_v2", b"HalfStorage", b"weight", b"config", b"data.pkl",
             b"storage", b"dec.conv_pre", b"emb_phone", b"version", b"IxF2", b"ilar", b"full", b"model", b"F16", b"v2",
             b"archive", b"readme", b"PK\x01\x02", b"PK\x03\x04", b"shape", b"data_offsets", b"voice.json", b"sha256",
             b"speaker", b"added_1"]  # fmt: skip
    there = [word for word in words if word in data]
    if not there:
        return _flip(data, fuzz)
    word = fuzz.choice(there)
    other = fuzz.choice(
        [b"posix\nsystem\n", b"../../../../x", b"/etc/passwd\0", bytes(len(word)), word.swapcase(), word[::-1],
         b"\xff" * len(word), b"9" * 20]
    )  # fmt: skip
    return data.replace(word, other[: len(word)].ljust(len(word), b"_"), fuzz.choice([1, -1]))


def _pickled(data: bytes, fuzz: random.Random) -> bytes:
    """The pickle inside of a model file changed, all checksums right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            entries = [(info, old.read(info)) for info in old.infolist()]
    except (zipfile.BadZipFile, ValueError):
        return _flip(data, fuzz)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as new:
        for info, content in entries:
            if info.filename.endswith(("data.pkl", "voice.json")):
                content = fuzz.choice([_flip, _numbers, _splice, _words, _cut])(content, fuzz)
            elif fuzz.random() < 0.002:
                continue
            new.writestr(info.filename, content)
    return packed.getvalue()


def _header(data: bytes, fuzz: random.Random, marker: Path) -> bytes:
    """A new model file with wrong values in one or two places."""
    anything: list[Any] = [None, -1, 0, 1 << 70, 10**300, 1e308, float("nan"), "", "x" * 5000, b"x", [], [[]], {}, True,
                (1,) * 99, torch.zeros(0), torch.zeros(()).expand(1 << 20, 1 << 20), torch.zeros(3, dtype=torch.int8),
                _Touch(marker), "v2", "48k", [3] * 18]  # fmt: skip
    made = document(small(fuzz.choice(["v1", "v2"]), fuzz.random() < 0.5), fuzz.randrange(99))
    for _ in range(fuzz.randint(1, 2)):
        place = fuzz.choice([made, made.get("weight"), made.get("config")])
        value = fuzz.choice(anything)
        if isinstance(place, dict) and place:
            place[fuzz.choice([*place, "another"])] = value
        elif isinstance(place, list) and place:
            place[fuzz.randrange(len(place))] = value
    packed = io.BytesIO()
    if fuzz.random() < 0.1:
        return pickle.dumps(made, fuzz.randrange(6))
    torch.save(made, packed, _use_new_zipfile_serialization=fuzz.random() < 0.8)
    return packed.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="understudy-fuzz-") as folder:
        return _run(Path(folder), options.runs, options.seed)


def _run(folder: Path, runs: int, seed: int) -> int:
    fuzz = random.Random(seed)
    (folder / "seeds").mkdir()
    seeds = _seeds(folder / "seeds")
    good_model, good_index = folder / "good.pth", folder / "good.index"
    good_model.write_bytes(seeds["v2 f0=True.pth"])
    good_index.write_bytes(seeds["v2.index"])
    work, root, given, marker = folder / "work", folder / "library", folder / "given", folder / "marker"
    work.mkdir()
    given.mkdir()
    context = Context(work)
    small_ones = [name for name in seeds if name not in ("real.pth", "training.pth")]
    counts: collections.Counter[str] = collections.Counter()
    codes: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    slowest, began = 0.0, time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mutations: dict[str, Callable[[bytes, random.Random], bytes]] = {
        "flip": _flip, "numbers": _numbers, "cut": _cut, "splice": _splice, "words": _words, "pickled": _pickled,
        "header": lambda data, fuzz: _header(data, fuzz, marker),
    }  # fmt: skip
    for run in range(runs):
        seed_name = fuzz.choice(["real.pth", "training.pth"]) if run % 50 == 49 else fuzz.choice(small_ones)
        mutation = fuzz.choice([*mutations, "pickled", "pickled", "header"])
        data = mutations[mutation](seeds[seed_name], fuzz)
        for _ in range(fuzz.choice([0, 0, 0, 1, 2])):
            again = fuzz.choice(["flip", "numbers", "words", "splice"])
            data = mutations[again](data, fuzz) if data else data
        suffix = Path(seed_name).suffix if mutation != "header" else ".pth"
        path = (
            given / f"{run}{suffix if fuzz.random() < 0.9 else fuzz.choice(['.zip', '.pth', '.bin', '.safetensors'])}"
        )
        path.write_bytes(data)
        what = f"run {run}: {seed_name}, {mutation}"
        start = time.perf_counter()
        try:
            if suffix == ".index":
                import_voice(root, good_model, context, "nova", consent="self", index=path, replace=True)
            else:
                index = good_index if fuzz.random() < 0.2 and seed_name != "ours.zip" else None
                import_voice(root, path, context, "nova", consent="self", index=index, replace=True)
            counts["imported"] += 1
            library.load(root, "nova")
        except UnderstudyError as error:
            counts["refused"] += 1
            codes[error.code] += 1
            if not error.hint or not error.message.isprintable() or len(error.message) > 1500:
                failures.append(f"{what}: an unreadable error message: {error.message[:300]!r}")
        except Exception:
            failures.append(f"{what}: {traceback.format_exc()}")
            (folder / f"failure-{run}").write_bytes(data)
        took = time.perf_counter() - start
        slowest = max(slowest, took)
        if took > _SLOWEST:
            failures.append(f"{what}: took {took:.0f} s")
        path.unlink()
        gc.collect() if run % 100 == 0 else None
        left = [*work.iterdir(), *given.iterdir()]
        kept = (".lock", "consent-log.jsonl", "nova")
        left += [entry for entry in root.iterdir() if entry.name not in kept] if root.exists() else []
        if left or marker.exists():
            failures.append(f"{what}: left {[str(entry) for entry in left]}, ran: {marker.exists()}")
            marker.unlink(missing_ok=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > _MOST_GROWTH:
        failures.append(f"memory grew by {grown >> 10} MB")
    print(
        f"{runs} files (seed {seed}) in {time.perf_counter() - began:.0f} s: {dict(counts)}, {len(failures)} failures"
    )
    print(f"refused as: {dict(codes.most_common())}")
    print(f"slowest {slowest:.1f} s; peak memory grew by {grown >> 10} MB")
    for failure in failures[:20]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
