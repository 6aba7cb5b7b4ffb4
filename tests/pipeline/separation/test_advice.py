"""The note on the dtype that the networks computed in."""

from __future__ import annotations

from understudy.pipeline.separation.advice import precision_note
from understudy.pipeline.separation.settings import InferenceSettings, SeparationSettings


def test_the_number_format_is_told_where_a_network_ran() -> None:
    exact = InferenceSettings(precision="float32")
    assert precision_note(None) is None
    assert precision_note(SeparationSettings()) is None
    phrases = precision_note(SeparationSettings(dereverb="a"))
    assert phrases is not None
    assert phrases[0] == "automatic"
    assert "dB (Roformers)" in phrases[1]
    assert precision_note(SeparationSettings(model="a", inference=exact)) == ("float32", "as exact as can be")
