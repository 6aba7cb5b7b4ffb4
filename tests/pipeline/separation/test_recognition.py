"""The family of a file by its content and the files beside it; and quick checks for what is no model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from tests.support import small_models as small
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.recognition import check_file, family_at_a_glance, recognised


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))


def refused(path: Path) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        recognised(path)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("make", "family"),
    [
        (lambda folder: small.vr(folder / "a.pth"), "vr"),
        (lambda folder: small.vr(folder / "a.pth", new=True), "vr"),
        (lambda folder: small.open_unmix(folder / "vocals-1234abcd.pth"), "open_unmix"),
        (lambda folder: small.demucs(folder / "955717e8-8726e21a.th"), "demucs"),
        (lambda folder: small.onnx(folder / "a.onnx", ["batch", 4, 2048, 256]), "mdx_net"),
        (lambda folder: small.onnx(folder / "vocals.onnx", [2, "parts", 512, 1024]), "spleeter"),
    ],
)
def test_a_file_alone_tells_its_family(tmp_path: Path, make: Callable[[Path], Path], family: str) -> None:
    assert recognised(make(tmp_path)) == (family, ())


@pytest.mark.parametrize(
    ("yaml", "family"), [(small.BS, "roformer"), (small.MEL, "roformer"), (small.MDX23C, "mdx23c")]
)
@pytest.mark.parametrize("name", ["net.yaml", "net_config.yaml", "config_net.yaml", "net.yml", "config_other.yaml"])
def test_a_configuration_beside_it_tells_its_family(tmp_path: Path, yaml: str, family: str, name: str) -> None:
    path = small.roformer(tmp_path / "net.ckpt") if family == "roformer" else small.mdx23c(tmp_path / "net.ckpt")
    (tmp_path / name).write_text(yaml)
    assert recognised(path) == (family, (tmp_path / name,))
    assert family_at_a_glance(path) == family


@pytest.mark.parametrize("wrapper", ["state_dict", "state", "model_state_dict"])
def test_a_wrapped_state_is_seen_through(tmp_path: Path, wrapper: str) -> None:
    path = small.roformer(tmp_path / "net.ckpt", wrapper)
    assert refused(path).code == "model-companion"


def test_safetensors_are_told_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"stg1_low_band_net.0.enc1.conv.0.weight": torch.zeros(2)}, path)
    assert recognised(path) == ("vr", ())


def test_a_checkpoint_without_its_configuration_says_where_to_put_it(tmp_path: Path) -> None:
    error = refused(small.roformer(tmp_path / "net.ckpt"))
    assert error.code == "model-companion"
    assert str(tmp_path / "net.yaml") in error.hint


def test_of_two_configurations_neither_is_guessed(tmp_path: Path) -> None:
    path = small.roformer(tmp_path / "net.ckpt")
    for name in ("config_a.yaml", "config_b.yaml"):
        (tmp_path / name).write_text(small.BS)
    error = refused(path)
    assert error.code == "model-companion"
    assert "config_a.yaml" in error.message
    assert str(tmp_path / "net.yaml") in error.hint
    (tmp_path / "net.yaml").write_text(small.BS)
    assert recognised(path) == ("roformer", (tmp_path / "net.yaml",))


def test_a_bag_brings_its_networks_in_the_lists_order(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text("models: ['bbbbbbbb', 'aaaaaaaa']\n")
    first, second = (small.demucs(tmp_path / name) for name in ("bbbbbbbb-11111111.th", "aaaaaaaa.th"))
    assert recognised(tmp_path / "two.yaml") == ("demucs", (first, second))
    second.unlink()
    error = refused(tmp_path / "two.yaml")
    assert error.code == "model-companion"
    assert "aaaaaaaa" in error.message


def test_a_configuration_named_for_the_checkpoint_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(small.BS)
    error = refused(tmp_path / "net.yaml")
    assert "configuration, not weights" in error.message


def test_the_stems_of_a_spleeter_model_are_found_together(tmp_path: Path) -> None:
    shape = [2, "parts", 512, 1024]
    paths = [small.onnx(tmp_path / f"{stem}.fp16.onnx", shape) for stem in ("vocals", "accompaniment")]
    assert recognised(paths[0]) == ("spleeter", (paths[1],))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "zeros"),
        (b"\n<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b'{"error":"Invalid credentials"}', "server's message"),
    ],
)
@pytest.mark.parametrize("name", ["net.ckpt", "net.onnx", "net.safetensors", "net.pth"])
def test_what_isnt_a_model_is_said_at_a_glance(tmp_path: Path, content: bytes, reason: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnderstudyError) as caught:
        check_file(path)
    assert caught.value.code == "model-invalid"
    assert reason in caught.value.message


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = small.state(tmp_path / "voice.pth", "enc_p.emb_phone.weight", "dec.conv_pre.weight")
    assert refused(path).code == "model-invalid"
    assert refused(small.onnx(tmp_path / "other.onnx", [1, 16000])).code == "model-invalid"


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, ("true",)

    torch.save({"state": Evil(), "klass": 1}, tmp_path / "evil.ckpt")
    assert refused(tmp_path / "evil.ckpt").code == "model-unsafe"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.ckpt").code == "model-unreadable"


@pytest.mark.parametrize("kind", ["ckpt", "old", "onnx", "safetensors", "demucs"])
def test_damage_is_an_error_and_never_a_crash(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"ckpt": "a.ckpt", "old": "a.pth", "onnx": "a.onnx", "safetensors": "a.safetensors"}.get(
        kind, "a.th"
    )
    match kind:
        case "ckpt":
            small.mdx23c(path)
        case "old":
            torch.save(torch.load(small.vr(path)), path, _use_new_zipfile_serialization=False)
        case "onnx":
            small.onnx(path, ["batch", 4, 2048, 256])
        case "safetensors":
            save_file({"stg1_low_band_net.0.enc1.conv.0.weight": torch.zeros(2)}, path)
        case _:
            small.demucs(path)
    (tmp_path / "a.yaml").write_text(small.MDX23C if kind == "ckpt" else "x: 1")
    whole = path.read_bytes()
    random = Random(1)
    for attempt in range(60):
        damaged = bytearray(whole)
        if attempt % 2:
            for _ in range(random.randint(1, 6)):
                damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
        else:
            del damaged[random.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        with suppress(UnderstudyError):
            recognised(path)


def test_the_other_targets_of_open_unmix_are_found_beside_one(tmp_path: Path) -> None:
    drums = small.open_unmix(tmp_path / "drums-1234abcd.pth")
    bass = small.open_unmix(tmp_path / "bass-00000000.pth")
    small.open_unmix(tmp_path / "bass-roformer.pth")
    larger = small.open_unmix(tmp_path / "vocals-abcdef01.pth")
    larger.write_bytes(larger.read_bytes() + bytes(5000))
    other = small.open_unmix(tmp_path / "other-00000001.pth")
    small.open_unmix(tmp_path / "other-00000002.pth")  # which of them isn't known
    assert recognised(drums) == ("open_unmix", (bass,))
    assert recognised(other) == ("open_unmix", (drums, bass))
