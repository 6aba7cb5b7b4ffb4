"""The catalogue of separation models, and what is peculiar to them: configurations that several share, hashes of which
only the beginning is known, files that were put there by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.support.model_source import CONTENT, SHA256, Source
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import catalogue, hashes, installed
from understudy.models.catalogue import find_model, published, read_catalogue
from understudy.models.fetch import fetch
from understudy.models.installed import read_record, remove, verify

Publish = Callable[..., None]
CONFIGURATION = b"model: {dim: 4}\n"


def code(function: Callable[[], object]) -> str:
    with pytest.raises(UnderstudyError) as caught:
        function()
    return caught.value.code


@pytest.fixture
def two(folder: Path, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models ``one`` and ``other`` of a catalogue, which share the configuration ``both.yaml``."""
    variant = {
        "format": "torch",
        "url": source.url,
        "sha256": SHA256,
        "companions": [{"file": "both.yaml", "url": "https://example.org/both.yaml"}],
    }
    common = {"purpose": "tests", "architecture": "none", "licence": "MIT", "page": "https://example.org/"}
    entries = {name: {**common, "variants": [{"file": f"{name}.pt", **variant}]} for name in ("one", "other")}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(entries))
    monkeypatch.setenv("UNDERSTUDY_CATALOGUE", str(path))
    folder.mkdir()
    return folder


def test_the_registry_of_audio_separator_is_in_the_catalogue() -> None:
    spec = find_spec("audio_separator")
    assert spec is not None
    assert spec.submodule_search_locations
    registry = json.loads((Path(spec.submodule_search_locations[0]) / "models.json").read_text())
    files = {
        name: configuration
        for group in registry.values()
        for entry in group.values()
        for name, configuration in (entry.items() if isinstance(entry, dict) else [(entry, None)])
    }
    assert len(files) > 80
    for file, configuration in files.items():
        model = published(file)
        assert model is not None, file
        if configuration:
            assert configuration in model.preferred.companions[0].names, file


@pytest.mark.parametrize(
    "name", ["htdemucs", "htdemucs_ft.yaml", "htdemucs_6s.yaml", "umxl", "umxhq", "spleeter-2stems", "Kim_Vocal_2.onnx"]
)
def test_what_people_have_heard_of_is_in_the_catalogue(name: str) -> None:
    assert find_model(name).stems


def test_every_separator_says_what_is_known_of_it() -> None:
    found = [model for model in catalogue().values() if model.group not in ("voices", "pitch", "training", "notes")]
    assert len(found) > 170
    for model in found:
        assert model.licence
        assert model.stems, model.name
        assert model.by, model.name
        assert not model.sdr or model.sdr_from, model.name
        for file in model.files:
            assert file.url, file.file
            assert file.url.endswith(file.known_as or file.file)
            if file.sha256_starts:
                assert file.sha256_starts in file.file
        if model.architecture in ("roformer", "mdx23c"):
            assert [companion.plain for companion in model.preferred.companions] == [True], model.name


@pytest.mark.parametrize("name", ["rvc-base-48k", "rvc-base-40k", "rvc-base-32k", "rvc-base-v1-40k"])
def test_a_base_model_is_a_generator_with_its_discriminator(name: str) -> None:
    generator = find_model(name).preferred
    (discriminator,) = generator.companions
    assert generator.url is not None
    assert discriminator.url == generator.url.replace("f0G", "f0D")
    assert not generator.unverifiable


def test_the_weights_of_a_bag_count_into_its_size() -> None:
    assert catalogue()["htdemucs-ft"].preferred.whole == 4 * 84_141_271 + 149
    assert catalogue()["mel-roformer-kim"].preferred.whole == 913_106_900
    assert catalogue()["hdemucs-mmi"].preferred.whole is None


def test_a_compact_entry_becomes_a_whole_one() -> None:
    model = read_catalogue("""
groups: {vocals: {stems: [vocals, instrumental], purpose: vocals}}
sources: {here: {page: "https://example.org/", files: "https://example.org/files/", licence: MIT}}
vocals:
  a: {family: roformer, file: a.ckpt, from: here, with: a.yaml, sdr: {vocals: 9.0}}
""")
    assert model["a"].preferred.companions[0].url == "https://example.org/files/a.yaml"
    assert model["a"].stems == ("vocals", "instrumental")
    assert "ten songs" in (model["a"].sdr_from or "")


