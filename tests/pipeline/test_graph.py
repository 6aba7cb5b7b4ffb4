from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from understudy.context import Context
from understudy.pipeline.cast import Cast, TimeRange, Turn
from understudy.pipeline.cover_graph import cover_graph
from understudy.pipeline.drawing import as_mermaid, as_svg, as_text
from understudy.pipeline.graph import External, Graph, Node, Output, Source, Stage, resolve
from understudy.pipeline.settings import CoverSettings
from understudy.voices.voice import Manifest, Voice


class Settings(BaseModel):
    gain: float = 0.0


def nothing(context: Context, **anything: object) -> None:
    """A stage that is never run here."""


STAGE = Stage("stage", 1, nothing)


def a_voice(folder: Path, name: str) -> Voice:
    manifest = Manifest(
        name=name,
        engine="instant",
        sample_rate=16000,
        pitch_range=None,
        recordings=(),
        consent="self",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        content_hash=f"{len(name):064x}",
    )
    return Voice(folder, manifest)


def chain(gain: float = 0.0, content: str = "a", version: int = 1, names: str = "") -> Graph:
    first = Node(
        "first", Stage("first", version, nothing), externals={"path": External(Path("x"), content)}, subject=names
    )
    second = Node("second", STAGE, {"song": first}, subject=names)
    third = Node("third", STAGE, {"song": second["part"]}, {"settings": Settings(gain=gain)}, subject=names)
    return Graph.of(third, Node("aside", STAGE, {"song": first}, {"value": 1}, subject=names))


def keys(graph: Graph) -> dict[str, str]:
    return {node.kind: key for node, key in graph.keys().items()}


def named(graph: Graph, name: str) -> Node[None]:
    node = graph.named(name)
    assert node is not None
    return node


def changed(a: Graph, b: Graph) -> set[str]:
    before, after = keys(a), keys(b)
    return {name for name in before if before[name] != after[name]}


def test_a_graph_is_what_its_targets_need_in_order():
    assert [node.name for node in chain().nodes] == ["first", "second", "third", "aside"]
    graph = chain()
    assert [node.name for node in graph.upstream([named(graph, "aside")]).nodes] == ["first", "aside"]


def test_a_setting_changes_its_node_and_what_stands_on_it():
    assert changed(chain(), chain()) == set()
    assert changed(chain(), chain(gain=1.0)) == {"third"}


def test_content_and_version_change_everything_downstream():
    everything = {"first", "second", "third", "aside"}
    assert changed(chain(), chain(content="b")) == everything
    assert changed(chain(), chain(version=2)) == everything


def test_names_change_no_key():
    assert changed(chain(), chain(names="of another name")) == set()


def test_parts_of_one_value_have_different_keys():
    stems = Node("stems", STAGE)
    parts = [stems["vocals"], stems["instrumental"], stems["vocals"]]
    a, b, c = (Node(str(number), STAGE, {"sound": part}) for number, part in enumerate(parts))
    keys = Graph.of(a, b, c).keys()
    assert keys[a] == keys[c] != keys[b]


def test_inputs_of_every_form_have_different_keys():
    one, two = Node("one", STAGE), Node("two", Stage("other", 1, nothing))
    inputs: list[Any] = [
        one,
        two,
        (one, two),
        (two, one),
        (one,),
        {"a": one, "b": two},
        {"b": two, "a": one},
        {"a": one},
        one["a"],
    ]
    nodes = [Node(str(number), STAGE, {"sounds": source}) for number, source in enumerate(inputs)]
    assert len({Graph.of(*nodes).keys()[node] for node in nodes}) == len(inputs)


def test_inputs_of_every_form_are_resolved():
    one, two = Node("one", STAGE), Node("two", STAGE)
    values = {one: {"a": 1}, two: [2]}
    source: Any = {"whole": two, "part": one["a"], "several": (one["a"], two)}
    assert resolve(source, values.__getitem__) == {"whole": [2], "part": 1, "several": (1, [2])}
    assert one["a"] == Output(one, "a") != two["a"]


def needs_two(context: Context, sound: object, level: int, gain: float = 1.0) -> None:
    """A stage with two arguments that must be given."""


@pytest.mark.parametrize(
    ("inputs", "settings", "said"),
    [
        ({"sound": Node("a", STAGE)}, {}, "missing a required argument: 'level'"),
        ({"sound": Node("a", STAGE)}, {"level": 1, "gian": 2.0}, "unexpected keyword argument 'gian'"),
        ({"sound": Node("a", STAGE), "level": Node("a", STAGE)}, {"level": 1}, "twice"),
    ],
)
def test_arguments_that_do_not_fit_the_stage_are_refused(inputs, settings, said):
    with pytest.raises(TypeError, match=said):
        Node("b", Stage("needs two", 1, needs_two), inputs, settings)


ROOT = Path(__file__).parents[2]


