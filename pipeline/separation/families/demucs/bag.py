"""A bag: several Demucs networks whose stems are averaged, each network with a weight per stem.

It is described by a small YAML file that names its networks by the signature with which their files begin
(``models: ['f7e0c4bc', ...]``), their ``weights`` and the ``segment`` in seconds that replaces the networks' own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.configuration import EXTENSIONS, read_configuration
from understudy.pipeline.separation.families.checked_config import CheckedConfig, section
from understudy.pipeline.separation.families.demucs.checkpoint import Checkpoint, invalid, read_checkpoint
from understudy.wording import counted

_MOST = 16
_SHORTEST, _LONGEST = 0.5, 60.0  # seconds


@dataclass(frozen=True)
class Bag:
    """`weights`: by network, then by stem; those of a stem add up to one. `normalised`: it expects songs of deviation
    1."""

    checkpoints: tuple[Checkpoint, ...]
    weights: tuple[tuple[float, ...], ...]
    segment: float | None = None
    normalised: bool = True

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems as the files name them."""
        return self.checkpoints[0].sources


def read_bag(weights: Weights) -> Bag:
    """The bag in ``weights.path``, or, where that is a single network's file, that network alone.

    Raises `UnderstudyError`: ``model-companion`` where a file of one of its networks is missing; ``model-invalid``;
    what `read_checkpoint` raises.
    """
    if weights.path.suffix.lower() not in EXTENSIONS:
        yaml = next((other.path for other in weights.companions if other.path.suffix.lower() in EXTENSIONS), None)
        checkpoint = read_checkpoint(weights.path, yaml)
        alone = Bag((checkpoint,), ((1.0,) * len(checkpoint.sources),))
        if yaml is None:
            return alone
        inference = CheckedConfig(section(read_configuration(yaml), "inference"))
        return replace(alone, normalised=inference.flag("normalize", False))
    description = read_configuration(weights.path)
    signatures = description.get("models")
    if (
        not isinstance(signatures, list)
        or not 1 <= len(signatures) <= _MOST
        or not all(isinstance(signature, str) and signature for signature in signatures)
    ):
        raise invalid(weights.path, "it doesn't list its networks under 'models'")
    paths = [_of(signature, weights) for signature in signatures]
    read = {path: read_checkpoint(path) for path in dict.fromkeys(paths)}  # a bag may name one network twice
    first = read[paths[0]]
    for other in read.values():
        if (other.sources, other.arguments["samplerate"]) != (first.sources, first.arguments["samplerate"]):
            raise invalid(weights.path, f"{other.path.name} gives other stems, or another rate, than {first.path.name}")
    rows: dict[Path, tuple[float, ...]] = {}  # of each network once
    counts = _counts(weights.path, description.get("weights"), len(paths), len(first.sources))
    for path, row in zip(paths, counts, strict=True):
        rows[path] = tuple(a + b for a, b in zip(rows.get(path, (0.0,) * len(row)), row, strict=True))
    counted = {path: row for path, row in rows.items() if any(row)}
    segment = _segment(weights.path, description.get("segment"))
    return Bag(tuple(read[path] for path in counted), tuple(counted.values()), segment)


def _of(signature: str, bag: Weights) -> Path:
    """The file whose name is the signature, or the signature, a hyphen and the beginning of its hash."""
    for path in (companion.path for companion in bag.companions):
        if path.stem == signature or path.stem.startswith(f"{signature}-"):
            return path
    raise UnderstudyError(
        "model-companion",
        f"{bag.path.name} needs the file {signature}-*.th (or {signature}.safetensors), which isn't with it.",
        f"Put it beside {bag.path}; it is published where the other files of this model are.",
    )


def _counts(path: Path, value: Any, networks: int, stems: int) -> tuple[tuple[float, ...], ...]:
    if value is None:
        return ((1 / networks,) * stems,) * networks
    try:
        counts = [[float(weight) for weight in row] for row in value]
    except (TypeError, ValueError) as error:
        raise invalid(path, "its weights are not numbers") from error
    if len(counts) != networks or any(len(row) != stems for row in counts):
        raise invalid(path, f"it needs weights for {counted(networks, 'network')} and {counted(stems, 'stem')} each")
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
