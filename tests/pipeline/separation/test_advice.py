"""What is said of the number format that the networks computed in."""

from __future__ import annotations

from understudy.pipeline.separation.advice import number_format
from understudy.pipeline.separation.settings import InferenceSettings, SeparationSettings


def test_the_number_format_is_told_where_a_network_ran() -> None:
    exact = InferenceSettings(precision="float32")
    assert number_format(None) is None
    assert number_format(SeparationSettings()) is None
    told = number_format(SeparationSettings(dereverb="a"))
    assert told is not None
    assert told[0] == "automatic"
    assert "dB (Roformers)" in told[1]
    assert number_format(SeparationSettings(model="a", inference=exact)) == ("float32", "as exact as can be")
