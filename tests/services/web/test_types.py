"""The page's types are those of the server's answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from understudy.services.web.schema import schemas

SOURCE = Path(__file__).parents[3] / "services/web/source"


def test_the_types_are_generated_from_the_api_as_it_is() -> None:
    if not (SOURCE / "node_modules/.bin/openapi-typescript").exists():
        pytest.skip("the page's packages aren't installed; 'make page' installs them, and CI does")
    command = ["npm", "run", "--silent", "types"]
    made = subprocess.run(command, cwd=SOURCE, input=json.dumps(schemas()), text=True, check=True, capture_output=True)
    assert made.stdout == (SOURCE / "src/schema.ts").read_text(), "the API has changed: make types"
