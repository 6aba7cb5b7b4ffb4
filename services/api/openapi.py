"""The OpenAPI document: FastAPI's, completed, in the form that generators of clients take without help.

What the routes can't tell FastAPI is added: bodies that they read by themselves, and headers. Then it keeps these
rules, from which the names in clients follow (`tests/services/api/test_document.py`):

- A body of a request and an object in an answer are schemas with a name of their own. So are a choice of words and an
  object that may be null, too: they are named after the schema and the field.
- An answer has all fields of its schema, null where there is nothing. Of a request, those with a default may be left
  out.
- Settings have no defaults here: these are those of the preset.
- A parameter is never null; it is left out.
- A file is `application/octet-stream`, by which generators recognise it, or of the type that it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from understudy.pipeline.settings import CoverSettings
from understudy.services.api.problems import Problem

Node = dict[str, Any]
_REF = "#/components/schemas/"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ACCEPTED = {
    "Location": {"description": "where it is from now on", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: it was made before, by a request with the same Idempotency-Key",
        "schema": {"type": "string"},
    },
}


def completed(document: Node, requests: Iterable[type[BaseModel]]) -> Node:
    """FastAPI's document, completed. `requests`: bodies that routes read by themselves."""
    # what FastAPI makes of Page[Job]
    document = json.loads(re.sub(r"\bPage(?:_(\w+?)_|\[(\w+)\])", r"\1\2Page", json.dumps(document)))
    schemas: Node = document["components"]["schemas"]
    models: list[type[BaseModel]] = [Problem, *requests]
    for model in models:
        made = model.model_json_schema(ref_template=_REF + "{model}")
        schemas |= made.pop("$defs", {}) | {model.__name__: made}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    sent: list[Node] = []
    for operation in operations(document):
        _complete_operation(operation)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if title := content["schema"].get("title"):
                schemas[title] = content["schema"]
                content["schema"] = {"$ref": _REF + title}
            sent.append(content["schema"])
    for webhook in document["webhooks"].values():
        webhook["post"]["responses"].pop("422")  # their receivers have no problems of ours
    settings = _reached(schemas, {"$ref": _REF + CoverSettings.__name__})
    requested = _reached(schemas, sent) | {Problem.__name__}
    for name, schema in list(schemas.items()):
        fields = schema.get("properties", {})
        if fields and name not in requested:
            schema["required"] = list(fields)
        for field, value in fields.items():
            if name in settings or name not in requested:
                value.pop("default", None)
            _name_variants(schemas, name + "".join(word.capitalize() for word in field.split("_")), value)
    return document


def operations(document: Node) -> Iterator[Node]:
    for path in document["paths"].values():
        yield from path.values()


def _complete_operation(operation: Node) -> None:
    responses, parameters = operation["responses"], operation.get("parameters", [])
    if "422" in responses:  # FastAPI's has a schema of its own
        problem = {"schema": {"$ref": _REF + Problem.__name__}}
        responses["422"] = {
            "description": "Something in it is wrong",
            "content": {"application/problem+json": problem},
        }
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        for status in ("201", "202"):
            if status in responses:
                responses[status]["headers"] = _ACCEPTED
    body = operation.get("requestBody", {})
    if len(body.get("content", {})) > 1 and all(parameter["in"] == "path" for parameter in parameters):
        body.pop("required")  # openapi-python-client 0.29 forgets an import where nothing else may be left out
    for answer in responses.values():
        content = answer.get("content", {})
        if content == {"application/json": {"schema": {}}}:  # of a route that returns nothing
            del answer["content"]
        if _BINARY in content.values():
            answer["content"] = {"application/octet-stream": _BINARY} | content
    for parameter in parameters:
        variants = [one for one in parameter["schema"].pop("anyOf", ()) if one != {"type": "null"}]
        parameter["schema"] |= variants[0] if len(variants) == 1 else {"anyOf": variants} if variants else {}


def _name_variants(schemas: Node, name: str, field: Node) -> None:
    """Make one choice of all words in a union, a choice of words also where there is only one, and give what has no
    name of its own the `name`."""
    variants = field.get("anyOf", [])
    words = [word for one in variants if one.get("type") == "string" for word in _words(one)]
    rest = [one for one in variants if not (one.get("type") == "string" and _words(one))]
    if words:
        schemas[name] = {"type": "string", "enum": words}
        field["anyOf"] = [{"$ref": _REF + name}, *rest]
    for place, one in enumerate(field.get("anyOf", ())):
        if one.get("type") == "object":
            schemas[name] = one
            field["anyOf"][place] = {"$ref": _REF + name}
        if "enum" in one.get("items", {}):
            schemas[f"{name}Item"] = one["items"]
            one["items"] = {"$ref": f"{_REF}{name}Item"}


def _words(schema: Node) -> list[str]:
    return schema.get("enum") or ([schema["const"]] if "const" in schema else [])


def _reached(schemas: Node, node: Any) -> set[str]:
    """The names of all schemas that `node` needs."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference)}:
                name = reference.removeprefix(_REF)
                if name not in found:
                    found.add(name)
                    waiting.append(schemas[name])
            case dict() as fields:
                waiting += fields.values()
            case list() as items:
                waiting += items
    return found
