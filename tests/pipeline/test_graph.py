from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from understudy.context import Context
from understudy.pipeline.drawing import as_mermaid, as_svg, as_text
from understudy.pipeline.graph import External, Graph, Node, Stage


class Settings(BaseModel):
    gain: float = 0.0


def nothing(context: Context) -> None:
    """A stage that is never run here."""


STAGE = Stage("stage", 1, nothing)


def chain(gain: float = 0.0, content: str = "a", version: int = 1) -> Graph:
    return Graph(
        (
            Node("first", Stage("first", version, nothing), externals={"path": External(Path("x"), content)}),
            Node("second", STAGE, {"song": "first"}),
            Node("third", STAGE, {"song": "second.part"}, {"settings": Settings(gain=gain)}),
            Node("aside", STAGE, {"song": "first"}, {"value": 1}),
        )
    )


def changed(a: Graph, b: Graph) -> set[str]:
    before, after = a.keys(), b.keys()
    return {name for name in before if before[name] != after[name]}


def test_a_setting_changes_its_node_and_what_stands_on_it():
    assert changed(chain(), chain()) == set()
    assert changed(chain(), chain(gain=1.0)) == {"third"}


def test_content_and_version_change_everything_downstream():
    everything = {"first", "second", "third", "aside"}
    assert changed(chain(), chain(content="b")) == everything
    assert changed(chain(), chain(version=2)) == everything


def test_parts_of_one_value_have_different_keys():
    graph = Graph(
        (
            Node("stems", STAGE),
            Node("a", STAGE, {"sound": "stems.vocals"}),
            Node("b", STAGE, {"sound": "stems.instrumental"}),
            Node("c", STAGE, {"sound": "stems.vocals"}),
        )
    )
    keys = graph.keys()
    assert keys["a"] == keys["c"] != keys["b"]


def test_a_model_s_package_is_part_of_the_key():
    def key(*packages: str) -> str:
        return Graph((Node("a", Stage("a", 1, nothing, packages=packages)),)).keys()["a"]

    assert len({key(), key("pytest"), key("no-such-package"), key("pytest", "no-such-package")}) == 4


def test_what_lies_behind_a_cached_artifact_is_not_needed():
    graph = chain()
    keys = graph.keys()
    assert [node.name for node in graph.pending(["third"], lambda key: False)] == ["first", "second", "third"]
    assert [node.name for node in graph.pending(["third"], {keys["second"]}.__contains__)] == ["third"]
    assert graph.pending(["third"], {keys["third"]}.__contains__) == []


@given(st.sets(st.sampled_from(["first", "second", "third", "aside"])))
def test_pending_nodes_have_what_they_need(cached: set[str]):
    graph = chain()
    there = {graph.keys()[name] for name in cached}
    have = set(cached)
    for node in graph.pending(["third", "aside"], there.__contains__):
        assert node.needs <= have
        have.add(node.name)
    assert {"third", "aside"} <= have


def test_a_node_that_hears_warnings_needs_who_speaks():
    graph = Graph((Node("a", STAGE), Node("b", STAGE, hears=("a",))))
    assert graph["b"].needs == {"a"}


@pytest.mark.parametrize("names", [("a", "a"), ("b", "a")])
def test_a_wrong_order_is_refused(names: tuple[str, str]):
    with pytest.raises(ValueError, match="node"):
        Graph((Node(names[0], STAGE, {"x": "a"} if names[0] == "b" else {}), Node(names[1], STAGE)))


def test_drawings_show_every_node_and_what_is_cached():
    graph = chain()
    cached = {graph.keys()["first"]}.__contains__
    for draw in (as_text, as_mermaid, as_svg):
        drawing = draw(graph, cached)
        assert all(name in drawing for name in ("first", "second", "third", "aside"))
    assert "● first" in as_text(graph, cached)
    assert "○ second" in as_text(graph, cached)
    assert as_mermaid(graph, cached).count(":::cached") == 1
    assert as_svg(graph, cached).count("✓") == 1


def optional_graph() -> Graph:
    stage = Stage("s", 1, lambda context: 0)
    members = [Node(name, stage, {"of": "a"}, optional=True) for name in ("b", "c")]
    together = Node("d", stage, {"first": "b", "second": "c.part"})
    return Graph((Node("a", stage), *members, together, Node("e", stage, {"of": "d"}, hears=("b", "c"))))


def test_a_graph_without_a_node_that_failed():
    graph = optional_graph()
    rest = graph.without("b", "it broke")
    assert rest is not None
    assert [node.name for node in rest.nodes] == ["a", "c", "d", "e"]
    assert dict(rest["d"].inputs) == {"second": "c.part"}
    assert rest["d"].settings["left_out"] == "it broke"
    assert rest["e"].hears == ("c",)
    before, after = graph.keys(), rest.keys()
    assert (before["a"], before["c"]) == (after["a"], after["c"])
    assert before["d"] != after["d"]
    assert rest.without("c", "it broke, too") is None, "nothing would be left to go on with"


def test_warnings_alone_draw_no_arrows():
    graph = optional_graph()
    text = as_text(graph, lambda key: False)
    assert "○ e  ← d and 2 stages' warnings" in text
    assert "n1 --> n4" not in as_mermaid(graph, lambda key: False)
    root = ElementTree.fromstring(as_svg(graph, lambda key: False))
    assert [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")] == ["a", "b", "c", "d", "e"]
    assert len(root.findall("{http://www.w3.org/2000/svg}path")) == 5
