"""The schemas of the API's bodies alone, from which the page's types are generated (``make types``)."""

from __future__ import annotations

import json
from typing import Any

from understudy.services.api.document import document


def schemas() -> dict[str, Any]:
    """An OpenAPI document without routes and descriptions: no change of words changes the types."""
    found = document()
    return {"openapi": found["openapi"], "info": {"title": "", "version": ""}, "paths": {}} | {
        "components": {"schemas": _without_words(found["components"]["schemas"], names=True)}
    }


def _without_words(node: Any, names: bool = False) -> Any:
    """`names`: the keys of `node` are names of fields or schemas, not JSON Schema's words."""
    if isinstance(node, list):
        return [_without_words(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_words(value, not names and name == "properties")
        for name, value in node.items()
        if names or name not in ("title", "description", "examples", "default")
    }


if __name__ == "__main__":
    print(json.dumps(schemas()))
