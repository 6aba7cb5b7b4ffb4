"""Every kind of node has a title in words for users."""

from __future__ import annotations

import ast
from pathlib import Path

import understudy.pipeline
from understudy.services.stage_titles import TITLES


def test_every_kind_of_node_has_a_title():
    folder = Path(understudy.pipeline.__file__).parent
    calls = [node for file in folder.glob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    kinds = {
        call.args[0].value
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Node"
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    assert len(kinds) > 20
    assert kinds <= TITLES.keys()
