"""Faults in words: the field without pydantic's names of types, and one fault per field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from understudy.services.api.job_requests import CoverRequest
from understudy.services.api.training_requests import TrainingRequest
from understudy.services.api.voices import VoiceChange
from understudy.validation import faults


def found(model: Any, **values: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(values)
    return {fault.field: fault.reason for fault in faults(raised.value.errors())}


@pytest.mark.parametrize(
    ("settings", "field", "reason"),
    [
        ({"transpose": "up"}, "transpose", "it should be 'auto', or a valid integer"),
        ({"transpose": 99}, "transpose", "it should be 'auto', or less than or equal to 36"),
        ({"song": {"duration": -1}}, "song.duration", "it should be greater than or equal to 0.4"),
        ({"song": {"start": "soon"}}, "song.start", "write 1:05, 1:02:30, or seconds such as 65 or 65.5"),
        ({"remix": {"vocal_gain": "loud"}}, "remix.vocal_gain", "it should be a valid number"),
        ({"remix": {"gain": 1}}, "remix.gain", "there is no such field"),
        (
            {"separation": {"inference": {"precision": "x"}}},
            "separation.inference.precision",
            "it should be 'auto', or 'float32', 'bfloat16' or 'float16'",
        ),
        (
            {"separation": {"ensemble": {"weights": {"Kim [2]": {"bands": [{"low": -3}]}}}}},
            "separation.ensemble.weights.Kim [2].bands.0.low",
            "it should be greater than or equal to 0",
        ),
    ],
)
def test_settings_of_a_request(settings: dict[str, Any], field: str, reason: str):
    assert found(CoverRequest, voice="nova", settings=settings) == {f"settings.{field}": reason}


def test_fields_that_may_be_of_several_types():
    assert found(CoverRequest) == {"voice": "it is missing"}
    assert found(CoverRequest, voice=3) == {"voice": "it should be a valid string, or a valid list"}
    assert found(CoverRequest, voice=["nova", 4]) == {"voice.1": "it should be a valid string"}
    transposes = {"nova": 99, "int": "up"}
    assert found(CoverRequest, voice="nova", transposes=transposes)["transposes.nova"] == (
        "it should be 'auto', or less than or equal to 36"
    )


def test_other_requests():
    assert found(TrainingRequest, version="v9", steps=0, nonsense=1) == {
        "version": "it should be 'v1' or 'v2'",
        "steps": "it should be greater than or equal to 1",
        "nonsense": "there is no such field",
    }
    assert found(VoiceChange, engine="loud") == {"engine": "it should be 'instant', 'zero-shot' or 'rvc'"}
