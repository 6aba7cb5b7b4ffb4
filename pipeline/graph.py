"""The graph that makes a cover, as data: nodes, what each needs, and the key under which its artifact is stored.

A `Stage` is a plain function with a name and a version. A `Node` is one use of a stage: where its arguments come
from. A `Graph` is a tuple of nodes, each after those that it needs. Nothing here runs or stores anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel

from understudy.models import usable


@dataclass(frozen=True)
class Stage:
    """`run(context, **arguments) -> value`. Raise `version` whenever the same arguments give another answer.

    `models`: models of the catalogue that the stage uses where they are installed; their hashes are part of the key, so
    that installing one makes the stage run again. `packages`: distributions whose versions are part of the key, because
    they compute or carry something that the stage uses. `big`: it holds so
    much memory that no other such stage runs beside it.
    """

    name: str
    version: int
    run: Callable[..., Any]
    uses_gpu: bool = False
    models: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    big: bool = False


@dataclass(frozen=True)
class External:
    """An argument from outside the graph: a song's path, a voice. `content_hash` stands for it in the key."""

    value: Any
    content_hash: str


@dataclass(frozen=True)
class Node:
    """`inputs`: argument -> ``"node"`` or ``"node.part"``, a value made earlier or one entry of it.
    `settings`: argument -> plain data or a settings model. `externals`: argument -> thing from outside.
    `hears`: nodes whose warnings come as the argument ``warnings``, pairs of node and sentence. `optional`: where it
    fails, those that need it go on without it, as long as another optional one is left to them."""

    name: str
    stage: Stage
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, BaseModel | str | int | float | bool | None] = field(default_factory=dict)
    externals: Mapping[str, External] = field(default_factory=dict)
    hears: tuple[str, ...] = ()
    optional: bool = False

    @property
    def needs(self) -> set[str]:
        """Names of the nodes that must be there first."""
        return {*(source.partition(".")[0] for source in self.inputs.values()), *self.hears}


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen or not node.needs <= seen:
                raise ValueError(f"node {node.name!r} is there twice or stands before what it needs")
            seen.add(node.name)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def upstream(self, targets: Iterable[str]) -> Graph:
        """The part of the graph that `targets` need, themselves included."""
        wanted = set(targets)
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted |= node.needs
        return Graph(tuple(node for node in self.nodes if node.name in wanted))

    def without(self, name: str, reason: str) -> Graph | None:
        """The graph without the optional node `name`, which failed: those that needed it do so no longer and have the
        `reason` in their setting ``left_out``, so that their artifacts get other keys. None where one of them would be
        left with no optional node."""
        nodes = []
        for node in self.nodes:
            if node.name == name:
                continue
            left = {to: source for to, source in node.inputs.items() if source.partition(".")[0] != name}
            if len(left) < len(node.inputs):
                if not any(self[source.partition(".")[0]].optional for source in left.values()):
                    return None
                told = filter(None, (node.settings.get("left_out"), reason))
                node = replace(node, inputs=left, settings={**node.settings, "left_out": "\n".join(map(str, told))})
            nodes.append(replace(node, hears=tuple(heard for heard in node.hears if heard != name)))
        return Graph(tuple(nodes))

    def keys(self) -> dict[str, str]:
        """The key of every node's artifact: a hash over its stage, settings, inputs' keys and externals' contents."""
        keys: dict[str, str] = {}
        for node in self.nodes:
            identity = {
                "stage": [node.stage.name, node.stage.version],
                "settings": {name: _plain(value) for name, value in node.settings.items()},
                "inputs": {
                    name: [keys[source.partition(".")[0]], source.partition(".")[2]]
                    for name, source in node.inputs.items()
                },
                "externals": {name: external.content_hash for name, external in node.externals.items()},
                "models": {name: _model_hash(name) for name in node.stage.models},
                "packages": {name: _version(name) for name in node.stage.packages},
                "hears": [keys[name] for name in node.hears],
            }
            text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
            keys[node.name] = hashlib.sha256(text.encode()).hexdigest()[:40]
        return keys

    def pending(self, targets: Iterable[str], cached: Callable[[str], bool]) -> list[Node]:
        """The nodes that must run so that `targets` exist, in order, when `cached(key)` says what is there.

        What lies behind a cached artifact isn't needed, even if it was deleted.
        """
        keys = self.keys()
        wanted, pending = set(targets), []
        for node in reversed(self.nodes):
            if node.name in wanted and not cached(keys[node.name]):
                pending.append(node)
                wanted |= node.needs
        return pending[::-1]


def _model_hash(name: str) -> str | None:
    weights = usable(name)
    return weights.content_hash if weights else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plain(value: BaseModel | str | int | float | bool | None) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
