"""What files don't say themselves, and configurations of strangers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.separation import parameters as facts
from understudy.pipeline.separation.configuration import LARGEST, read_configuration
from understudy.pipeline.separation.parameters import TAIL, known, parameters, tail_md5


def test_a_file_is_known_by_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"x" * 1000 + bytes(TAIL))
    assert tail_md5(path) == hashlib.md5(bytes(TAIL)).hexdigest()
    assert parameters(path) is None
    monkeypatch.setattr(facts, "known", lambda: {tail_md5(path): {"dim_f": 2048}})
    assert parameters(path) == {"dim_f": 2048}


def test_a_short_file_counts_whole(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"short")
    assert tail_md5(path) == hashlib.md5(b"short").hexdigest()


def test_the_shipped_facts_are_whole() -> None:
    assert len(known()) > 70
    for parameter in known().values():
        if "dim_f" in parameter:
            assert parameter["n_fft"] // 2 + 1 >= parameter["dim_f"]
            assert parameter["dim_t"] in (128, 256, 512)
            assert isinstance(parameter["compensate"], float)
        else:
            assert isinstance(parameter["bands"], str)
        assert isinstance(parameter["primary_stem"], str)


def test_a_file_beside_it_says_more_in_either_words(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"net")
    path.with_suffix(".yaml").write_text("mdx_dim_f_set: 3072\nmdx_dim_t_set: 8\nmdx_n_fft_scale_set: 7680\n")
    assert parameters(path) == {"dim_f": 3072, "dim_t": 256, "n_fft": 7680}
    path.with_suffix(".yaml").write_text("bands: 4band_v3\nprimary_stem: Vocals\n")
    assert parameters(path) == {"bands": "4band_v3", "primary_stem": "Vocals"}


def test_a_tuple_of_python_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("model:\n  sizes: !!python/tuple\n  - 4096\n  - !!python/tuple [1, 2]\n")
    assert read_configuration(path) == {"model": {"sizes": [4096, [1, 2]]}}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [ls]",
        "a: !!python/name:os.system",
        "a: !!python/tuple {b: 1}",
        "- a\n- b",
        "a: [1, 2",
        "just words",
        "",
        "a: &a [x]\nb: [" + "*a, " * 1001 + "]",
        "a: " + "[" * 5000,
    ],
)
def test_what_is_no_configuration_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UnderstudyError) as caught:
        read_configuration(path)
    assert caught.value.code == "model-invalid"
    assert "\n" not in caught.value.message


def test_bytes_and_sizes_beyond_sense_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content in (b"\xff\xfe\x00", b"a: " + b"x" * LARGEST):
        path.write_bytes(content)
        with pytest.raises(UnderstudyError) as caught:
            read_configuration(path)
        assert caught.value.code == "model-invalid"


def test_a_missing_configuration_is_a_companion_missing(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError) as caught:
        read_configuration(tmp_path / "none.yaml")
    assert caught.value.code == "model-companion"
