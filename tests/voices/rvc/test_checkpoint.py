"""Model files: each kind in use is read as what it is, all else is refused by name; what is written is read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.rvc_files import REAL, document, random_weights, real, small, write_random_pth
from understudy.errors import UnderstudyError
from understudy.voices.rvc.architecture import tensor_shapes
from understudy.voices.rvc.checkpoint import Checkpoint, config_list, read_checkpoint, write_pth, write_safetensors


def saved(tmp_path: Path, content: object, name: str = "voice.pth", **how: Any) -> Path:
    torch.save(content, tmp_path / name, **how)
    return tmp_path / name


def refusal(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as refused:
        read_checkpoint(path)
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 800
    assert refused.value.hint
    return refused.value


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return (
        one.architecture == other.architecture
        and list(one.weights) == list(other.weights)
        and all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
        and all(tensor.dtype == other.weights[name].dtype for name, tensor in one.weights.items())
        and one.info == other.info
    )


@pytest.mark.parametrize(("version", "rate", "f0"), [*REAL, ("v2", 24000, True)])
def test_every_published_size_is_known(version: Any, rate: int, f0: bool, tmp_path: Path) -> None:
    """The counts of tensors and values were taken from the reference's own networks."""
    shapes = tensor_shapes(real(version, rate, f0))
    five_stages = version == "v1" and rate in (32000, 48000)
    assert (
        len(shapes) == {(True, True): 516, (True, False): 503, (False, True): 457, (False, False): 446}[five_stages, f0]
    )
    values = sum(torch.Size(shape).numel() for shape in shapes.values())
    counted = {("v1", 32000): 27_471_170, ("v2", 32000): 28_057_538, ("v1", 40000): 27_439_042,
               ("v2", 40000): 27_537_346, ("v1", 48000): 27_479_362, ("v2", 48000): 28_716_994}  # fmt: skip
    if f0 and (version, rate) in counted:
        assert values == counted[version, rate]


