"""Every format gives the same weights; what is wrong with a file is named."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.support.contentvec_files import (
    SMALL,
    Format,
    fairseq_name,
    random_weights,
    write_fairseq,
    write_random_contentvec,
)
from understudy.errors import UnderstudyError
from understudy.voices.rvc.hubert import load_content_encoder
from understudy.voices.rvc.hubert.weights import read_weights, tensor_shapes


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("format", get_args(Format))
def test_every_format_gives_the_weights_that_it_stores(tmp_path: Path, format: Format, dtype: torch.dtype) -> None:
    path = tmp_path / "model.of-any-name"
    written = write_random_contentvec(path, format, sizes=SMALL, dtype=dtype)
    read = read_weights(path)
    assert read.sizes == SMALL
    length, direction = (written.pop(f"encoder.pos_conv_embed.conv.weight_{part}") for part in "gv")
    norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
    written["encoder.pos_conv_embed.conv.weight"] = length * direction / norm
    assert read.tensors.keys() == written.keys()
    for name, tensor in written.items():
        assert read.tensors[name].dtype == torch.float32
        torch.testing.assert_close(read.tensors[name], tensor, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "format"), [("pytorch_model.bin", "transformers"), ("model.safetensors", "safetensors")]
)
def test_a_transformers_folder_stands_for_its_file(tmp_path: Path, name: str, format: Format) -> None:
    write_random_contentvec(tmp_path / name, format, sizes=SMALL)
    (tmp_path / "config.json").write_text("{}")
    assert read_weights(tmp_path).sizes == SMALL


def test_names_under_a_common_prefix(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    weights = random_weights(SMALL)
    torch.save(
        {("" if name.startswith("final") else "hubert.") + name: tensor for name, tensor in weights.items()}, path
    )
    assert read_weights(path).sizes == SMALL


def refusal(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as refused:
        load_content_encoder(path)
    return refused.value


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    write_random_contentvec(tmp_path / "m.pt", "fairseq", sizes=SMALL, without=("encoder.layers.3.attention.k_proj",))
    error = refusal(tmp_path / "m.pt")
    assert error.code == "model-unsuitable"
    assert "It lacks 2 tensors" in error.message
    assert "encoder.layers.3.attention.k_proj.weight" in error.message


def test_misshapen_tensors_are_named(tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    weights["encoder.layers.5.final_layer_norm.bias"] = torch.zeros(767)
    torch.save(weights, tmp_path / "m.pt")
    error = refusal(tmp_path / "m.pt")
    assert error.code == "model-unsuitable"
    assert "encoder.layers.5.final_layer_norm.bias is [767], not [768]" in error.message


def test_values_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    weights["encoder.layer_norm.bias"][7] = torch.nan
    torch.save(weights, tmp_path / "m.pt")
    error = refusal(tmp_path / "m.pt")
    assert error.code == "model-unsuitable"
    assert "encoder.layer_norm.bias" in error.message


@pytest.mark.parametrize("extra", ["conv_layers.0.conv.bias", "conv_layers.1.layer_norm.weight"])
def test_a_large_model_is_called_one(tmp_path: Path, extra: str) -> None:
    weights = random_weights(SMALL)
    weights[f"feature_extractor.{extra}"] = torch.zeros(32)
    torch.save(weights, tmp_path / "m.pt")
    assert "large" in refusal(tmp_path / "m.pt").message


def test_another_count_of_layers_is_refused(tmp_path: Path) -> None:
    write_random_contentvec(tmp_path / "m.pt", sizes=SMALL, without=("encoder.layers.11.",))
    assert "11 layers and 768 values" in refusal(tmp_path / "m.pt").message


def test_another_model_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"unet.encoder.bn.weight": torch.zeros(1)}}, tmp_path / "m.pt")
    assert "another kind" in refusal(tmp_path / "m.pt").message
    torch.save([1, 2, 3], tmp_path / "m.pt")
    assert "no tensors" in refusal(tmp_path / "m.pt").message


@pytest.mark.parametrize("content", [b"", b"{}", b"\x10\0\0\0\0\0\0\0{garbage garbage garbage", b"RIFF1234WAVEfmt "])
def test_what_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    assert refusal(tmp_path / "m.safetensors").code == "model-damaged"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pt").code == "file-not-found"
    assert refusal(tmp_path).code == "file-not-found"


def test_the_fairseq_names_are_those_of_the_published_model() -> None:
    """A few, from knowledge of the format, not from the code under test."""
    names = {fairseq_name(name) for name in tensor_shapes(SMALL)}
    assert names >= {
        "feature_extractor.conv_layers.0.0.weight",
        "feature_extractor.conv_layers.0.2.bias",
        "feature_extractor.conv_layers.6.0.weight",
        "layer_norm.weight",
        "post_extract_proj.bias",
        "encoder.pos_conv.0.weight_g",
        "encoder.layer_norm.weight",
        "encoder.layers.11.self_attn.out_proj.bias",
        "encoder.layers.0.self_attn_layer_norm.weight",
        "encoder.layers.0.final_layer_norm.weight",
        "encoder.layers.0.fc1.weight",
        "encoder.layers.0.fc2.bias",
        "final_proj.weight",
    }


def test_a_checkpoint_that_shares_one_storage_is_read(tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    flat = torch.cat([tensor.flatten() for tensor in weights.values()])
    views = dict(zip(weights, flat.split([tensor.numel() for tensor in weights.values()]), strict=True))
    model = {fairseq_name(name): view.view(weights[name].shape) for name, view in views.items()}
    write_fairseq(tmp_path / "m.pt", model)
    read = read_weights(tmp_path / "m.pt").tensors
    assert torch.equal(read["final_proj.weight"], weights["final_proj.weight"])