def test_the_beginning_of_a_hash_is_held_against_what_comes(
    folder: Path, source: Source, publish: Publish, context: Context
) -> None:
    publish(source.url, sha256=None, sha256_starts="0123456789")
    assert code(lambda: fetch("thing", context)) == "model-unverifiable"
    assert code(lambda: fetch("thing", context, trust=True)) == "model-hash"
    assert not (folder / "thing.pt").exists()
    publish(source.url, sha256=None, sha256_starts=SHA256[:8])
    assert fetch("thing", context, trust=True).weights.trusted


def test_a_file_put_there_by_hand_is_vouched_for_by_who_put_it_there(folder: Path, publish: Publish) -> None:
    publish(None, sha256=None, size=None)
    folder.mkdir()
    (folder / "thing.pt").write_bytes(CONTENT)
    weights = installed("thing")
    assert weights is not None
    assert weights.sha256 == SHA256
    record = read_record(find_model("thing"))
    assert record is not None
    assert record.weights.trusted
    (folder / "thing.pt").write_bytes(CONTENT[::-1])
    assert code(lambda: installed("thing")) == "model-changed"


def test_its_hash_must_begin_as_it_is_known_to(folder: Path, publish: Publish) -> None:
    publish(None, sha256=None, sha256_starts="0123456789")
    folder.mkdir()
    (folder / "thing.pt").write_bytes(CONTENT)
    assert code(lambda: installed("thing")) == "model-untrusted"


def test_a_missing_companion_is_named(two: Path) -> None:
    (two / "one.pt").write_bytes(CONTENT)
    with pytest.raises(UnderstudyError) as caught:
        installed("one")
    assert caught.value.code == "model-companion"
    assert str(two / "both.yaml") in caught.value.hint
    (two / "one.yaml").write_bytes(CONFIGURATION)  # under the checkpoint's name it will do, too
    weights = installed("one")
    assert weights is not None
    assert weights.companions[0].path == two / "one.yaml"


@pytest.mark.slow
def test_a_shared_configuration_outlives_one_of_its_models(two: Path, context: Context) -> None:
    for name in ("one.pt", "other.pt"):
        (two / name).write_bytes(CONTENT)
    (two / "both.yaml").write_bytes(CONFIGURATION)
    assert installed("one")
    assert installed("other")
    assert [path.name for path in remove("one")] == ["one.pt", "one.json"]
    assert verify("other", context).state == "ok"
    assert "both.yaml" in [path.name for path in remove("other")]


def test_a_shared_configuration_is_fetched_once(two: Path, source: Source, context: Context) -> None:
    (two / "one.pt").write_bytes(CONTENT)
    (two / "both.yaml").write_bytes(CONFIGURATION)
    assert installed("one")
    record = fetch("other", context, trust=True)  # the configuration's own address can't be reached from here
    assert [file.path for file in record.files] == ["other.pt", "both.yaml"]
    assert record.companions[0].sha256 == hashlib.sha256(CONFIGURATION).hexdigest()


def test_a_file_of_ones_own_is_verified_and_removed(folder: Path, context: Context) -> None:
    folder.mkdir()
    path = folder / "mine.ckpt"
    path.write_bytes(CONTENT)
    path.with_suffix(".yaml").write_bytes(CONFIGURATION)
    assert hashes.verify_file(path, context).state == "ok"
    assert hashes.remembered_hash(path) == SHA256
    assert hashes.remembered(path) is not None
    path.write_bytes(CONTENT[::-1])
    assert hashes.verify_file(path, context).state == "changed"
    assert {other.name for other in hashes.remove_file(path)} == {"mine.ckpt", "mine.yaml"}
    assert hashes.remembered(path) is None
    assert list((folder / ".seen").iterdir()) == []


def test_a_folder_that_may_not_be_written_costs_time_and_nothing_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.ckpt"
    path.write_bytes(CONTENT)
    folder.write_text("a file where the folder should be")
    assert hashes.remembered_hash(path) == SHA256
    assert hashes.remembered(path) is None


def test_what_a_model_needs_is_in_the_catalogue():
    for model in catalogue().values():
        for needed in model.needs:
            assert find_model(needed).name == needed
    lonely = {"purpose": "p", "architecture": "a", "licence": "MIT", "needs": ["other"]}
    variants = [{"file": "one.pt", "format": "torch"}]
    assert (
        code(lambda: read_catalogue(yaml.safe_dump({"one": {**lonely, "variants": variants}}))) == "catalogue-invalid"
    )