@pytest.mark.slow
@pytest.mark.parametrize("old_form", [False, True])
@pytest.mark.parametrize("f0", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_is_written_is_read(version: Any, f0: bool, old_form: bool, tmp_path: Path) -> None:
    architecture = small(version, f0)
    content = document(architecture, 1, author="Ann", epoch=7)
    first = read_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=not old_form))
    assert first.architecture == architecture
    assert first.info == {"info": "20epoch", "author": "Ann", "epoch": 7}
    assert all(torch.equal(first.weights[name], tensor) for name, tensor in content["weight"].items())
    write_safetensors(first, tmp_path / "a.safetensors")
    write_pth(first, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert same(first, read_checkpoint(tmp_path / name))
    write_safetensors(read_checkpoint(tmp_path / "a.pth"), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.slow
def test_files_of_real_size(tmp_path: Path) -> None:
    for version, rate, f0 in (("v2", 48000, True), ("v1", 40000, False)):
        path = write_random_pth(tmp_path / "voice.pth", real(version, rate, f0))  # type: ignore[arg-type]
        first = read_checkpoint(path)
        assert first.architecture == real(version, rate, f0)  # type: ignore[arg-type]
        write_safetensors(first, tmp_path / "voice.safetensors")
        assert same(first, read_checkpoint(tmp_path / "voice.safetensors"))


@pytest.mark.parametrize(
    "variation",
    [
        {"version": None},
        {"f0": None},
        {"sr": None},
        {"version": None, "f0": None, "sr": None, "info": None},
        {"sr": 16000},
        {"sr": "48k"},
        {"f0": True},
        {"f0": "1"},
        {"info": "訓練 \x1b[31m\n" * 1000},
        {"vocoder": "HiFi-GAN", "embedder_model": "contentvec", "speakers_id": 1, "step": 10**400},
        {"weight_is_elsewhere": ["of", {"no": "use"}]},
        {"config": tuple(config_list(small()))},
    ],
)
def test_variations_of_the_header(variation: dict[str, Any], tmp_path: Path) -> None:
    found = read_checkpoint(write_random_pth(tmp_path / "a.pth", small(), **variation))
    assert found.architecture == small()
    assert all(str(value).isprintable() and len(str(value)) <= 1001 for value in found.info.values())


def test_speakers_are_counted_by_their_rows(tmp_path: Path) -> None:
    config = config_list(small(speakers=5))
    config[15] = 109
    path = write_random_pth(tmp_path / "a.pth", small(speakers=5), config=config)
    assert read_checkpoint(path).architecture.speakers == 5


def test_other_precisions_stay_as_they_are(tmp_path: Path) -> None:
    for kind, kept in (
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float64, torch.float32),
    ):
        weights = {name: tensor.to(kind) for name, tensor in random_weights(small()).items()}
        found = read_checkpoint(write_random_pth(tmp_path / "a.pth", small(), weight=weights))
        assert {tensor.dtype for tensor in found.weights.values()} == {kept}
        write_safetensors(found, tmp_path / "a.safetensors")
        assert same(found, read_checkpoint(tmp_path / "a.safetensors"))


def test_views_are_read_by_value(tmp_path: Path) -> None:
    weights = random_weights(small())
    name = "enc_p.proj.weight"
    wide = torch.zeros(16, 8, 4, dtype=torch.float16)
    wide[..., 1:2] = weights[name]
    found = read_checkpoint(saved(tmp_path, document(small(), weight={**weights, name: wide[..., 1:2]})))
    assert torch.equal(found.weights[name], weights[name])
    assert found.weights[name].untyped_storage().nbytes() == weights[name].nbytes


@pytest.mark.parametrize("name", ["Nova: the best.pth", "初音ミク.pth", "nova.zip.pth", "a\\b.pth", "..nova...pth"])
def test_the_name_it_had_when_it_was_saved_is_in_the_file_and_no_matter(name: str, tmp_path: Path) -> None:
    write_random_pth(tmp_path / name, small()).rename(tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").architecture == small()


def test_files_saved_from_a_gpu(tmp_path: Path) -> None:
    packed = torch.load(write_random_pth(tmp_path / "a.pth", small()), weights_only=True)
    torch.save(packed, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "b.pth").read_bytes()
    on_gpu = data.replace(b"X\x03\x00\x00\x00cpuq", b"X\x06\x00\x00\x00cuda:0q", 1)
    assert on_gpu != data
    (tmp_path / "b.pth").write_bytes(on_gpu)
    assert read_checkpoint(tmp_path / "b.pth").architecture == small()


def test_newer_names_of_weight_norm(tmp_path: Path) -> None:
    weights = random_weights(small())
    newer = {
        name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): tensor
        for name, tensor in weights.items()
    }
    found = read_checkpoint(write_random_pth(tmp_path / "a.pth", small(), weight=newer))
    assert found.weights.keys() == weights.keys()


def test_what_training_needs_is_left_out(tmp_path: Path) -> None:
    weights = random_weights(small()) | {"enc_q.pre.weight": torch.zeros(8, 513, 1)}
    found = read_checkpoint(write_random_pth(tmp_path / "a.pth", small(), weight=weights))
    assert found.weights.keys() == random_weights(small()).keys()
    assert not found.training


@pytest.mark.slow
@pytest.mark.parametrize(("version", "rate", "f0"), [("v1", 32000, False), ("v1", 48000, False), ("v2", 40000, True)])
def test_a_checkpoint_of_training_tells_its_kind_by_its_tensors(
    version: Any, rate: int, f0: bool, tmp_path: Path
) -> None:
    """32 and 48 kHz of v1 without f0 differ in what training saw alone."""
    bins = torch.zeros(192, 1025 if rate > 32000 else 513, 1)
    state = {**random_weights(real(version, rate, f0)), "enc_q.pre.weight": bins}
    path = saved(tmp_path, {"model": state, "iteration": 3, "optimizer": {"state": {}}, "learning_rate": 1e-4})
    found = read_checkpoint(path)
    assert found.training
    assert found.architecture == real(version, rate, f0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"enc_p.proj.bias": None}, "1 tensor is missing: enc_p.proj.bias"),
        ({"enc_p.emb_phone.weight": None}, "enc_p.emb_phone.weight is missing"),
        ({"emb_g.weight": None}, "emb_g.weight is missing"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "2 tensors are unexpected: a, b"),
        ({f"a{n}": torch.zeros(1) for n in range(9)}, "9 tensors are unexpected: a0, a1, a2 and 6 more"),
        ({"dec.conv_pre.bias": torch.zeros(7)}, "dec.conv_pre.bias (7 where 32 belongs)"),
        ({"dec.conv_pre.bias": torch.zeros(()).expand(10**6, 10**6)}, "1000000×1000000 where 32 belongs"),
        ({"dec.conv_pre.bias": torch.full((32,), float("nan"))}, "without finite values: dec.conv_pre.bias"),
        ({"dec.conv_pre.bias": torch.full((32,), float("inf"))}, "without finite values: dec.conv_pre.bias"),
        ({"dec.conv_pre.bias": [0.0] * 32}, "dec.conv_pre.bias is not a tensor"),
        ({"dec.conv_pre.bias": torch.zeros(32, dtype=torch.int64)}, "the dtype torch.int64"),
        ({"enc_p.emb_phone.weight": torch.zeros(8, 512)}, "takes 512 content features"),
        ({"enc_p.emb_phone.weight": torch.zeros(())}, "has 0 axes"),
        ({"emb_g.weight": torch.zeros(0, 8)}, "has 0 speakers"),
        ({"enc_p.emb_pitch.weight": None}, "pitch guidance"),
        ({"\x1b[31m\n" + "x" * 9999: torch.zeros(1)}, "unexpected: ?[31m?xxx"),
        ({7: torch.zeros(1)}, "is not a text"),
    ],
)  # fmt: skip
def test_wrong_tensors_are_named(changes: dict[Any, Any], told: str, tmp_path: Path) -> None:
    weights: dict[Any, Any] = {**random_weights(small()), **changes}
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    error = refusal(write_random_pth(tmp_path / "a.pth", small(), weight=weights))
    assert error.code == "model-invalid"
    assert told in error.message


