"""A bag: several Demucs networks whose stems are averaged, each network with a weight per stem.

It is described by a small YAML file that names its networks by the signature with which their files begin
(``models: ['f7e0c4bc', ...]``), their ``weights`` and the ``segment`` in seconds that replaces the networks' own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint, invalid, read_checkpoint

_LARGEST = 64 << 10  # bytes
_MOST = 16
_SHORTEST, _LONGEST = 0.5, 60.0  # seconds


@dataclass(frozen=True)
class Bag:
    """`weights`: by network, then by stem; those of a stem add up to one."""

    path: Path
    checkpoints: tuple[Checkpoint, ...]
    weights: tuple[tuple[float, ...], ...]
    segment: float | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems as the files name them."""
        return self.checkpoints[0].sources


def read_bag(weights: Weights) -> Bag:
    """The bag in ``weights.path``, or, where that is a single network's file, that network alone.

    Raises `UnderstudyError`: ``model-companion`` where a file of one of its networks is missing; ``model-invalid``;
    what `read_checkpoint` raises.
    """
    if weights.path.suffix.lower() not in (".yaml", ".yml"):
        checkpoint = read_checkpoint(weights.path)
        return Bag(weights.path, (checkpoint,), ((1.0,) * len(checkpoint.sources),))
    description = _described(weights.path)
    signatures = description.get("models")
    if (
        not isinstance(signatures, list)
        or not 1 <= len(signatures) <= _MOST
        or not all(isinstance(signature, str) and signature for signature in signatures)
    ):
        raise invalid(weights.path, "it doesn't list its networks under 'models'")
    paths = [companion.path for companion in weights.companions]
    read: dict[Path, Checkpoint] = {}  # a bag may name one network twice
    for signature in signatures:
        path = _of(signature, paths, weights.path)
        read.setdefault(path, read_checkpoint(path))
    checkpoints = tuple(read[_of(signature, paths, weights.path)] for signature in signatures)
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.sources, other.arguments["samplerate"]) != (first.sources, first.arguments["samplerate"]):
            raise invalid(weights.path, f"{other.path.name} gives other stems, or another rate, than {first.path.name}")
    counts = _counts(weights.path, description.get("weights"), len(checkpoints), len(first.sources))
    return _merged(Bag(weights.path, checkpoints, counts, _segment(weights.path, description.get("segment"))))


def _described(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise invalid(path, "it is too long for the description of a bag")
        text = path.read_text(encoding="utf-8")
        if "&" in text or "*" in text:  # aliases, which can make a short text large
            raise invalid(path, "it isn't the description of a bag")
        description = yaml.safe_load(text)
    except OSError as error:
        raise UnderstudyError(
            "file-not-found", f"{path} cannot be read ({error.strerror or error}).", "Check the path; name a file."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise invalid(path, "it is no YAML") from error
    if not isinstance(description, dict):
        raise invalid(path, "it isn't the description of a bag")
    return description


def _of(signature: str, paths: Sequence[Path], bag: Path) -> Path:
    """The file whose name is the signature, or the signature, a hyphen and the beginning of its hash."""
    for path in paths:
        if path.stem == signature or path.stem.startswith(f"{signature}-"):
            return path
    raise UnderstudyError(
        "model-companion",
        f"{bag.name} needs the file {signature}-*.th (or {signature}.safetensors), which isn't with it.",
        f"Put it beside {bag}; it is published where the other files of this model are.",
    )


def _counts(path: Path, value: Any, networks: int, stems: int) -> tuple[tuple[float, ...], ...]:
    if value is None:
        return ((1 / networks,) * stems,) * networks
    try:
        counts = [[float(weight) for weight in row] for row in value]
    except (TypeError, ValueError) as error:
        raise invalid(path, "its weights are not numbers") from error
    if len(counts) != networks or any(len(row) != stems for row in counts):
        raise invalid(path, f"it needs weights for {networks} networks and {stems} stems each")
    if any(not math.isfinite(weight) or weight < 0 for row in counts for weight in row):
        raise invalid(path, "its weights must not be negative")
    totals = [sum(column) for column in zip(*counts, strict=True)]
    if min(totals) <= 0:
        raise invalid(path, "a stem has no weight in any of its networks")
    return tuple(tuple(weight / total for weight, total in zip(row, totals, strict=True)) for row in counts)


def _segment(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _SHORTEST <= value <= _LONGEST:
        raise invalid(path, f"its segment isn't between {_SHORTEST} and {_LONGEST} seconds")
    return float(value)


def _merged(bag: Bag) -> Bag:
    """The same with each network once, and without those that count nowhere."""
    rows: dict[Path, tuple[Checkpoint, list[float]]] = {}
    for checkpoint, row in zip(bag.checkpoints, bag.weights, strict=True):
        _, sums = rows.setdefault(checkpoint.path, (checkpoint, [0.0] * len(row)))
        sums[:] = [a + b for a, b in zip(sums, row, strict=True)]
    kept = [(checkpoint, tuple(sums)) for checkpoint, sums in rows.values() if any(sums)]
    return replace(
        bag, checkpoints=tuple(checkpoint for checkpoint, _ in kept), weights=tuple(weights for _, weights in kept)
    )
