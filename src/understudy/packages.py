"""Packages that are imported only when needed: those that Understudy can use and doesn't require, and the error where
one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from understudy.errors import UnderstudyError


@dataclass(frozen=True)
class OptionalPackage:
    """`distribution`: its name for pip. `extra`: the extra of Understudy that installs it. `purpose`: what it does
    here. `without`: what can't be done without it."""

    distribution: str
    extra: str
    purpose: str
    without: str


OPTIONAL = {
    "psycopg": OptionalPackage(
        "psycopg",
        "postgresql",
        "job queue and database of the server in PostgreSQL",
        "the server keeps its jobs in SQLite, on one machine",
    ),
    "pydub": OptionalPackage(
        "pydub",
        "pydub",
        "exchange of sound with programs that use pydub",
        "to_audiosegment and from_audiosegment can't be used",
    ),
    "ray": OptionalPackage("ray", "ray", "stages on the machines of a Ray cluster", "all stages run on one machine"),
    "s3fs": OptionalPackage(
        "s3fs", "s3", "files of the server in an S3 store", "the server keeps its files in a local folder"
    ),
    "torchfcpe": OptionalPackage(
        "torchfcpe", "fcpe", "the pitch tracker fcpe", "the default tracker, swift-f0, is used instead"
    ),
    "yt_dlp": OptionalPackage("yt-dlp", "links", "links as songs", "songs are files"),
}
"""By the name under which each is imported."""


def require_package(module: str) -> ModuleType:
    """Import `module` and return it. Raises `UnderstudyError` ``package-missing`` with the command that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise package_missing(module, str(error)) from error


def check_installed(module: str) -> None:
    """Raise what `require_package` would if `module` isn't installed, without importing it."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise package_missing(module)


def package_missing(module: str, reason: str = "it is not installed") -> UnderstudyError:
    """The error for a package without which something can't be done; `reason`: why it can't be imported."""
    name = module.partition(".")[0]
    optional = OPTIONAL.get(name)
    if optional is None:  # a requirement of Understudy: something removed it or damaged it
        return UnderstudyError(
            "package-missing",
            f"The package {name} can't be used ({reason}).",
            f"Install it again with: pip install --force-reinstall {name.replace('_', '-')}",
        )
    return UnderstudyError(
        "package-missing",
        f"The package {optional.distribution} can't be used ({reason}); it is for {optional.purpose}.",
        f"Install it with: pip install 'understudy-covers[{optional.extra}]'",
    )
