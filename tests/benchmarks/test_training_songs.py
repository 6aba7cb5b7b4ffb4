"""Songs to train on: made again from the same seed they are the same, and each is what its layout says."""

from __future__ import annotations

import ctypes.util
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.training_songs.arrangement import band, scale_of
from benchmarks.training_songs.instruments import Kit, chordal, low, melodic
from benchmarks.training_songs.make import STEMS, make
from demo.singer import RATE

singing = pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed")


def test_a_band_depends_on_its_seed_alone() -> None:
    def played(seed: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        return band(scale_of(random), 0.4, 4.0, random)

    once, again, other = played(3), played(3), played(4)
    assert set(once) == {"drums", "bass", "other"}
    for name, stem in once.items():
        assert stem.shape == (2, 4 * RATE)
        assert np.isfinite(stem).all()
        assert np.array_equal(stem, again[name])
    assert not np.array_equal(once["other"], other["other"])


@pytest.mark.parametrize("kind", [chordal, melodic, low])
def test_instruments_play_the_pitch_that_they_are_given(kind) -> None:  # type: ignore[no-untyped-def]
    pitch = 45 if kind is low else 64
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    for seed in range(12):
        random = np.random.default_rng(seed)
        note = kind(random).play(pitch, 1.0, random)
        assert np.isfinite(note).all()
        assert 0.05 < np.abs(note).max() < 10
        power = np.abs(np.fft.rfft(note[:RATE])) ** 2
        near = sum(power[round(n * hertz * 0.95) : round(n * hertz * 1.05)].sum() for n in range(1, 9))
        assert near > 0.5 * power[20 : round(9 * hertz)].sum()


def test_every_drum_sounds_and_dies() -> None:
    kit = Kit.of(np.random.default_rng(0))
    for takes in kit.takes.values():
        for take in takes:
            assert np.abs(take).max() == pytest.approx(1.0)
            assert np.abs(take[-100:]).max() < 0.2


@singing
def test_a_song_depends_on_seed_and_number_and_sums_to_its_mixture(tmp_path: Path) -> None:
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        pool.starmap(make, [(tmp_path / name, 2, 7, 3.0) for name in ("once", "again")], chunksize=1)
    once, again = (
        {path.stem: soundfile.read(path, dtype="int16")[0] for path in (tmp_path / name / "2-00007").iterdir()}
        for name in ("once", "again")
    )
    assert set(once) == {*STEMS, "mixture"}
    assert all(np.array_equal(once[name], again[name]) for name in once)
    assert np.abs(once["vocals"]).max() > 300
    assert np.array_equal(once["mixture"], sum(once[name] for name in STEMS))