@pytest.mark.parametrize(
    ("position", "value", "told"),
    [
        (2, 10**9, "inter channels"),
        (2, 7, "inter channels"),
        (3, "192", "hidden channels"),
        (3, 9, "heads can't share"),
        (5, 0, "heads"),
        (6, -1, "layers"),
        (6, True, "layers"),
        (7, 2.0, "kernel"),
        (10, [3, 7, 10**12], "kernels"),
        (10, [3, 7, 8], "even kernels"),
        (10, 3, "kernels"),
        (11, [[1, 3, 5]], "numbers of residual"),
        (11, [[1, 3], [1, 3], [1, 3]], "three dilations"),
        (11, None, "numbers of residual"),
        (12, [10, 8, 3], "fit"),
        (12, [10, 8], "numbers of upsample"),
        (12, [[10], 8, 2], "upsample rates"),
        (13, 33, "halved"),
        (14, [9, 16, 4], "fit"),
        (16, None, "speaker channels"),
        (17, 44100, "100 times"),
        pytest.param(17, 10**400, "sample rate", id="huge"),
        (17, "16k", "sample rate"),
    ],
)
def test_a_config_that_makes_no_sense(position: int, value: Any, told: str, tmp_path: Path) -> None:
    config = config_list(small())
    config[position] = value
    error = refusal(write_random_pth(tmp_path / "a.pth", small(), config=config))
    assert error.code == "model-invalid"
    assert told in error.message


def test_a_config_of_another_length(tmp_path: Path) -> None:
    for config in ([], config_list(small())[:-1], [*config_list(small()), 1]):
        assert "18" in refusal(write_random_pth(tmp_path / "a.pth", small(), config=config)).message


