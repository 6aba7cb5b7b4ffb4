"""A file that train-separator wrote separates like any other model that lies in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pipeline.separation.training.material import SMALL
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.embedded import weights
from understudy.pipeline.separation.embedded.network import CHANNELS, Shape, build
from understudy.pipeline.separation.models import find_separator
from understudy.pipeline.separation.separator import separate_with
from understudy.pipeline.separation.settings import InferenceSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    weights.write(build(SMALL).eval(), SMALL, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_its_stems_are_aligned_with_the_song_and_sum_to_it(path: Path, tmp_path: Path) -> None:
    model = find_separator(str(path))
    assert (model.family, model.stems) == ("cue_net", ("vocals", "instrumental"))
    time = np.arange(3 * 44100) / 44100
    voice = np.sin(2 * np.pi * np.cumsum(300 + 20 * np.sin(2 * np.pi * 5 * time)) / 44100) * 0.2
    song = Audio.of(np.stack([voice, voice]) + np.random.default_rng(0).normal(0, 0.02, (2, len(voice))), 44100)
    stems = separate_with(Context(tmp_path), song, model, InferenceSettings())
    vocals, instrumental = (stems[name].read().samples for name in ("vocals", "instrumental"))
    assert vocals.shape == song.samples.shape
    np.testing.assert_allclose(vocals + instrumental, song.samples, atol=1e-5)
    spectra = np.fft.rfft(vocals[0], 2 * len(voice)), np.fft.rfft(song.samples[0], 2 * len(voice))
    assert np.fft.irfft(spectra[0] * np.conj(spectra[1])).argmax() == 0


@pytest.mark.parametrize("rate", [8000, 48000])
def test_mono_of_another_rate(path: Path, tmp_path: Path, rate: int) -> None:
    song = Audio.of(np.random.default_rng(2).normal(0, 0.1, rate), rate)
    stems = separate_with(Context(tmp_path), song, find_separator(str(path)), InferenceSettings())
    for stem in stems.values():
        assert (stem.rate, stem.channels, stem.frames) == (rate, 1, rate)
        assert np.isfinite(stem.read().samples).all()


def test_a_network_of_another_shape_than_its_file_says_is_refused(tmp_path: Path) -> None:
    weights.write(build(SMALL), Shape((8, 16), 8, 4), tmp_path / "odd.safetensors")
    with pytest.raises(UnderstudyError) as caught:
        separate_with(
            Context(tmp_path),
            Audio.silence(2, 4410, 44100),
            find_separator(str(tmp_path / "odd.safetensors")),
            InferenceSettings(),
        )
    assert caught.value.code == "model-invalid"


def test_any_number_of_frames_passes_through() -> None:
    network = build(SMALL).eval()
    for frames in (1, 7, 16, 33):
        with torch.inference_mode():
            assert network(torch.zeros(2, CHANNELS, frames, 672)).shape == (2, 2, frames, 672)
