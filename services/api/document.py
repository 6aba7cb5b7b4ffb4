"""The OpenAPI document without a server: ``python -m understudy.services.api.document`` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from understudy.services.api.app import make_app
from understudy.services.queue.settings import ServerSettings


def document() -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        return make_app(ServerSettings(data=Path(folder))).openapi()


if __name__ == "__main__":
    print(json.dumps(document(), indent=1))
