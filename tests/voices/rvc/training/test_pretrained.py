from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from tests.support.rvc_files import write_random_pth
from tests.support.training_batches import random_batch
from understudy.errors import UnderstudyError
from understudy.voices.rvc.architecture import Architecture, published, segment_frames, tensor_shapes, tiny
from understudy.voices.rvc.training.batch import draw
from understudy.voices.rvc.training.networks import in_rvc_order, networks, weights
from understudy.voices.rvc.training.pretrained import read_base, write_pair
from understudy.voices.rvc.training.step import new_state, step
from understudy.voices.training.settings import TrainingSettings

TINY = tiny()


def pair(
    folder: Path, architecture: Architecture = TINY, changes: Mapping[str, torch.Tensor | None] = MappingProxyType({})
) -> tuple[Path, Path]:
    """A G and a D file with random weights; `changes` replace tensors of G, None removes one."""
    generator, discriminator = networks(architecture, 1)
    model = {**weights(generator), **changes}
    paths = folder / "G.pth", folder / "D.pth"
    torch.save({"model": {name: tensor for name, tensor in model.items() if tensor is not None}}, paths[0])
    torch.save({"model": weights(discriminator)}, paths[1])
    return paths


def refused(code: str, paths: tuple[Path, Path], architecture: Architecture = TINY) -> str:
    with pytest.raises(UnderstudyError) as caught:
        read_base(*paths, architecture)
    assert caught.value.code == code
    return str(caught.value)


def test_a_training_begins_with_the_base(tmp_path: Path) -> None:
    base = read_base(*pair(tmp_path, replace(TINY, speakers=5)), TINY)
    assert base.architecture == replace(TINY, speakers=5)
    state = new_state(TINY, TrainingSettings(size="tiny"), base=base)
    for name, tensor in weights(state.generator).items():
        assert torch.equal(tensor, base.generator[name]), name


def test_a_written_pair_is_read_again_and_holds_the_optimiser(tmp_path: Path) -> None:
    state = new_state(TINY, TrainingSettings(size="tiny"))
    batch = random_batch(TINY)
    step(state, batch, draw(batch, TINY, segment_frames(TINY), 1, 0))
    paths = tmp_path / "G_2333333.pth", tmp_path / "D_2333333.pth"
    write_pair(state, *paths, epoch=7, learning_rate=1e-4)
    base = read_base(*paths, TINY)
    for name, tensor in weights(state.discriminator).items():
        assert torch.equal(tensor, base.discriminator[name]), name
    stored = torch.load(paths[0], weights_only=True)
    assert stored["iteration"] == 7
    assert list(stored["model"]) == list(in_rvc_order(state.generator))
    moments = [entry["exp_avg"].shape for entry in stored["optimizer"]["state"].values()]
    assert moments == [tensor.shape for tensor in stored["model"].values()]


def test_applio_counts_the_parameters_in_another_order(tmp_path: Path) -> None:
    state = new_state(TINY, TrainingSettings(size="tiny"))
    batch = random_batch(TINY)
    step(state, batch, draw(batch, TINY, segment_frames(TINY), 1, 0))
    write_pair(state, tmp_path / "G", tmp_path / "D", epoch=1, learning_rate=1e-4, tool="applio")
    stored = torch.load(tmp_path / "G", weights_only=True)
    names = list(stored["model"])
    assert names[0].startswith("enc_p.")
    assert names.index("dec.ups.0.weight_g") < names.index("dec.noise_convs.0.weight")
    parameter = in_rvc_order(state.generator)["dec.conv_post.weight"]
    number = names.index("dec.conv_post.weight")
    assert torch.equal(stored["optimizer"]["state"][number]["exp_avg"], state.optimizer_g.state[parameter]["exp_avg"])


def test_a_base_of_another_kind_is_named(tmp_path: Path) -> None:
    paths = pair(tmp_path)
    assert "v2 models at 16 kHz with pitch" in refused("base-mismatch", paths, tiny("v2", f0=False))
    assert "this training is for v1 models" in refused("base-mismatch", paths, tiny("v1"))


def test_a_discriminator_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    generator, _ = pair(tmp_path)
    _, discriminator = pair(tmp_path / "v1", tiny("v1"))
    assert "is a base for tiny v1 models" in refused("base-mismatch", (generator, discriminator))


def test_a_published_base_of_another_rate_is_named(tmp_path: Path) -> None:
    kind = published("v2", 40000)
    model = {name: torch.zeros(1).expand(shape) for name, shape in tensor_shapes(kind).items()}
    model["enc_q.pre.weight"] = torch.zeros(1).expand(192, 1025, 1)
    torch.save({"model": model}, tmp_path / "G.pth")
    assert "v2 models at 40 kHz with pitch" in refused("base-mismatch", (tmp_path / "G.pth", tmp_path / "D.pth"))


def test_swapped_files_are_told(tmp_path: Path) -> None:
    generator, discriminator = pair(tmp_path)
    assert "it is a D file" in refused("base-invalid", (discriminator, generator))
    assert "it is a G file" in refused("base-invalid", (generator, generator))


@pytest.mark.parametrize(
    ("name", "tensor", "why"),
    [
        ("enc_q.proj.bias", None, "enc_q.proj.bias is missing"),
        ("dec.more", torch.zeros(3), "dec.more belongs to no such network"),
        ("enc_q.proj.bias", torch.zeros(3), "enc_q.proj.bias has the shape (3,)"),
        ("enc_q.proj.bias", torch.full((64,), torch.nan), "not finite"),
        ("enc_q.proj.bias", torch.zeros(64, dtype=torch.int64), "not a tensor of numbers"),
        ("emb_g.weight", torch.zeros(0, 16), "0 speakers"),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, name: str, tensor: torch.Tensor | None, why: str) -> None:
    assert why in refused("base-invalid", pair(tmp_path, changes={name: tensor}))


def test_other_files_are_refused(tmp_path: Path) -> None:
    _, discriminator = pair(tmp_path)
    voice = write_random_pth(tmp_path / "voice.pth", TINY)
    assert "finished voice" in refused("base-invalid", (voice, discriminator))
    torch.save({"model": {"encoder.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    assert "no G file of RVC" in refused("base-invalid", (tmp_path / "other.pth", discriminator))
    (tmp_path / "torn.pth").write_bytes(discriminator.read_bytes()[:5000])
    refused("archive-refused", (tmp_path / "torn.pth", discriminator))
