"""What a model's name stands for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import small_models as small
from understudy.errors import UnderstudyError
from understudy.models import catalogue, hashes
from understudy.models.warm import forget
from understudy.pipeline.separation.models import find_separator, load_network, names_in, own_files
from understudy.pipeline.separation.recognition import FAMILIES

KARAOKE = "mel_band_roformer_karaoke_gabox.ckpt"  # in the catalogue, and nobody knows its hash
PINNED = "model_bs_roformer_ep_317_sdr_12.9755.ckpt"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder; it doesn't exist yet."""
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("UNDERSTUDY_CATALOGUE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def refused(name: str) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        find_separator(name)
    return caught.value


def identity(path: Path, stem: str = "Instrumental") -> Path:
    """A network of the family MDX-Net that gives what it is given."""
    small.onnx(path, ["batch", 4, 1025, 32])
    path.with_suffix(".yaml").write_text(f"n_fft: 2048\ndim_f: 1025\ndim_t: 32\nprimary_stem: {stem}\n")
    return path


def test_the_embedded_one_has_no_weights() -> None:
    found = find_separator("embedded")
    assert (found.family, found.stems, found.weights) == ("embedded", ("vocals", "instrumental"), None)
    with pytest.raises(ValueError, match="embedded"):
        load_network(found, "cpu", "float32")


def test_a_setting_names_one_or_several() -> None:
    assert names_in("htdemucs") == ("htdemucs",)
    assert names_in("a+b.ckpt + /c/d.onnx") == ("a", "b.ckpt", "/c/d.onnx")
    for wrong in ("", "+", "a+", "a++b", "a+a"):
        with pytest.raises(UnderstudyError) as caught:
            names_in(wrong)
        assert caught.value.code == "separator-unknown"


def test_what_is_called_alike_is_named() -> None:
    error = refused("htdemucs-tf")
    assert error.code == "separator-unknown"
    assert "htdemucs-ft" in error.hint
    assert "embedded" in refused("embeded").hint
    assert "models list" in refused("zzzzzzzz").hint


def test_other_models_separate_nothing() -> None:
    assert refused("contentvec").code == "separator-unknown"


@pytest.mark.parametrize("name", ["bs-roformer-viperx-1297", PINNED])
def test_a_missing_model_says_how_to_get_it(name: str, folder: Path) -> None:
    error = refused(name)
    assert error.code == "model-missing"
    assert "understudy models fetch bs-roformer-viperx-1297" in error.hint
    assert str(folder / PINNED) in error.hint
    assert str(folder / PINNED.replace(".ckpt", ".yaml")) in error.hint


@pytest.mark.parametrize("name", ["htdemucs_ft.yaml", "htdemucs_ft", "htdemucs-ft"])
def test_other_programs_names_are_known(name: str) -> None:
    assert "understudy models fetch htdemucs-ft" in refused(name).hint


def test_a_published_file_put_there_by_hand_is_taken_where_nobody_knows_its_hash(folder: Path) -> None:
    small.roformer(folder / KARAOKE)
    error = refused(KARAOKE)
    assert error.code == "model-companion"
    assert str(folder / "config_mel_band_roformer_karaoke_gabox.yaml") in error.hint
    (folder / "config_mel_band_roformer_karaoke_gabox.yaml").write_text(small.MEL)
    found = find_separator(KARAOKE)
    assert found == find_separator("mel-roformer-karaoke-gabox")
    assert (found.name, found.family, found.stems) == ("mel-roformer-karaoke-gabox", "roformer", ("lead",))
    assert found.weights is not None
    assert [part.path.name for part in found.weights.companions] == ["config_mel_band_roformer_karaoke_gabox.yaml"]


def test_a_configuration_may_have_the_checkpoints_name(folder: Path) -> None:
    small.roformer(folder / KARAOKE).with_suffix(".yaml").write_text(small.MEL)
    weights = find_separator(KARAOKE).weights
    assert weights is not None
    assert weights.companions[0].path == (folder / KARAOKE).with_suffix(".yaml")


def test_a_published_file_with_another_hash_is_refused(folder: Path) -> None:
    small.roformer(folder / PINNED).with_suffix(".yaml").write_text(small.BS)
    error = refused(PINNED)
    assert error.code == "model-untrusted"
    assert "5b84f37e" in error.message


def test_a_file_of_ones_own_goes_by_its_name_and_its_path(folder: Path, tmp_path: Path) -> None:
    path = identity(folder / "mine.onnx")
    found = find_separator("mine.onnx")
    assert (found.name, found.family, found.stems) == ("mine.onnx", "mdx_net", ("instrumental",))
    assert find_separator("mine") == find_separator(str(path)) == find_separator("models/mine.onnx") == found
    assert own_files() == [path]
    elsewhere = identity(tmp_path / "elsewhere" / "yours.onnx", "Vocals")
    other = find_separator("elsewhere/yours.onnx")
    assert (other.name, other.stems) == (str(elsewhere), ("vocals",))
    assert own_files() == [path]


def test_a_published_file_may_lie_there_under_its_name_elsewhere(folder: Path) -> None:
    path = small.roformer(folder / "inst_v1e.ckpt")  # audio-separator calls it melband_roformer_inst_v1e.ckpt
    error = refused(path.name)
    assert error.code == "model-companion"
    path.with_suffix(".yaml").write_text(small.MEL)
    assert find_separator(path.name).name == path.name
    assert refused("mel-roformer-inst-v1e-unwa").code == "model-missing"
    assert own_files() == [path]


def test_a_published_file_elsewhere_brings_what_belongs_to_it(tmp_path: Path) -> None:
    path = small.roformer(tmp_path / "uvr" / KARAOKE)
    (tmp_path / "uvr" / "config_mel_band_roformer_karaoke_gabox.yaml").write_text(small.MEL)
    (tmp_path / "uvr" / "config_other.yaml").write_text(small.BS)
    found = find_separator(f"uvr/{KARAOKE}")
    assert (found.name, found.family, found.stems) == (str(path), "roformer", ("lead",))


def test_a_dropped_file_says_what_it_is_for(folder: Path) -> None:
    path = small.roformer(folder / "my_karaoke_model.ckpt")
    path.with_suffix(".yaml").write_text(small.BS)
    assert find_separator(path.name).stems == ("lead",)


def test_the_hash_is_remembered_until_the_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = identity(folder / "mine.onnx")
    first = find_separator("mine.onnx").weights
    assert first is not None
    counted: list[Path] = []
    real = hashes.file_hash

    def counting(path: Path) -> str:
        counted.append(path)
        return real(path)

    monkeypatch.setattr(hashes, "file_hash", counting)
    assert find_separator("mine.onnx").weights == first
    assert counted == []
    os.utime(path)
    assert find_separator("mine.onnx").weights == first
    assert counted == [path]
    path.with_suffix(".yaml").write_text(path.with_suffix(".yaml").read_text() + "compensate: 1.0\n")
    second = find_separator("mine.onnx").weights
    assert second is not None
    assert second.sha256 == first.sha256
    assert second.content_hash != first.content_hash


@pytest.mark.slow
def test_a_network_is_loaded_once(folder: Path) -> None:
    identity(folder / "mine_kara.onnx")
    found = find_separator("mine_kara.onnx")
    assert found.stems == ("backing",)
    try:
        network = load_network(found, "cpu", "float32")
        assert network.stems == ("backing",)
        assert load_network(found, "cpu", "float32").separate is network.separate
        assert load_network(found, "cpu", "bfloat16").separate is not network.separate
    finally:
        forget()


def test_a_licence_that_forbids_commercial_use_is_told(folder: Path) -> None:
    folder.mkdir()
    model = find_separator(str(identity(folder / "mine.onnx")))
    assert load_network(model, "cpu", "float32").cautions == ()
    (caution,) = load_network(replace(model, name="mel-roformer-dereverb-big-sucial"), "cpu", "float32").cautions
    assert "forbids commercial use: CC BY-NC-SA 4.0" in caution


def test_damage_is_noticed_before_anything_is_loaded(folder: Path) -> None:
    small.roformer(folder / KARAOKE).with_suffix(".yaml").write_text(small.MEL)
    content = (folder / KARAOKE).read_bytes()
    (folder / KARAOKE).write_bytes(content[: len(content) // 2])
    error = refused(KARAOKE)
    assert error.code == "model-invalid"
    assert "cut off" in error.message


def test_every_published_model_can_be_asked_for() -> None:
    for model in catalogue().values():
        if model.architecture in FAMILIES:
            for name in (model.name, model.preferred.file, *model.aliases):
                trust = " --trust" if model.preferred.unverifiable else ""
                assert f"models fetch {model.name}{trust}'" in refused(name).hint


def test_nothing_is_kept_loaded_for_a_model_that_fails(folder: Path) -> None:
    small.roformer(folder / "bad.ckpt").with_suffix(".yaml").write_text(small.BS)
    found = find_separator("bad.ckpt")
    for _ in range(2):
        with pytest.raises(UnderstudyError) as caught:
            load_network(found, "cpu", "float32")
        assert "bad.ckpt" in caught.value.message
