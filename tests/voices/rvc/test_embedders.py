"""Embedders: their names, what they need, and what the built-in one hears."""

from pathlib import Path

import pytest
import torch

from tests.support import contentvec_files
from tests.support.contentvec_files import SMALL, write_random_contentvec
from tests.support.rvc_files import small, write_random_pth
from tests.support.rvc_voices import random_voice
from tests.support.signals import Note, singing
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import Weights, catalogue, require
from understudy.models.installed import remove, verify
from understudy.voices.engines import engine
from understudy.voices.rvc.checkpoint import read_checkpoint
from understudy.voices.rvc.embedders import Cepstral, add_embedder, embedder_models, embedder_name, load_embedder
from understudy.voices.voice import Voice


def sound(vowels: str, factor: float = 1.0, hertz: float = 57) -> torch.Tensor:
    notes = [Note(hertz, 0.4, vowel=vowel) for vowel in vowels]
    return torch.from_numpy(singing(notes, 16000, vibrato=0.0)[0].samples) * factor


@pytest.mark.parametrize("stated", ["", "contentvec", "ContentVec", "contentvec_base", "hubert", "hubert_base"])
def test_all_names_of_contentvec(stated: str) -> None:
    assert embedder_name(stated) == "contentvec"
    assert embedder_models("contentvec") == ("contentvec",)


@pytest.mark.parametrize("stated", ["spin-v2", "Spin_V2", " spin v2 ", "spin--v2\n"])
def test_other_names_become_plain(stated: str) -> None:
    assert embedder_name(stated) == "spin-v2"


@pytest.mark.parametrize("name", ["spin-v2", "rmvpe", "nothing/../of the kind"])
def test_an_unknown_embedder_is_an_error_with_the_command_that_adds_it(name: str) -> None:
    with pytest.raises(UnderstudyError) as caught:
        embedder_models(name)
    assert caught.value.code == "embedder-unknown"
    assert f"models add FILE --as {name}" in caught.value.hint


@pytest.mark.parametrize(("version", "width"), [("v1", 256), ("v2", 768)])
@pytest.mark.parametrize("samples", [400, 719, 720, 16000])
def test_cepstra_have_the_frames_and_width_of_an_encoder(version: str, width: int, samples: int) -> None:
    assert embedder_models("cepstral") == ()
    embedder = load_embedder("cepstral", {})
    features = embedder.encode(torch.randn(2, samples, generator=torch.Generator().manual_seed(0)), version)  # type: ignore[arg-type]
    assert features.shape == (2, (samples - 400) // 320 + 1, width)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_cepstra_tell_vowels_apart_and_neither_level_nor_pitch() -> None:
    plain = Cepstral().encode(sound("aiai"), "v2")[0]
    assert torch.allclose(Cepstral().encode(sound("aiai", 0.1), "v2")[0], plain, atol=1e-2)
    first, second = plain[5:15].mean(0), plain[25:35].mean(0)
    third = plain[45:55].mean(0)
    assert (first - third).norm() < 0.3 * (first - second).norm()
    higher = Cepstral().encode(sound("aiai", hertz=60), "v2")[0]
    assert (higher[5:15].mean(0) - first).norm() < 0.5 * (first - second).norm()


def test_silence_and_too_little_sound() -> None:
    assert not Cepstral().encode(torch.zeros(1, 4000), "v2").any()
    with pytest.raises(ValueError, match="400"):
        Cepstral().encode(torch.zeros(1, 399), "v2")


def test_a_content_encoder_is_loaded_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "spin.safetensors"
    write_random_contentvec(path, "safetensors", sizes=SMALL)
    features = load_embedder("spin", {"spin": Weights(path, "d" * 64)}).encode(torch.randn(1, 1600), "v2")
    assert features.shape == (1, 4, 768)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "model.safetensors"
    write_random_contentvec(path, "safetensors", sizes=SMALL)
    return path


def test_another_content_encoder_is_added_under_a_name(folder: Path, encoder: Path, tmp_path: Path) -> None:
    record = add_embedder(encoder, "spin-v2", Context(tmp_path))
    assert record.weights.path == "spin-v2.safetensors"
    assert embedder_models("spin-v2") == ("spin-v2",)
    assert require("spin-v2").path.read_bytes() == encoder.read_bytes()
    assert verify("spin-v2", Context(tmp_path)).state == "ok"
    assert catalogue()["spin-v2"].architecture == "hubert-base"
    assert add_embedder(encoder, "spin-v2", Context(tmp_path)) == record
    remove("spin-v2")
    assert "spin-v2" not in catalogue()
    with pytest.raises(UnderstudyError, match="spin-v2"):
        embedder_models("spin-v2")


def test_a_transformers_folder_is_added_too(folder: Path, encoder: Path, tmp_path: Path) -> None:
    add_embedder(encoder.parent, "japanese-hubert-base", Context(tmp_path), link=True)
    assert require("japanese-hubert-base").path == encoder


@pytest.mark.parametrize("name", ["contentvec", "cepstral", "hubert_base", "Spin", "../spin", ""])
def test_names_that_no_embedder_can_have(folder: Path, encoder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnderstudyError) as caught:
        add_embedder(encoder, name, Context(tmp_path))
    assert caught.value.code == "embedder-name"


def test_only_networks_of_the_shape_of_hubert_base(folder: Path, tmp_path: Path) -> None:
    write_random_contentvec(tmp_path / "small.safetensors", "safetensors", sizes=contentvec_files.TINY)
    with pytest.raises(UnderstudyError) as caught:
        add_embedder(tmp_path / "small.safetensors", "spin", Context(tmp_path))
    assert caught.value.code == "model-unsuitable"
    assert "spin" not in catalogue()
    assert not (folder / "spin.safetensors").exists()


def test_a_damaged_list_of_own_models_is_an_error_that_says_what_to_do(folder: Path) -> None:
    folder.mkdir()
    (folder / "own_models.json").write_text("{", "utf-8")
    with pytest.raises(UnderstudyError) as caught:
        catalogue()
    assert caught.value.code == "catalogue-invalid"
    assert "own_models.json" in caught.value.hint


def test_a_model_says_which_embedder_it_was_trained_with(tmp_path: Path) -> None:
    for stated, name in ((None, "contentvec"), ("spin_v2", "spin-v2"), ("cepstral", "cepstral")):
        found = read_checkpoint(write_random_pth(tmp_path / "a.pth", small(), embedder_model=stated))
        assert found.embedder == name
        assert found.info.get("embedder_model") == stated


def test_the_engine_needs_the_embedder_of_the_model(tmp_path: Path) -> None:
    voice = random_voice(tmp_path / "nova", vectors=None)
    model = voice.manifest.model
    assert model is not None
    assert engine("rvc").models(voice) == ("contentvec",)
    for name, needed in (("cepstral", ()), ("spin", None)):
        other = model.model_copy(update={"embedder": name})
        changed = Voice(voice.folder, voice.manifest.model_copy(update={"model": other}))
        if needed is not None:
            assert engine("rvc").models(changed) == needed
            continue
        with pytest.raises(UnderstudyError) as caught:
            engine("rvc").models(changed)
        assert caught.value.code == "embedder-unknown"
