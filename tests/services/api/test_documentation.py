"""What docs/api.md shows is run as it stands there, against a server that was started as it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.support.server import serve
from understudy.services.queue.settings import ServerSettings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "api.md").read_text("utf-8")


def test_every_setting_is_named():
    for name in ServerSettings.model_fields:
        assert f"`{name}`" in TEXT, name


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_curl_lines_do_what_they_say(tmp_path: Path):
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    with serve(tmp_path) as server:
        script = block.replace("http://127.0.0.1:8000", server.address).replace("127.0.0.1:8000", server.address[7:])
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert '  "state": "ready",' in lines
        assert '  "state": "done",' in lines
        assert "done" in lines
        assert (tmp_path / "cover.mp3").stat().st_size > 50_000
        assert soundfile.info(tmp_path / "vocals.flac").format == "FLAC"
        assert server.stop() == 0
