"""MDX-Net from ONNX files: what is read, refused, guessed, and how it sounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from tests.support.onnx_files import MDXNet, model, node, part, tensor, whole
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.installed import Weights
from understudy.models.onnx_file import load as read_graph
from understudy.pipeline.separation.families import mdx_net
from understudy.pipeline.separation.families.mdx_net.program import UnknownOperator, program
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.settings import InferenceSettings

BINS, SPECTRA = 256, 32
FACTS = "n_fft: {n_fft}\ndim_f: {bins}\ndim_t: 32\ncompensate: {gain}\nprimary_stem: Instrumental\n"


def facts(path: Path, bins: int = BINS, gain: float = 1.0, n_fft: int = 2048, more: str = "") -> Weights:
    path.with_suffix(".yaml").write_text(FACTS.format(bins=bins, gain=gain, n_fft=n_fft) + more)
    return Weights(path, "0" * 64)


def identity(path: Path, bins: int = BINS, operator: str = "Identity") -> Path:
    """A network that gives what it is given."""
    shape = ["batch_size", 4, bins, SPECTRA]
    path.write_bytes(model([node(operator, ["input"], ["output"])], {}, {"input": shape}, {"output": shape}))
    return path


def noise(frames: int, seed: int = 0) -> Audio:
    return Audio((np.random.default_rng(seed).standard_normal((2, frames)) * 0.1).astype(np.float32), 44100)


def stem_of(folder: Path, weights: Weights, song: Audio, settings: InferenceSettings | None = None) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    network = mdx_net.load(weights, "cpu", "float32")
    (stem,) = infer(Context(folder), network, song, settings or InferenceSettings()).values()
    return stem.read().samples


def test_a_network_that_changes_nothing_gives_the_song_where_it_was(tmp_path: Path) -> None:
    weights = facts(identity(tmp_path / "net.onnx", 1025), 1025, gain=1.05)
    song = np.zeros((2, 70_001), np.float32)
    song[0, [0, 30_000, 70_000]] = 1
    song[1, 45_000] = -0.5
    output = stem_of(tmp_path, weights, Audio(song, 44100))
    # only the three lowest bins, of which the network knows nothing, are missing; the gain is what the facts tell
    assert np.abs(output - 1.05 * song).max() < 0.01


def test_the_stem_is_named_as_told(tmp_path: Path) -> None:
    path = identity(tmp_path / "net.onnx")
    assert mdx_net.stems(facts(path)) == ("instrumental",)
    assert mdx_net.stems(facts(path, more="is_karaoke: true\n")) == ("backing",)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("UVR-MDX-NET-Inst_9", "instrumental"), ("kuielab_x_drums", "drums"), ("Reverb_Q", "reverb"), ("x", "vocals"),
     ("UVR_MDXNET_KARA_9", "backing")],
)  # fmt: skip
def test_an_unknown_file_is_guessed_and_that_is_said(name: str, stem: str, tmp_path: Path) -> None:
    path = identity(tmp_path / f"{name}.onnx")
    network = mdx_net.load(Weights(path, "0" * 64), "cpu", "float32")
    assert network.stems == (stem,)
    context = Context(tmp_path)
    infer(context, network, noise(5000), InferenceSettings())
    assert any(path.with_suffix(".yaml").name in warning for warning in context.warnings)


def test_an_incredible_gain_is_not_believed(tmp_path: Path) -> None:
    network = mdx_net.load(facts(identity(tmp_path / "net.onnx"), gain=1.75), "cpu", "float32")
    assert any("1.75" in caution for caution in network.cautions)
    windows = torch.randn(1, 2, network.window)
    plain = mdx_net.load(facts(identity(tmp_path / "net.onnx"), gain=1.0), "cpu", "float32")
    assert torch.equal(network.separate(windows), plain.separate(windows))


def test_silence_gives_silence_and_short_songs_their_length(tmp_path: Path) -> None:
    weights = facts(identity(tmp_path / "net.onnx"))
    for frames in (1, 100, 31_745):
        assert not stem_of(tmp_path / str(frames), weights, Audio.silence(2, frames, 44100)).any()
        assert stem_of(tmp_path / str(frames), weights, noise(frames)).shape == (2, frames)


def test_the_same_song_gives_the_same_bytes_and_windows_do_not_show(tmp_path: Path) -> None:
    weights = facts(identity(tmp_path / "net.onnx"))
    song = noise(150_000)
    once, again = (stem_of(tmp_path / name, weights, song) for name in ("once", "again"))
    assert once.tobytes() == again.tobytes()
    closer = stem_of(tmp_path / "closer", weights, song, InferenceSettings(overlap=0.75))
    assert np.std(once - closer) < 0.03 * np.std(once)


def test_it_stops_within_a_window_when_cancelled(tmp_path: Path) -> None:
    network = mdx_net.load(facts(identity(tmp_path / "net.onnx")), "cpu", "float32")
    cancelled = Event()
    fractions: list[float] = []

    def stop(fraction: float) -> None:
        fractions.append(fraction)
        cancelled.set()

    with pytest.raises(Cancelled):
        infer(Context(tmp_path, on_progress=stop, cancelled=cancelled), network, noise(400_000), InferenceSettings())
    assert len(fractions) == 1


def test_the_program_for_gpus_computes_what_onnxruntime_does(tmp_path: Path) -> None:
    path = MDXNet(BINS, SPECTRA, depth=2, layers=2).write(tmp_path / "net.onnx")
    weights = facts(path)
    spectra = torch.randn(2, 4, BINS, SPECTRA)
    expected = mdx_net.session_of(weights)(spectra)
    with torch.inference_mode():
        found = mdx_net.program_for_gpu(read_graph(path), "cpu", "float16")(spectra)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("operator", "function"),
    [("Sigmoid", torch.sigmoid), ("Tanh", torch.tanh), ("Relu", torch.relu), ("Identity", lambda values: values)],
)
def test_single_operators(operator: str, function: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path) -> None:
    path = identity(tmp_path / "net.onnx", operator=operator)
    values = torch.randn(1, 4, BINS, SPECTRA)
    assert torch.equal(program(read_graph(path), "cpu")(values), function(values))
    assert torch.allclose(mdx_net.session_of(facts(path))(values), function(values), atol=1e-6)


def test_arithmetic_with_weights_on_either_side(tmp_path: Path) -> None:
    shape = ["batch_size", 4, BINS, SPECTRA]
    two, five = (np.full((1, 4, 1, 1), value, np.float32) for value in (2, 5))
    path = tmp_path / "net.onnx"
    nodes = [node("Sub", ["five", "input"], ["less"]), node("Div", ["less", "two"], ["output"])]
    path.write_bytes(model(nodes, {"two": two, "five": five}, {"input": shape}, {"output": shape}))
    values = torch.randn(1, 4, BINS, SPECTRA)
    assert torch.allclose(program(read_graph(path), "cpu")(values), (5 - values) / 2)


def test_the_program_for_gpus_says_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(UnknownOperator, match="Softmax"):
        program(read_graph(identity(tmp_path / "net.onnx", operator="Softmax")), "cpu")


def refused(weights: Weights) -> str:
    with pytest.raises(UnderstudyError) as caught:
        network = mdx_net.load(weights, "cpu", "float32")
        network.separate(torch.zeros(1, 2, network.window))
    assert caught.value.code == "model-invalid"
    return caught.value.message


def test_facts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = identity(tmp_path / "net.onnx")
    assert "dim_f" in refused(facts(path, bins=512))
    assert "100" in refused(facts(path, n_fft=100))
    assert "2047" in refused(facts(path, n_fft=2047))
    assert "1048576" in refused(facts(path, n_fft=1 << 20))


def test_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    shape = ["batch_size", 4, BINS, SPECTRA]
    step = node("Identity", ["input"], ["output"])
    weights = facts(path)
    path.write_bytes(b"no such thing")
    refused(weights)
    path.write_bytes(b"")
    refused(weights)
    path.write_bytes(model([step], {}, {"input": ["batch_size", 2, BINS, SPECTRA]}, {"output": shape}))
    assert "4 channels" in refused(weights)
    path.write_bytes(model([step], {}, {"input": shape, "more": shape}, {"output": shape}))
    assert "inputs and outputs (2, 1)" in refused(weights)
    path.write_bytes(model([node("Loop", ["input"], ["output"])], {}, {"input": shape}, {"output": shape}))
    assert "Loop" in refused(weights)
    path.write_bytes(model([node("Tile", ["input"], ["output"])], {}, {"input": shape}, {"output": shape}))
    assert "Tile" in refused(weights)
    turned = node("Transpose", ["input"], ["output"], perm=[0, 1, 3, 2])
    path.write_bytes(model([turned], {}, {"input": shape}, {"output": ["batch_size", 4, SPECTRA, BINS]}))
    assert "it gives" in refused(weights)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    shape = ["batch_size", 4, BINS, SPECTRA]
    (tmp_path / "secret").write_bytes(bytes(4))
    where = part(13, part(1, "location") + part(2, "secret")) + whole(14, 1)
    outside = whole(1, 1) + whole(2, 1) + part(8, "weight") + where
    path = tmp_path / "net.onnx"
    path.write_bytes(
        model([node("Add", ["input", "weight"], ["output"])], [outside], {"input": shape}, {"output": shape})
    )
    assert "another file" in refused(facts(path))
    inside = tensor("weight", np.ones(1, np.float32))
    path.write_bytes(
        model([node("Add", ["input", "weight"], ["output"])], [inside], {"input": shape}, {"output": shape})
    )
    assert mdx_net.load(facts(path), "cpu", "float32").stems == ("instrumental",)
