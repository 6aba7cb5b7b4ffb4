"""Pages of reports: one file, no outside links, nothing in it that the template engine hasn't escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.wording import clock

_HERE = Path(__file__).parent


def render_page(template: str, styles: Sequence[str], script: str, **values: Any) -> str:
    """The page of the `template` with its `styles` and its `script` in it: files of this folder. The page's policy
    lets a browser load and run nothing else."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clock"] = clock
    style = "".join((_HERE / name).read_text(encoding="utf-8") for name in styles)
    code = (_HERE / script).read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup(style), script=Markup(code), style_hash=_hash(style), script_hash=_hash(code), **values
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
