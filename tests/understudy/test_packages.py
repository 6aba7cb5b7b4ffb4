"""Packages that may be missing: the error says how to get them, and the project has the extras that it names."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.packages import OPTIONAL, package_missing, require_package


def test_a_package_that_is_there_is_imported() -> None:
    import json.decoder

    assert require_package("json.decoder") is json.decoder


@pytest.mark.parametrize(("module", "command"), [
    ("torchfcpe", "pip install 'understudy-covers[fcpe]'"),
    ("audio_separator.separator", "pip install 'understudy-covers[audio-separator]'"),
    ("demucs", "pip install --force-reinstall demucs"),
])  # fmt: skip
def test_a_missing_package_is_named_with_the_command(
    module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(UnderstudyError) as caught:
        require_package(module)
    assert caught.value.code == "package-missing"
    assert command in caught.value.hint


def test_every_optional_package_has_its_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert {package.extra for package in OPTIONAL.values()} == extras.keys() - {"dev", "docs"}
    for package in OPTIONAL.values():
        assert any(need.startswith(package.distribution) for need in extras[package.extra])
        assert package.extra in package_missing(package.distribution.replace("-", "_")).hint
