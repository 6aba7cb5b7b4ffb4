"""Broken and hostile files: whatever the bytes, `decode` gives finite sound or an `UnderstudyError`, and no debris.

The normal run breaks a few hundred files with a fixed seed. ``python -m tests.audio.test_fuzz_files 5000 7`` breaks
5000 with seed 7 and prints what came of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support.sound_files import ALL_FILES, tones, write
from understudy.audio.files import Limits, decode, probe
from understudy.audio.tags import made_by_understudy, read_tags
from understudy.context import Context
from understudy.errors import UnderstudyError

LIMITS = Limits(seconds=20, bytes=10_000_000)
EXTREMES = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x01",
)


def broken(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one to three kinds of damage; `other` is a file to take pieces from."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        at = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 256)))  # headers matter most
        size = int(rng.integers(1, 400))
        kind = rng.integers(8)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            for place in rng.integers(len(data), size=rng.integers(1, 30)):
                data[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            data[at : at + size] = rng.bytes(size)
        elif kind == 3:
            data[at : at + size] = bytes(size)
        elif kind == 4:
            del data[at : at + size]
        elif kind == 5:
            data[at:at] = data[at // 2 : at // 2 + size] * int(rng.integers(1, 5))
        elif kind == 6:
            data[at : at + 4] = EXTREMES[int(rng.integers(len(EXTREMES)))]
        else:
            start = int(rng.integers(len(other)))
            data[at : at + size] = other[start : start + size]
    return bytes(data)


def outcome(context: Context, path: Path) -> str:
    """What reading the file came to: ``decoded`` or an error's code."""
    out = context.folder / "fuzz.npy"
    before = sorted(context.folder.iterdir())
    try:
        probe(path, LIMITS)
        read_tags(path)
    except UnderstudyError:
        pass
    made_by_understudy(path)
    try:
        file = decode(context, path, out, limits=LIMITS)
    except UnderstudyError as error:
        left = sorted(context.folder.iterdir())
        return error.code if left == before and error.message and error.hint else f"{error.code}, but left {left}"
    samples = file.read().samples
    out.unlink()
    assert sorted(context.folder.iterdir()) == before
    assert file.channels in (1, 2)
    assert 0 < file.frames <= LIMITS.seconds * file.rate
    assert LIMITS.rate_low <= file.rate <= LIMITS.rate_high
    assert np.isfinite(samples).all()
    return "decoded"


KNOWN = {
    "decoded", "not-audio", "no-audio-track", "unsupported-codec", "file-truncated", "file-damaged", "file-empty",
    "song-empty", "song-too-long", "too-many-channels", "unsupported-rate", "samples-not-finite",
    "samples-out-of-range",
}  # fmt: skip


def seeds(folder: Path) -> dict[str, bytes]:
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, 12000))
    return {name: write(folder / name, tones(12000) + noise).read_bytes() for name in ALL_FILES}


def run(folder: Path, names: tuple[str, ...], cases: int, seed: int) -> Counter[str]:
    context = Context(folder)
    contents = seeds(folder)
    rng = np.random.default_rng(seed)
    results: Counter[str] = Counter()
    victim = folder / "victim.bin"
    for case in range(cases):
        name = names[case % len(names)]
        other = contents[ALL_FILES[int(rng.integers(len(ALL_FILES)))]]
        victim.write_bytes(broken(contents[name], other, rng))
        context.warnings.clear()
        results[outcome(context, victim)] += 1
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_FILES)
def test_broken_files_decode_or_are_refused(tmp_path, name):
    results = run(tmp_path, (name,), 15, seed=ALL_FILES.index(name))
    assert sum(results.values()) == 15
    assert set(results) <= KNOWN


def test_random_bytes_behind_every_magic_number(tmp_path):
    rng = np.random.default_rng(3)
    victim = tmp_path / "victim.bin"
    for name, content in seeds(tmp_path).items():
        for keep in (4, 12, 64):
            victim.write_bytes(content[:keep] + rng.bytes(3000))
            assert outcome(Context(tmp_path), victim) in KNOWN, name


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, resource.RLIM_INFINITY))  # a file that wants more shows up
    with tempfile.TemporaryDirectory() as place:
        for code, count in run(Path(place), ALL_FILES, int(sys.argv[1]), int(sys.argv[2])).most_common():
            print(f"{count:6} {code}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
