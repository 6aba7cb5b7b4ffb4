"""MDX-Net from ONNX files: what is read, refused, guessed, and how it sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audio.context import Context
from audio.models.installed import Weights
from audio.samples import Audio
from pipeline.separation.families import mdx_net
from pipeline.separation.inference import infer
from pipeline.separation.settings import InferenceSettings
from tests.onnx_files import model, node

FACTS = "n_fft: 2048\ndim_f: {bins}\ndim_t: 32\ncompensate: {gain}\nprimary_stem: Instrumental\n"


def identity(folder: Path, bins: int = 1025, gain: float = 1.0, name: str = "net") -> Weights:
    """A network that gives what it is given."""
    shape = ["batch_size", 4, bins, 32]
    path = folder / f"{name}.onnx"
    path.write_bytes(model([node("Identity", ["input"], ["output"])], {}, {"input": shape}, {"output": shape}))
    path.with_suffix(".yaml").write_text(FACTS.format(bins=bins, gain=gain))
    return Weights(path, "0" * 64)


def test_a_network_that_changes_nothing_gives_the_song_where_it_was(tmp_path: Path) -> None:
    network = mdx_net.load(identity(tmp_path, gain=1.05), "cpu", "float32")
    song = np.zeros((2, 70_001), np.float32)
    song[0, [100, 30_000, 69_900]] = 1
    song[1, 45_000] = -0.5
    found = infer(Context(tmp_path), network, Audio(song, 44100), InferenceSettings())
    assert network.stems == ("instrumental",)
    heard = found["instrumental"].read().samples
    # only the three lowest bins, of which the network knows nothing, are missing
    assert np.abs(heard - 1.05 * song).max() < 0.01
    assert (np.abs(heard).argmax(1) == [100, 45_000]).all() or np.isclose(heard[0, 100], 1.05, atol=0.01)
