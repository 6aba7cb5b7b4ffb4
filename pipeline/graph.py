"""The graph that makes a cover, as data: nodes, what each takes from others, and the key of each artifact.

A `Stage` is a plain function with a name and a version. A `Node` is one use of a stage; its inputs are other nodes, or
parts of what they make (`Output`), or tuples and mappings of these. A `Graph` is a tuple of nodes, each after those
that it needs. Nothing here runs or stores anything, and nothing depends on a node's name: names are for people.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from understudy.context import Context
from understudy.models import Weights, usable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FORMAT = 2
"""Of stored values (see `understudy.pipeline.values`). Raise it when older artifacts can no longer be read."""


@dataclass(frozen=True)
class Stage(Generic[T_co]):
    """`run(context, **arguments) -> value`, or `run(context, kind(**arguments))` where a dataclass `kind` holds them.
    Raise `version` whenever the same arguments give another answer.

    `models`: models of the catalogue that the stage uses where they are installed; their hashes are part of the key, so
    that installing one makes the stage run again. `packages`: distributions whose versions are part of the key, because
    they compute or carry something that the stage uses. `big`: it holds so much memory that no other such stage runs
    beside it. `private`: it gets a secret, such as a signing key, and so runs in the process that asks for it.
    """

    name: str
    version: int
    run: Callable[..., T_co]
    uses_gpu: bool = False
    models: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    big: bool = False
    private: bool = False
    kind: Callable[..., Any] | None = None

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> T_co:
        return self.run(context, **arguments) if self.kind is None else self.run(context, self.kind(**arguments))

    def check(self, names: Iterable[str]) -> None:
        """Raise `TypeError` unless these are the arguments that it takes."""
        given = dict.fromkeys(names)
        _signature(self.kind).bind(**given) if self.kind else _signature(self.run).bind(None, **given)


@dataclass(frozen=True)
class External:
    """An argument from outside the graph: a song's path, a voice. `content_hash` stands for it in the key. `voices`:
    the identities of the voices that it holds; they are no part of the key."""

    value: Any
    content_hash: str
    voices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """One part of what a node makes: the field of a dataclass, or the entry of a mapping."""

    node: Node[Any]
    field: str

    def of(self, value: Any) -> Any:
        """This part of `value`, which `node` made."""
        return part_of(value, self.field)


@dataclass(frozen=True, eq=False)
class Node(Generic[T_co]):
    """One use of a stage. Two nodes are the same only if they are the same object.

    `kind`: what it does in a word or two (``convert``), and `subject`: to what or for whom, where a graph has several
    of a kind (``nova``); together they are its `name`. `inputs`: argument -> a node (all that it makes), an `Output`,
    or a tuple or mapping of these, which the stage gets as a tuple or dict of values. `settings`: argument -> settings
    model or plain data. `externals`: argument -> thing from outside. `warnings_from`: nodes whose warnings come
    as the argument ``warnings``, pairs of node name and sentence. `optional`: where it fails, those that need it go on
    without it, as long as another optional one is left to them; they get the reasons as the argument ``left_out``.

    Raises `TypeError` where the arguments don't fit the stage's function.
    """

    kind: str
    stage: Stage[T_co]
    inputs: Mapping[str, Source] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    externals: Mapping[str, External] = field(default_factory=dict)
    subject: str = ""
    warnings_from: tuple[Node[Any], ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        names = [*self.inputs, *self.settings, *self.externals, *(["warnings"] if self.warnings_from else [])]
        if len(set(names)) < len(names):
            raise TypeError(f"node {self.name!r} is given an argument twice: {', '.join(names)}")
        try:
            self.stage.check(names)
        except TypeError as error:
            raise TypeError(f"node {self.name!r} doesn't fit the stage {self.stage.name!r}: {error}") from None

    @property
    def name(self) -> str:
        return label(self.kind, self.subject)

    @property
    def node(self) -> Node[T_co]:
        """Itself, as `Output.node` is the node of a part."""
        return self

    def __getitem__(self, field: str) -> Output:
        return Output(self, field)


Handle: TypeAlias = Node[Any] | Output
Source: TypeAlias = Handle | tuple["Source", ...] | Mapping[str, "Source"]
Setting: TypeAlias = BaseModel | str | int | float | bool | tuple["Setting", ...] | Mapping[str, "Setting"] | None


@dataclass(frozen=True)
class Graph:
    """`nodes`, each after those that it needs. `left_out`: optional nodes that failed, and why; see `without`."""

    nodes: tuple[Node[Any], ...]
    left_out: Mapping[Node[Any], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names: set[str] = set()
        seen: set[Node[Any]] = set()
        for node in self.nodes:
            if node.name in names or not self.needs(node) <= seen:
                raise ValueError(f"node {node.name!r} is there twice or stands before what it needs")
            names.add(node.name)
            seen.add(node)

    @classmethod
    def of(cls, *targets: Node[Any]) -> Graph:
        """The targets and everything that they need, in order of work."""
        ordered: dict[Node[Any], None] = {}

        def visit(node: Node[Any]) -> None:
            if node not in ordered:
                for source in (*node.inputs.values(), node.warnings_from):
                    for needed in nodes_in(source):
                        visit(needed)
                ordered[node] = None

        for target in targets:
            visit(target)
        return cls(tuple(ordered))

    def named(self, name: str) -> Node[Any] | None:
        """The node that a user calls by its name."""
        return next((node for node in self.nodes if node.name == name), None)

    def inputs(self, node: Node[Any]) -> dict[str, Source]:
        """The node's inputs, without those that were left out."""
        rest = {argument: _without(source, self.left_out) for argument, source in node.inputs.items()}
        return {argument: source for argument, source in rest.items() if source is not None}

    def settings(self, node: Node[Any]) -> dict[str, Setting]:
        """The node's settings; where some of its inputs were left out, ``left_out`` says why."""
        settings = dict(node.settings)
        taken = set(nodes_in(tuple(node.inputs.values())))
        reasons = [reason for failed, reason in self.left_out.items() if failed in taken]
        if reasons:
            before = settings.get("left_out", ())
            settings["left_out"] = (*(before if isinstance(before, tuple) else ()), *reasons)
        return settings

    def sources(self, node: Node[Any]) -> set[Node[Any]]:
        """The nodes from which it takes values."""
        return set(nodes_in(tuple(self.inputs(node).values())))

    def warnings_from(self, node: Node[Any]) -> tuple[Node[Any], ...]:
        return tuple(other for other in node.warnings_from if other not in self.left_out)

    def needs(self, node: Node[Any]) -> set[Node[Any]]:
        """The nodes that must be there first."""
        return {*self.sources(node), *self.warnings_from(node)}

    def upstream(self, targets: Iterable[Node[Any]]) -> Graph:
        """The part of the graph that `targets` need, themselves included."""
        wanted = set(targets)
        for node in reversed(self.nodes):
            if node in wanted:
                wanted |= self.needs(node)
        return replace(self, nodes=tuple(node for node in self.nodes if node in wanted))

    def without(self, failed: Node[Any], reason: str) -> Graph | None:
        """The graph without an optional node that failed: those that took something from it do so no longer, and have
        the `reason` in their setting ``left_out``, so that their artifacts get other keys. None where one of them would
        be left with no optional node."""
        rest = Graph(tuple(node for node in self.nodes if node is not failed), {**self.left_out, failed: reason})
        for node in rest.nodes:
            concerned = failed in nodes_in(tuple(node.inputs.values()))
            if concerned and not any(other.optional for other in rest.sources(node)):
                return None
        return rest

    def keys(self) -> dict[Node[Any], str]:
        """The key of every node's artifact: a hash over its stage, settings, inputs' keys and externals' contents.

        Names take no part in it: two nodes that do the same to the same inputs share an artifact.
        """
        keys: dict[Node[Any], str] = {}
        for node in self.nodes:
            identity = {
                "format": FORMAT,
                "stage": [node.stage.name, node.stage.version],
                "settings": {name: _plain(value) for name, value in self.settings(node).items()},
                "inputs": {name: _identity(source, keys) for name, source in self.inputs(node).items()},
                "externals": {name: external.content_hash for name, external in node.externals.items()},
                "models": {name: weights and weights.content_hash for name, weights in models(node.stage).items()},
                "packages": packages(node.stage),
                "warnings_from": [keys[other] for other in self.warnings_from(node)],
            }
            text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
            keys[node] = hashlib.sha256(text.encode()).hexdigest()[:40]
        return keys

    def voices(self) -> dict[Node[Any], tuple[str, ...]]:
        """The identities of the voices that each node's artifact comes from."""
        found: dict[Node[Any], tuple[str, ...]] = {}
        for node in self.nodes:
            own = {voice for external in node.externals.values() for voice in external.voices}
            found[node] = tuple(sorted(own.union(*(found[other] for other in self.needs(node)))))
        return found

    def pending(self, targets: Iterable[Node[Any]], cached: Callable[[str], bool]) -> list[Node[Any]]:
        """The nodes that must run so that `targets` exist, in order, when `cached(key)` says what is there.

        What lies behind a cached artifact isn't needed, even if it was deleted.
        """
        keys = self.keys()
        wanted, pending = set(targets), []
        for node in reversed(self.nodes):
            if node in wanted and not cached(keys[node]):
                pending.append(node)
                wanted |= self.needs(node)
        return pending[::-1]


