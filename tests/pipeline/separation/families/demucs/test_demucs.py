"""A song goes through our windows and networks as through those of the package, and nothing in a file is run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.support import checkpoints
from tests.support.small_demucs import (
    RATE,
    SOURCES,
    music,
    network,
    snr,
    write,
    write_safetensors,
)
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.families.demucs import load, stems
from understudy.pipeline.separation.families.demucs.checkpoint import read_checkpoint
from understudy.pipeline.separation.families.demucs.construction import construct
from understudy.pipeline.separation.families.demucs.hybrid import Hybrid, hybrid
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.models import find_separator, load_network
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings


def separated(folder: Path, made: Network, song: torch.Tensor, **settings: Any) -> torch.Tensor:
    context = Context(folder)
    found = infer(context, made, Audio(song.numpy(), RATE), InferenceSettings(**settings))
    return torch.stack([torch.from_numpy(found[name].read(0, song.shape[1]).samples.copy()) for name in made.stems])


def as_published(model: Any, song: torch.Tensor, **settings: Any) -> torch.Tensor:
    from demucs.apply import apply_model

    reference = song.mean(0)
    mean, deviation = reference.mean(), reference.std()
    scaled = (song - mean) / deviation
    found: torch.Tensor = apply_model(model, scaled[None], shifts=0, split=True, **settings)[0]
    return found * deviation + mean


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [7.3, 3.2, 0.4])
def test_a_song_is_separated_as_the_package_does(tmp_path: Path, seconds: float) -> None:
    model, arguments = network("HTDemucs")
    made = load(Weights(write(tmp_path / "955717e8.th", model, arguments), ""), "cpu", "float32")
    assert made.stems == SOURCES
    assert (made.window, made.step, made.rate) == (12800, 9600, RATE)
    song = music(seconds)
    assert snr(as_published(model, song), separated(tmp_path, made, song)) > 90


def test_weights_alone_take_their_settings_from_the_configuration_beside_them(tmp_path: Path) -> None:
    """As MSST writes them."""
    model, arguments = network("HTDemucs")
    names = {"sources": "instruments", "samplerate": "samplerate", "segment": "segment"}
    training = {new: arguments.pop(old) for old, new in names.items()} | {"segment": 1.6}
    configuration: dict[str, Any] = {
        "training": training,
        "model": "htdemucs",
        "htdemucs": {**arguments, "num_subbands": 1},
    }
    path = checkpoints.write(tmp_path, {"state_dict": model.state_dict()}, configuration).path
    found = find_separator(str(path))
    assert (found.family, found.stems) == ("demucs", SOURCES)
    windows, made = music(1.6)[None], load_network(found, "cpu", "float32")
    assert made.normalise == "none"
    with torch.inference_mode():
        assert snr(model(windows), made.separate(windows)) > 90
    configuration["htdemucs"] |= {"num_subbands": 4, 7: "a key that is no name"}
    checkpoints.write(tmp_path, model.state_dict(), configuration)
    with pytest.raises(UnderstudyError, match="meaning of 7, num_subbands is not known"):
        load_network(find_separator(str(path)), "cpu", "float32")
    path.with_suffix(".yaml").unlink()
    with pytest.raises(UnderstudyError, match="needs the configuration"):
        find_separator(str(path))


@pytest.mark.slow
def test_the_overlap_is_that_which_is_asked_for(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    made = load(Weights(write(tmp_path / "955717e8.th", model, arguments), ""), "cpu", "float32")
    song = music(4)
    assert snr(as_published(model, song, overlap=0.5), separated(tmp_path, made, song, overlap=0.5)) > 90


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"bottom_channels": 0},
        {"dconv_mode": 1, "t_cross_first": True},
        {"dconv_mode": 0, "freq_emb": 0.0, "t_gelu": False, "t_layer_scale": False, "t_norm_out": False},
        {"channels_time": 4, "bottom_channels": 32, "context": 0, "sources": ["vocals", "accompaniment"]},
        {"audio_channels": 2, "dconv_depth": 1, "t_emb": "cape", "segment": 1.503},
    ],
    ids=str,
)
@pytest.mark.parametrize(("precision", "enough"), [("float32", 90), ("bfloat16", 40)])
def test_the_fast_network_is_the_package_s(changed: dict[str, Any], precision: Precision, enough: float) -> None:
    if changed.get("channels_time"):
        changed = {**changed, "channels_time": 8}
    model, arguments = network("HTDemucs", **changed)
    fast = hybrid(model, getattr(torch, precision))
    assert isinstance(fast, Hybrid)
    frames = int(arguments["segment"] * RATE)
    windows = torch.stack([music(2)[:, :frames], 3 * music(2)[:, -frames:]])
    with torch.inference_mode():
        truth = model(windows)
        found = fast(windows, tuple(range(truth.shape[1])))
        first = fast(windows, (1,))
    assert snr(truth, found) > enough
    assert min(snr(one, other) for one, other in zip(truth[0], found[0], strict=True)) > enough - 3
    # asked for one stem alone, it is the same
    assert snr(found[:, 1:2], first) > (100 if precision == "float32" else 45)


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"norm_starts": 2}, {"context_enc": 1}, {"t_layers": 0}])
def test_a_network_that_is_arranged_otherwise_is_left_to_the_package(tmp_path: Path, changed: dict[str, Any]) -> None:
    model, arguments = network("HTDemucs", **changed)
    assert hybrid(model, torch.float32) is None
    made = load(Weights(write(tmp_path / "model.th", model, arguments), ""), "cpu", "bfloat16")
    song = music(1.6)
    with torch.inference_mode():
        assert snr(model(song[None])[0], made.separate(song[None])[0]) > 90


def test_silence_stays_finite_and_nearly_silent(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    made = load(Weights(write(tmp_path / "model.th", model, arguments), ""), "cpu", "bfloat16")
    found = separated(tmp_path, made, torch.zeros(2, 3 * RATE))
    assert float(found.abs().max()) < 1e-4


def test_half_windows_where_memory_is_short(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs", segment=8)
    made = load(Weights(write(tmp_path / "model.th", model, arguments), ""), "cpu", "float32")
    windows = []
    while made.shorter is not None:
        made = made.shorter()
        windows.append(made.window / RATE)
    assert windows == [4, 2]
    song = music(5)
    found = separated(tmp_path, made, song)
    assert found.shape == (4, *song.shape)
    assert bool(found.isfinite().all())


@pytest.mark.slow
def test_the_older_networks(tmp_path: Path) -> None:
    """Whose last window isn't shortened here, so that it hears more of the song."""
    song = music(5)
    for kind in ("HDemucs", "Demucs"):
        model, arguments = network(kind)
        made = load(Weights(write(tmp_path / f"{kind}.th", model, arguments), ""), "cpu", "float32")
        truth, found = as_published(model, song), separated(tmp_path, made, song)
        last = made.step * (song.shape[1] // made.step)
        assert snr(truth[..., : last - RATE // 4], found[..., : last - RATE // 4]) > 90, kind


@pytest.mark.slow
def test_older_networks_see_less_at_once_on_a_processor(tmp_path: Path) -> None:
    for kind, segment, window in (("HDemucs", 44, 12), ("HDemucs", 3, 3), ("HTDemucs", 20, 20)):
        model, arguments = network(kind, segment=segment)
        made = load(Weights(write(tmp_path / "model.th", model, arguments), ""), "cpu", "float32")
        assert made.window == window * RATE


@pytest.mark.slow
def test_a_bag_is_the_mean_of_its_networks(tmp_path: Path) -> None:
    from demucs.apply import BagOfModels

    made = [network("HTDemucs", seed) for seed in range(3)]
    files = [write(tmp_path / f"f7e0c4b{n}-8726e21a.th", *made[n]) for n in range(3)]
    weights = [[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    listed = tmp_path / "small_ft.yaml"
    listed.write_text(f"models: ['f7e0c4b0', 'f7e0c4b1', 'f7e0c4b2']\nweights: {weights}\nsegment: 1.5\n")
    given = Weights(listed, "", tuple(Weights(file, "") for file in files))
    bag = load(given, "cpu", "float32")
    assert stems(given) == SOURCES
    assert bag.size == 2 * 4 * sum(value.numel() for value in made[0][0].state_dict().values())
    song = music(4)
    reference = BagOfModels([cast(Any, model) for model, _ in made], weights, 1.5)
    assert snr(as_published(reference, song), separated(tmp_path, bag, song)) > 90


@pytest.mark.slow
def test_a_bag_of_networks_on_waveforms_and_spectra(tmp_path: Path) -> None:
    """Windows of both lie on one another."""
    from demucs.apply import BagOfModels

    made = [network("HDemucs"), network("Demucs")]
    for name, (model, arguments) in zip(("0d19c1c6", "7ecf8ec1"), made, strict=True):
        write(tmp_path / f"{name}.th", model, arguments)
    listed = tmp_path / "mdx.yaml"
    listed.write_text("models: ['0d19c1c6', '7ecf8ec1']")
    files = tuple(Weights(tmp_path / f"{name}.th", "") for name in ("0d19c1c6", "7ecf8ec1"))
    bag = load(Weights(listed, "", files), "cpu", "float32")
    song = music(5)
    truth = as_published(BagOfModels([cast(Any, model) for model, _ in made]), song)
    found = separated(tmp_path, bag, song)
    last = bag.step * (song.shape[1] // bag.step) - RATE // 4
    assert snr(truth[..., :last], found[..., :last]) > 90


def test_a_bag_lacks_a_file(tmp_path: Path) -> None:
    listed = tmp_path / "bag.yaml"
    listed.write_text("models: ['955717e8']")
    with pytest.raises(UnderstudyError) as refused:
        load(Weights(listed, ""), "cpu", "float32")
    assert refused.value.code == "model-companion"
    assert "955717e8" in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "models: 3", "models: []", "- a", "a: [", "models: ['955717e8']\nweights: [[1, 1]]", "\0",
        "models: ['955717e8']\nweights: [[0, 1, 1, 1]]", "models: ['955717e8']\nweights: [[-1, 1, 1, 1]]",
        "models: ['955717e8']\nweights: [[.nan, 1, 1, 1]]", "models: ['955717e8']\nsegment: 1000000",
    ],
)  # fmt: skip
def test_a_list_that_is_no_bag(tmp_path: Path, text: str) -> None:
    model, arguments = network("HTDemucs")
    file = write(tmp_path / "955717e8.th", model, arguments)
    listed = tmp_path / "bag.yaml"
    listed.write_text(text)
    with pytest.raises(UnderstudyError) as refused:
        load(Weights(listed, "", (Weights(file, ""),)), "cpu", "float32")
    assert refused.value.code == "model-invalid"
    assert str(listed) in refused.value.message


def test_safetensors_as_the_package_writes_them(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    path = write_safetensors(tmp_path / "955717e8.safetensors", model, arguments)
    made = load(Weights(path, ""), "cpu", "float32")
    assert made.window == 12800
    song = music(1.6)
    with torch.inference_mode():
        assert snr(model(song[None])[0], made.separate(song[None])[0]) > 90


@pytest.mark.slow
def test_half_precision_files_and_arguments_that_nobody_knows(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    state = {name: value.half() for name, value in model.state_dict().items()}
    path = write(tmp_path / "955717e8.th", model, {**arguments, "of_tomorrow": 3}, state=state)
    read = read_checkpoint(path)
    assert "of_tomorrow" not in read.arguments
    assert read.sources == SOURCES
    assert next(construct(read).parameters()).dtype == torch.float32


@pytest.mark.slow
def test_the_same_song_gives_the_same_bytes_and_stops_when_asked(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    made = load(Weights(write(tmp_path / "model.th", model, arguments), ""), "cpu", "bfloat16")
    song = music(4)
    first = separated(tmp_path, made, song)
    assert np.array_equal(first.numpy(), separated(tmp_path, made, song).numpy())
    context = Context(tmp_path, cancelled=threading.Event())
    context.cancelled.set()
    with pytest.raises(Cancelled):
        infer(context, made, Audio(song.numpy(), RATE), InferenceSettings())