def test_no_code_takes_the_name_of_a_node_apart():
    """Names are for people. What a node is, its kind and its stage say."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in (ROOT / "pipeline", ROOT / "src/understudy", ROOT / "services")
        for path in sorted(folder.glob("*.py" if folder.name == "understudy" else "**/*.py"))
        if "separation" not in path.relative_to(folder).parts  # of models and stems, not of nodes
        for line in path.read_text("utf-8").splitlines()
        if re.search(
            r"\b(node|stage|event)\w*(\.name|\.node|\[.name.\])\)?\.(r?partition|r?split|starts|ends|remove)", line
        )
    ]
    assert found == []


@pytest.mark.parametrize("several", [False, True])
def test_names_decide_no_key_of_a_cover(several: bool, tmp_path: Path):
    """The same cover with all nodes called otherwise has the same keys."""
    soundfile.write(tmp_path / "song.wav", np.zeros(8000), 8000)
    voices = [a_voice(tmp_path, name) for name in ("nova", "ada")]
    cast = Cast((Turn(voices[0], TimeRange(stop=3.0)), Turn(voices[1], TimeRange(start=3.0)))) if several else voices[0]
    graph = cover_graph(tmp_path / "song.wav", cast, CoverSettings()).graph
    renamed: dict[Node[Any], Node[Any]] = {}

    def moved(source: Source) -> Source:
        match source:
            case Node():
                return renamed[source]
            case Output():
                return Output(renamed[source.node], source.field)
            case tuple():
                return tuple(map(moved, source))
            case _:
                return {name: moved(item) for name, item in source.items()}

    for number, node in enumerate(graph.nodes):
        inputs = {name: moved(source) for name, source in node.inputs.items()}
        warnings_from = tuple(renamed[other] for other in node.warnings_from)
        renamed[node] = replace(node, kind=f"n{number}", subject="x", inputs=inputs, warnings_from=warnings_from)
    keys = Graph(tuple(renamed.values())).keys()
    assert [keys[renamed[node]] for node in graph.nodes] == list(graph.keys().values())


def test_a_model_s_package_is_part_of_the_key():
    def key(*packages: str) -> str:
        return keys(Graph.of(Node("a", Stage("a", 1, nothing, packages=packages))))["a"]

    assert len({key(), key("pytest"), key("no-such-package"), key("pytest", "no-such-package")}) == 4


def test_what_lies_behind_a_cached_artifact_is_not_needed():
    graph = chain()
    third, known = [named(graph, "third")], keys(graph)
    assert [node.name for node in graph.pending(third, lambda key: False)] == ["first", "second", "third"]
    assert [node.name for node in graph.pending(third, {known["second"]}.__contains__)] == ["third"]
    assert graph.pending(third, {known["third"]}.__contains__) == []


@given(st.sets(st.sampled_from(["first", "second", "third", "aside"])))
def test_pending_nodes_have_what_they_need(cached: set[str]):
    graph = chain()
    there = {keys(graph)[name] for name in cached}
    have = {named(graph, name) for name in cached}
    targets = {named(graph, "third"), named(graph, "aside")}
    for node in graph.pending(targets, there.__contains__):
        assert graph.needs(node) <= have
        have.add(node)
    assert targets <= have


def test_a_node_that_takes_warnings_needs_who_gives_them():
    a = Node("a", STAGE)
    b = Node("b", STAGE, warnings_from=(a,))
    graph = Graph.of(b)
    assert graph.nodes == (a, b)
    assert graph.needs(b) == {a}
    assert graph.sources(b) == set()


def test_a_wrong_order_and_a_name_twice_are_refused():
    a, again = Node("a", STAGE), Node("a", STAGE)
    b = Node("b", STAGE, {"x": a})
    for nodes in ((b, a), (a, again)):
        with pytest.raises(ValueError, match="node"):
            Graph(nodes)


def test_drawings_show_every_node_and_what_is_cached():
    graph = chain()
    cached = {keys(graph)["first"]}.__contains__
    for draw in (as_text, as_mermaid, as_svg):
        drawing = draw(graph, cached)
        assert all(name in drawing for name in ("first", "second", "third", "aside"))
    assert "● first" in as_text(graph, cached)
    assert "○ second" in as_text(graph, cached)
    assert as_mermaid(graph, cached).count(":::cached") == 1
    assert as_svg(graph, cached).count("✓") == 1


def optional_graph(*, together: bool = False) -> Graph:
    a = Node("a", STAGE)
    b, c = (Node(name, STAGE, {"of": a}, optional=True) for name in ("b", "c"))
    d = Node("d", STAGE, {"members": {"b": b, "c": c["part"]}} if together else {"first": b, "second": (c["part"],)})
    return Graph.of(Node("e", STAGE, {"of": d}, warnings_from=(b, c)))


@pytest.mark.parametrize("together", [False, True])
def test_a_graph_without_a_node_that_failed(together: bool):
    graph = optional_graph(together=together)
    a, b, c, d, e = (named(graph, name) for name in "abcde")
    rest = graph.without(b, "it broke")
    assert rest is not None
    assert rest.nodes == (a, c, d, e)
    assert rest.inputs(d) == ({"members": {"c": c["part"]}} if together else {"second": (c["part"],)})
    assert rest.settings(d)["left_out"] == ("it broke",)
    assert rest.warnings_from(e) == (c,)
    before, after = graph.keys(), rest.keys()
    assert (before[a], before[c]) == (after[a], after[c])
    assert before[d] != after[d]
    assert rest.without(c, "it broke, too") is None, "nothing would be left to go on with"


def test_warnings_alone_draw_no_arrows():
    graph = optional_graph()
    text = as_text(graph, lambda key: False)
    assert "○ e  ← d and the warnings of 2 stages" in text
    assert "n1 --> n4" not in as_mermaid(graph, lambda key: False)
    root = ElementTree.fromstring(as_svg(graph, lambda key: False))
    assert [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")] == ["a", "b", "c", "d", "e"]
    assert len(root.findall("{http://www.w3.org/2000/svg}path")) == 5
