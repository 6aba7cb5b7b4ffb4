"""What this machine has: device, packages, models, voices and disk, and what can't be done without what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from understudy import environment
from understudy.environment import choose_device
from understudy.errors import UnderstudyError
from understudy.models import Model, catalogue, installed
from understudy.models.installed import size_text
from understudy.packages import OPTIONAL
from understudy.voices.library import list_voices
from understudy.wording import counted

REQUIRED = {
    "torch": "networks",
    "av": "reading and writing songs",
    "onnxruntime": "the pitch tracker swift-f0, MDX-Net and Spleeter",
    "demucs": "Demucs separation models",
    "librosa": "tempo and key of the song",
    "pyworld-prebuilt": "the instant engine",
    "faiss-cpu": "retrieval from the recordings",
    "pocketsphinx": "the phones of the instant engine",
    "praat-parselmouth": "checks of recordings and covers",
    "python-stretch": "--key",
}
"""By distribution: what each is for. Other requirements are small or show at once when they are missing."""


@dataclass(frozen=True)
class Check:
    """`state`: ``ok``, ``lack`` (works without, at a cost) or ``problem``."""

    name: str
    state: str
    detail: str


def examine(voices: Path, cache: Path) -> list[Check]:
    """Device, libraries, models, voices and disk, in this order."""
    cores = counted(os.cpu_count() or 1, "core")
    checks = [Check("python", "ok", f"{platform.python_version()} on {platform.platform()}, {cores}")]
    device = choose_device()
    slow = "no GPU: everything works, neural models will be slow"
    checks.append(Check("device", "ok" if device != "cpu" else "lack", device if device != "cpu" else slow))
    for name, purpose in REQUIRED.items():
        lack = Check(name, "problem", f"needed for {purpose}: install Understudy again")
        checks.append(_package(name, purpose, lack))
    for package in OPTIONAL.values():
        get = f"pip install 'understudy-covers[{package.extra}]'"
        lack = Check(package.distribution, "lack", f"not installed: {package.without}. {get}")
        checks.append(_package(package.distribution, package.purpose, lack))
    checks.append(Check("models", "ok", "embedded separator and swift-f0, both inside; nothing is downloaded"))
    checks += [_model(model) for model in catalogue().values() if model.without]
    count = len(list_voices(voices))
    none = "none yet: understudy voices add NAME recording.wav --consent self"
    checks.append(Check("voices", "ok" if count else "lack", f"{count} in {voices}" if count else none))
    checks.append(_disk(cache))
    return checks


def _package(distribution: str, purpose: str, lack: Check) -> Check:
    try:
        return Check(distribution, "ok", f"{version(distribution)}: {purpose}")
    except PackageNotFoundError:
        return lack


def _model(model: Model) -> Check:
    name = f"model {model.name}"
    try:
        weights = installed(model.name)
    except UnderstudyError as error:
        return Check(name, "problem", f"{error.message} {error.hint}")
    if weights is None:
        get = f"understudy models fetch {model.name} ({size_text(model.preferred)})"
        return Check(name, "lack", f"not installed: {model.without}. {get}")
    return Check(name, "ok", f"{weights.path}: {model.purpose}")


def _disk(cache: Path) -> Check:
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free / environment.GIB
    if not os.access(place, os.W_OK):
        return Check("disk", "problem", f"{cache} can't be written: name another folder with UNDERSTUDY_CACHE")
    limit = environment.cache_limit() / environment.GIB
    detail = f"{free:.0f} GB free for the cache in {cache}, which may hold {limit:.0f} GB"
    return Check("disk", "ok" if free > 5 else "lack", detail + ("" if free > 5 else ": a long song needs about 3 GB"))
