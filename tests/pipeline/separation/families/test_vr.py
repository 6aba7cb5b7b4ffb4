"""VR networks: bands, names, what is refused, and how they sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audio.context import Context
from audio.models.installed import Weights
from audio.samples import Audio
from pipeline.separation.families import vr
from pipeline.separation.inference import infer
from pipeline.separation.settings import InferenceSettings


def checkpoint(folder: Path, bands: str = "1band_sr44100_hl512", bins: int = 1024, extra: str = "") -> Weights:
    """A network of version 5.1 that is only 4 channels wide, whose mask is one half everywhere."""
    from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet

    torch.manual_seed(0)
    network = CascadedNet(2 * bins, nout=4, nout_lstm=4)
    network.out.weight.data.zero_()
    path = folder / "net.pth"
    torch.save(network.state_dict(), path)
    path.with_suffix(".yaml").write_text(f"bands: {bands}\nprimary_stem: Instrumental\n{extra}")
    return Weights(path, "0" * 64)


@pytest.mark.parametrize(("bands", "bins"), [("1band_sr44100_hl512", 1024), ("4band_v3", 672)])
def test_both_stems_together_are_the_song_where_it_was(bands: str, bins: int, tmp_path: Path) -> None:
    network = vr.load(checkpoint(tmp_path, bands, bins), "cpu", "float32")
    song = np.zeros((2, 60_000), np.float32)
    song[0, 20_000] = 1
    song[1, 40_000] = -0.5
    found = infer(Context(tmp_path), network, Audio(song, 44100), InferenceSettings())
    assert tuple(found) == network.stems == ("instrumental", "vocals")
    together = sum(stem.read().samples for stem in found.values())
    assert (np.abs(together).argmax(1) == [20_000, 40_000]).all()
    assert np.abs(together - song).max() < 0.25  # the highest frequencies are not heard by these networks
