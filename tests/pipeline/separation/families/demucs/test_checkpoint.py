"""What a stranger's file can claim about a Demucs network, and what comes of it."""

from __future__ import annotations

import os
import re
import sys
from collections import OrderedDict
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from tests.support.small_demucs import SOURCES, network, write, write_safetensors
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.families.demucs.arguments import checked
from understudy.pipeline.separation.families.demucs.checkpoint import read_checkpoint
from understudy.pipeline.separation.families.demucs.construction import construct


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def refused(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as error:
        construct(read_checkpoint(path))
    assert str(path) in error.value.message
    return error.value


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    marker = tmp_path / "marker"
    path = write(tmp_path / "model.th", model, arguments, training_args=Payload(marker))
    assert refused(path).code == "model-unsafe"
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"sources": None}, {"sources": []}, {"sources": ["drums", "drums"]}, {"sources": "drums"}, {"sources": [3]},
        {"sources": ["a"] * 99}, {"channels": 10**9}, {"channels": "many"}, {"channels": 2.5}, {"channels": True},
        {"depth": 10**6}, {"t_layers": 10**6}, {"nfft": 0}, {"growth": float("nan")}, {"growth": 1e300},
        {"segment": 10**6}, {"segment": 0}, {"segment": None}, {"samplerate": 1}, {"audio_channels": 1},
        {"t_sparse_self_attn": True}, {"wiener_iters": 1}, {"multi_freqs": [2, 1]}, {"multi_freqs": list(range(99))},
        {"t_emb": "__import__"}, {"stride": 0}, {"kernel_size": -1}, {"t_heads": 7}, {"dconv_comp": 0},
        {"freq_emb": [1]}, {"t_sin_random_shift": 50}, {"channels": Fraction(17, 2)}, {"rewrite": "yes"},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_beyond_all_sense(tmp_path: Path, arguments: dict[str, Any]) -> None:
    model, known = network("HTDemucs")
    assert refused(write(tmp_path / "model.th", model, {**known, **arguments})).code == "model-invalid"


@pytest.mark.slow
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    state = model.state_dict()
    name = "encoder.0.conv.weight"
    for label, changed in {
        "missing": {key: value for key, value in state.items() if key != name},
        "shape": {**state, name: state[name][:1]},
        "too many": {**state, "encoder.9.conv.weight": torch.zeros(1)},
        "not finite": {**state, name: state[name] * float("inf")},
        "whole numbers": {**state, name: state[name].long()},
        "none": OrderedDict(),
    }.items():
        path = write(tmp_path / "model.th", model, arguments, state=changed)
        assert refused(path).code == "model-invalid", label
    larger = write(tmp_path / "larger.th", model, {**arguments, "channels": 16})
    assert refused(larger).code == "model-invalid"


def test_quantised_weights(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    path = write(tmp_path / "mdx_q.th", model, arguments, state={"__quantized": True, "quantized": []})
    assert refused(path).code == "model-quantised"
    other = write_safetensors(tmp_path / "mdx_q.safetensors", model, arguments, structure="{}")
    assert refused(other).code == "model-quantised"
    assert "mdx_extra" in refused(other).hint


@pytest.mark.parametrize(
    "changed", [{"klass": dict}, {"klass": "demucs.htdemucs.HTDemucs"}, {"kwargs": None}, {"state": 3}, {"args": (1,)}]
)
def test_a_file_of_something_else(tmp_path: Path, changed: dict[str, Any]) -> None:
    model, arguments = network("HTDemucs")
    arguments.pop("sources") if "args" in changed else None
    assert refused(write(tmp_path / "model.th", model, arguments, **changed)).code == "model-invalid"


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"kwargs": "{"}, {"kwargs": "[1]"}, {"klass": "os.system"}, {"args": "[" * 9999}])
def test_metadata_that_make_no_sense(tmp_path: Path, changed: dict[str, str]) -> None:
    model, arguments = network("HTDemucs")
    path = write_safetensors(tmp_path / "model.safetensors", model, arguments, **changed)
    assert refused(path).code == "model-invalid"


def test_sources_may_stand_first(tmp_path: Path) -> None:
    model, arguments = network("HTDemucs")
    sources = arguments.pop("sources")
    assert read_checkpoint(write(tmp_path / "model.th", model, arguments, args=(sources,))).sources == SOURCES


def test_networks_of_the_generation_before(tmp_path: Path) -> None:
    """Their blocks have one layer less before the gate."""
    model, arguments = network("Demucs", norm_starts=99, dconv_mode=0)
    older = {
        re.sub(r"^((?:en|de)coder\.\d+)\.3\.", r"\1.2.", name): value for name, value in model.state_dict().items()
    }
    made = construct(read_checkpoint(write(tmp_path / "model.th", model, arguments, state=older)))
    for name, value in model.state_dict().items():
        assert torch.equal(made.state_dict()[name], value), name


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5) | some.fractions(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(
    some.dictionaries(
        some.sampled_from(["channels", "segment", "multi_freqs", "growth", "t_emb", "cac", "t_cape_glob_loc_scale"]),
        anything,
    )
)
def test_whatever_is_claimed_is_taken_or_refused(claimed: dict[str, Any]) -> None:
    with suppress(ValueError):  # nothing else may be raised
        taken = checked("HTDemucs", {"sources": list(SOURCES), **claimed})
        assert 1 <= taken["channels"] <= 1024
        assert 0.5 <= taken["segment"] <= 60


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", None)
    with pytest.raises(UnderstudyError) as caught:
        checked("HTDemucs", {"sources": ["vocals"]})
    assert caught.value.code == "package-missing"
    assert "demucs" in caught.value.hint
