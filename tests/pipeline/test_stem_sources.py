"""Where stems come from: what a name stands for beside others, and that what is said to sum does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.pipeline.graph import Node, Stage
from understudy.pipeline.separation_request import SETS, STEMS
from understudy.pipeline.stem_sources import (
    GIVERS,
    INSTRUMENTAL,
    SONG,
    VOCALS,
    StemSource,
    overlapping,
    sources,
    sum_to_song,
)


def node(kind: str) -> Node[None]:
    return Node(kind, Stage(kind, 1, lambda context: None))


SINGLE = ("backing", "reverb", "noise", "dry", "drums", "bass", "guitar", "piano")
SEPARATE, LEAD, REST, X = (node(kind) for kind in ("separate", "lead", "rest", "x"))
GIVEN = {
    "vocals": StemSource((SEPARATE["vocals"],), VOCALS),
    "instrumental": StemSource((SEPARATE["instrumental"],), INSTRUMENTAL),
    "lead": StemSource((LEAD,), VOCALS - {"backing"}),
    "other": StemSource((REST,), frozenset({"rest"})),
    **{name: StemSource((X[name],), frozenset({name})) for name in SINGLE},
}
WHOLE = (
    *SETS.values(),
    ("lead", "backing", "instrumental"),
    ("lead", "backing", "reverb", "drums", "bass", "other"),
    ("dry", "reverb", "noise", "backing", "instrumental"),
    ("vocals", "drums", "bass", "guitar", "other"),
)


@pytest.mark.parametrize("names", WHOLE)
def test_stems_that_are_the_whole_song_are_known_to_be(names):
    assert sum_to_song(sources(names, GIVEN, "it").values())


@pytest.mark.parametrize("names", [("vocals",), ("drums", "bass"), ("vocals", "lead", "instrumental"), (*SONG, "lead")])
def test_stems_that_are_not_are_not(names):
    found = {name: StemSource((X[name],), frozenset({name})) if name == "rest" else None for name in names}
    known = sources([name for name in names if found[name] is None], GIVEN, "it")
    assert not sum_to_song([*known.values(), *filter(None, found.values())])


def test_other_and_lead_hold_what_is_not_wanted_apart():
    assert set(sources(["other"], GIVEN, "it")["other"].nodes) == {REST, X["guitar"], X["piano"]}
    assert set(sources(["other", "piano"], GIVEN, "it")["other"].nodes) == {REST, X["guitar"]}
    assert sources(["lead"], GIVEN, "it")["lead"].nodes == (LEAD,)
    assert set(sources(["lead", "reverb"], GIVEN, "it")["lead"].nodes) == {X["dry"], X["noise"]}
    assert sources(["lead", "dry"], GIVEN, "it")["lead"].nodes == (LEAD,)


def test_a_separator_of_four_stems_gives_other_as_it_is():
    four = {**{name: GIVEN[name] for name in ("vocals", "instrumental", "drums", "bass")}}
    four["other"] = StemSource((SEPARATE["other"],), INSTRUMENTAL - {"drums", "bass"})
    assert sources(["other"], four, "it")["other"].nodes == (SEPARATE["other"],)
    with pytest.raises(UnderstudyError):
        sources(["other", "guitar"], four, "it")


@given(st.sets(st.sampled_from(STEMS), min_size=1))
def test_stems_sum_to_the_song_only_if_none_overlap(names):
    found = sources(sorted(names), GIVEN, "it")
    held = [part for source in found.values() for part in source.parts]
    assert (overlapping(found) is None) == (len(held) == len(set(held)))
    assert sum_to_song(found.values()) == (overlapping(found) is None and set(held) == SONG)


def test_what_is_missing_is_named_with_a_model_of_the_catalogue():
    two = {name: GIVEN[name] for name in ("vocals", "instrumental")}
    known = catalogue()
    for name in set(STEMS) - set(two):
        with pytest.raises(UnderstudyError) as failed:
            sources([name], two, "the embedded separator")
        assert failed.value.code == "stem-unavailable"
        assert name in failed.value.message
        assert "the embedded separator" in failed.value.message
        assert GIVERS[name][2] in failed.value.hint
        assert GIVERS[name][2] in known