def part_of(value: Any, field: str) -> Any:
    """The field of a dataclass, or the entry of a mapping."""
    return value[field] if isinstance(value, Mapping) else getattr(value, field)


def models(stage: Stage[Any]) -> dict[str, Weights | None]:
    """The models that the stage uses where they are installed."""
    return {name: usable(name) for name in stage.models}


def packages(stage: Stage[Any]) -> dict[str, str | None]:
    """The versions of the distributions that the stage uses, None where one isn't installed."""
    return {name: _version(name) for name in stage.packages}


def label(kind: str, subject: str) -> str:
    """What a node is called: ``convert nova``."""
    return f"{kind} {subject}" if subject else kind


def resolve(source: Source, value_of: Callable[[Node[Any]], Any]) -> Any:
    """What a stage gets for `source`, when `value_of(node)` is what a node made."""
    match source:
        case Node():
            return value_of(source)
        case Output():
            return source.of(value_of(source.node))
        case tuple():
            return tuple(resolve(item, value_of) for item in source)
        case _:
            return {name: resolve(item, value_of) for name, item in source.items()}


def nodes_in(source: Source) -> Iterator[Node[Any]]:
    if isinstance(source, Node | Output):
        yield source.node
    else:
        for item in source if isinstance(source, tuple) else source.values():
            yield from nodes_in(item)


def _without(source: Source, left_out: Mapping[Node[Any], str]) -> Source | None:
    match source:
        case Node() | Output():
            return None if source.node in left_out else source
        case tuple():
            kept = (_without(item, left_out) for item in source)
            return tuple(item for item in kept if item is not None)
        case _:
            rest = {name: _without(item, left_out) for name, item in source.items()}
            return {name: item for name, item in rest.items() if item is not None}


def _identity(source: Source, keys: Mapping[Node[Any], str]) -> Any:
    match source:
        case Node():
            return keys[source]
        case Output():
            return [keys[source.node], source.field]
        case tuple():
            return {"tuple": [_identity(item, keys) for item in source]}
        case _:
            # in a list, because the order of a mapping may matter to a stage
            return {"mapping": [[name, _identity(item, keys)] for name, item in source.items()]}


def _plain(value: Setting) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@cache
def _signature(run: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(run)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
