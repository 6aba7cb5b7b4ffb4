"""The wheel, installed as a user would install it: beside a distribution whose packages are called as our folders are.

Installing torch and its like takes minutes. So the environment links to what is installed here, and to nothing but the
requirements of the wheel without its extras; pip then finds everything there and needs no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = ("models", "audio", "voices", "pipeline", "services", "configs")
TRAP = "raise RuntimeError('a package of somebody else was imported')\n"


@dataclass(frozen=True)
class Installed:
    """`folder`: a working directory with folders named as ours; `python`: the environment's interpreter."""

    folder: Path
    python: Path

    def run(self, *arguments: str, code: int = 0, module: bool = False) -> str:
        """The stdout of `understudy ARGUMENTS` (or ``python -m understudy``) in the folder, which must exit with
        `code`."""
        return self._run(self.command(*arguments, module=module), code)

    def python_code(self, code: str) -> str:
        """The stdout of a program in the folder."""
        return self._run([str(self.python), "-c", code], 0)

    def _run(self, command: list[str], code: int) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout

    def command(self, *arguments: str, module: bool = False) -> list[str]:
        program = self.python.parent / "understudy"
        return [*((str(self.python), "-m", "understudy") if module else (str(program),)), *arguments]

    def environment(self) -> dict[str, str]:
        """Only what a process needs, and folders of its own."""
        return {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "UNDERSTUDY_MODELS": str(self.folder / "home" / "models"),
        }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from an sdist, so that this is complete, too."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__", "node_modules", "*.egg-info")
    for name in ("src", *FOLDERS):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unwanted)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("project")
    venv.create(folder / ".venv", symlinks=True)
    python = folder / ".venv" / "bin" / "python"
    site = next((folder / ".venv" / "lib").glob("python*")) / "site-packages"
    _link_requirements(wheel, site)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--quiet"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*command, wheel, _other(folder)], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (site / "understudy" / "__init__.py").is_file()
    for name in FOLDERS:
        assert (site / name / "__init__.py").read_text() == TRAP
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP)
    return Installed(folder, python)


def _link_requirements(wheel: Path, site: Path) -> None:
    """Link `site` to the distributions of this environment that the wheel requires without its extras."""
    with zipfile.ZipFile(wheel) as file:
        metadata = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        lines = file.read(metadata).decode().splitlines()
    needs = [Requirement(line.partition(":")[2]) for line in lines if line.startswith("Requires-Dist:")]
    done: set[tuple[str, str]] = set()
    while needs:
        need = needs.pop()
        for extra in ("", *need.extras):
            key = canonicalize_name(need.name), extra
            if key in done or (need.marker and not need.marker.evaluate({"extra": ""})):
                continue
            done.add(key)
            found = _distribution(need.name)
            needs += [
                more
                for more in map(Requirement, found.requires or ())
                if more.marker is None or more.marker.evaluate({"extra": extra})
            ]
            _link(found, site)


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return pytest.fail(f"{name} is a requirement of the wheel and isn't installed")


def _link(found: Distribution, site: Path) -> None:
    for file in found.files or ():
        top = file.parts[0]
        if top not in ("..", "__pycache__") and not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))))


def _other(folder: Path) -> Path:
    """A wheel with packages named as our folders."""
    path = folder / "other-1.0-py3-none-any.whl"
    about = "other-1.0.dist-info"
    files = {f"{name}/__init__.py": TRAP for name in FOLDERS} | {
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path
