"""The OpenAPI document gives clients clean names, and a generator takes it without a warning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from understudy.services.api.document import document
from understudy.services.api.openapi import operations

BINARY = {"type": "string", "format": "binary"}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return document()


def test_every_operation_has_a_name_and_all_its_problems(found: dict[str, Any]):
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            about = (method, path, operation["operationId"])
            if path.startswith("/v1"):
                assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), about
                assert path in ("/v1/session", "/v1/verify") or operation["security"] == [{"HTTPBearer": []}], about
                problem = operation["responses"]["429"]
                assert problem["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem"), about
                assert "Retry-After" in problem["headers"], about
            if "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", ())}:
                made = operation["responses"].get("201") or operation["responses"]["202"]
                assert "Location" in made["headers"], about
    ids = [operation["operationId"] for operation in operations(found)]
    assert len(ids) == len(set(ids))


def test_every_object_has_a_name_and_is_used(found: dict[str, Any]):
    schemas = found["components"]["schemas"]
    for name, schema in schemas.items():
        assert re.fullmatch(r"([A-Z][a-z0-9]+)+", name), f"{name}: see services/api/openapi.py"
        assert f"'#/components/schemas/{name}'" in str(found), f"{name} is used nowhere"
        for field, value in schema.get("properties", {}).items():
            assert "properties" not in value, f"{name}.{field} is an object without a name"
            for variant in value.get("anyOf", ()):
                unnamed = {"enum", "const", "properties"} & variant.keys()
                assert not unnamed, f"{name}.{field} has a variant without a name"
    for operation in operations(found):
        answers = [answer for status, answer in operation["responses"].items() if int(status) < 300]
        for body in (operation.get("requestBody", {}), *answers):
            for kind, content in body.get("content", {}).items():
                schema = content["schema"]
                if kind in ("application/json", "multipart/form-data") and schema != BINARY:
                    named = "$ref" in schema.get("items", schema)
                    assert named, f"{operation['operationId']}: an object without a name"


def test_answers_are_complete_and_settings_name_no_defaults(found: dict[str, Any]):
    schemas = found["components"]["schemas"]
    assert set(schemas["Job"]["required"]) == set(schemas["Job"]["properties"])
    assert schemas["CoverRequest"]["required"] == ["voice"]
    assert "default" not in schemas["RemixSettings"]["properties"]["vocal_gain"]
    assert "required" not in schemas["RemixSettings"]
    assert schemas["InferenceSettingsPrecision"]["enum"] == ["auto", "float32", "bfloat16", "float16"]
    audio = found["paths"]["/v1/covers/{id}/audio"]["get"]["responses"]["200"]
    assert audio["content"].keys() >= {"audio/flac", "audio/mpeg"}


def test_the_generator_of_the_python_client_has_no_warning(found: dict[str, Any]):
    pytest.importorskip("openapi_python_client")
    from openapi_python_client.config import Config, ConfigFile, MetaType
    from openapi_python_client.parser import GeneratorData

    config = Config.from_sources(ConfigFile(), MetaType.NONE, Path(), "utf-8", True, None)
    parsed = GeneratorData.from_dict(found, config=config)
    assert isinstance(parsed, GeneratorData), parsed
    by_tag = parsed.endpoint_collections_by_tag.values()
    problems = [*parsed.errors, *(error for endpoints in by_tag for error in endpoints.parse_errors)]
    assert not problems, [problem.detail for problem in problems]