def test_claims_against_the_tensors_are_refused(tmp_path: Path) -> None:
    for claim, told in (({"version": "v1"}, "version"), ({"f0": 0}, "pitch"), ({"version": "v3"}, "version")):
        assert told in refusal(write_random_pth(tmp_path / "a.pth", small(), **claim)).message


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"vocoder": "RefineGAN"}, "RefineGAN"),
        ({"vocoder": "MRF HiFi-GAN"}, "MRF HiFi-GAN"),
    ],
)
def test_models_of_the_family_that_cannot_sing_here(beside: dict[str, Any], told: str, tmp_path: Path) -> None:
    error = refusal(write_random_pth(tmp_path / "a.pth", small(), **beside))
    assert error.code == "model-unsupported"
    assert told in error.message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"weight": {"x": torch.zeros(1)}, "config": {"data": {}}, "info": ""}, "GPT-SoVITS"),
        ({"model": {"discriminators.0.convs.0.bias": torch.zeros(1)}, "iteration": 1}, "discriminator"),
        ({"model": {"f0_decoder.prenet.weight": torch.zeros(1)}}, "so-vits-svc"),
        ({"unet.encoder.bn.weight": torch.zeros(1)}, "RMVPE"),
        ({"state_dict": {}}, "no 'weight' and 'config'"),
        ({"enc_p.emb_phone.weight": torch.zeros(192, 768)}, "no published kind"),
        ([1, 2], "no dict"),
        (torch.zeros(3), "no dict"),
        ({1: 2}, "no 'weight'"),
        ({}, "no 'weight'"),
    ],
)
def test_other_models_are_called_by_their_name(content: Any, told: str, tmp_path: Path) -> None:
    error = refusal(saved(tmp_path, content))
    assert error.code in ("model-not-rvc", "model-invalid")
    assert told in error.message


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"IwFl" + bytes(99), "a.pth", "model-not-rvc"),
        (b"\x08\x07\x12\x07pytorch", "a.onnx", "model-not-rvc"),
        (b"RIFF\0\0\0\0WAVE", "a.wav", "model-not-rvc"),
        (b"<!DOCTYPE html>", "a.pth", "model-not-rvc"),
        (b"version https://git-lfs.example/spec/v1\n", "a.pth", "model-not-rvc"),
        (b"Rar!\x1a\x07", "a.rar", "model-not-rvc"),
        (b"7z\xbc\xaf'\x1c", "a.7z", "model-not-rvc"),
        (b'{"name": "nova"}', "a.json", "model-not-rvc"),
        (b"", "a.pth", "model-damaged"),
        (b"x", "a.pth", "model-damaged"),
        (b"hello world, what a day", "a.pth", "model-damaged"),
        (bytes(5000), "a.pth", "model-damaged"),
        (b"\xff" * 20 + b"{", "a.safetensors", "model-damaged"),
        (b"\xff" * 8 + b"{}", "a.safetensors", "model-too-large"),
        (b"\x02" + bytes(7) + b"{}", "a.safetensors", "model-not-rvc"),
        (b"\x20" + bytes(7) + b"{}", "a.safetensors", "model-damaged"),
        (b"\x06" + bytes(7) + b"{" * 6, "a.safetensors", "model-damaged"),
    ],
)  # fmt: skip
def test_other_files(data: bytes, name: str, code: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path / name).code == code


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pth").code == "file-not-found"
    assert refusal(tmp_path).code == "file-not-found"


def test_files_cut_short(tmp_path: Path) -> None:
    write_safetensors(read_checkpoint(write_random_pth(tmp_path / "a.pth", small())), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        data = (tmp_path / name).read_bytes()
        for size in (5, 100, 5000, len(data) // 2, len(data) - 1):
            (tmp_path / f"cut-{name}").write_bytes(data[:size])
            assert refusal(tmp_path / f"cut-{name}").code in ("model-damaged", "archive-refused")
