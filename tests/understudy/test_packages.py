"""Packages that may be missing: the error says how to get them, and the project has the extras that it names."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.packages import OPTIONAL, check_installed, package_missing, require_package

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_a_package_that_is_there_is_imported() -> None:
    import json.decoder

    assert require_package("json.decoder") is json.decoder


@pytest.mark.parametrize(("module", "command"), [
    ("torchfcpe", "pip install 'understudy-covers[fcpe]'"),
    ("demucs", "pip install --force-reinstall demucs"),
])  # fmt: skip
def test_a_missing_package_is_named_with_the_command(
    module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)  # an earlier test may have imported it
    with pytest.raises(UnderstudyError) as caught:
        require_package(module)
    assert caught.value.code == "package-missing"
    assert command in caught.value.hint
    with pytest.raises(UnderstudyError) as caught:
        check_installed(module)
    assert command in caught.value.hint


def test_every_optional_package_has_its_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {package.extra for package in OPTIONAL.values()} == extras.keys() - {"dev", "docs"}
    for package in OPTIONAL.values():
        assert any(need.startswith(package.distribution) for need in extras[package.extra])
        assert package.extra in package_missing(package.distribution.replace("-", "_")).hint


@pytest.mark.slow
def test_every_import_is_a_requirement_or_optional() -> None:
    """Also those inside functions: what comes only as a requirement of another package may be gone with its next
    version."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    required = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    known = {**packages_distributions(), "parselmouth": ["praat-parselmouth"]}  # its metadata name no module
    for folder in ("src/understudy", "models", "audio", "voices", "pipeline", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                for name in {name.partition(".")[0] for name in names} - {"understudy", *sys.stdlib_module_names}:
                    homes = {canonicalize_name(home) for home in known.get(name, [name])}
                    assert name in OPTIONAL or homes & required, f"{path} imports {name}"
