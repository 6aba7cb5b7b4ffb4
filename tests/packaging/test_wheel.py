"""What a user has after ``pip install``: all files, and every command without a single optional package or model."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.packaging.conftest import FOLDERS, ROOT, Installed
from tests.support.command import HANGS
from understudy.packages import OPTIONAL

pytestmark = pytest.mark.slow

SONG = str(ROOT / "demo" / "song.mp3")
CLIP = ("--start", "20", "--duration", "6")


@pytest.fixture(scope="module")
def voice(installed: Installed) -> str:
    recording = str(ROOT / "demo" / "voice" / "speaking.flac")
    installed.run("voices", "add", "nova", recording, "--consent", "self")
    return "nova"


def test_every_file_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        inside = {name for name in file.namelist() if ".dist-info/" not in name}
    expected = {f"understudy/{path.name}" for path in (ROOT / "src" / "understudy").iterdir() if path.is_file()}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            place = path.relative_to(ROOT)
            if path.is_file() and "__pycache__" not in place.parts and "source" not in place.parts:
                expected.add(f"understudy/{place.as_posix()}")
    assert inside == expected


def test_the_tested_program_is_the_wheels(installed: Installed) -> None:
    code = "import understudy; print(understudy.__file__); import understudy.services.cli.main as m; print(m.__file__)"
    files = installed.python_code(code).split()
    assert all(line.startswith(str(installed.folder / ".venv")) for line in files)
    assert installed.run("--version") == installed.run("--version", module=True)


def test_no_optional_package_is_there_and_doctor_says_what_that_costs(installed: Installed) -> None:
    checks = {check["name"]: check for check in json.loads(installed.run("doctor", "--json"))["checks"]}
    for package in OPTIONAL.values():
        assert checks[package.distribution]["state"] == "lack"
        assert f"pip install 'understudy-covers[{package.extra}]'" in checks[package.distribution]["detail"]
    assert "understudy models fetch speaker-encoder" in checks["model speaker-encoder"]["detail"]
    assert not [check for check in checks.values() if check["state"] == "problem"]


def test_cover_and_separation(installed: Installed, voice: str) -> None:
    made = json.loads(installed.run("cover", SONG, "--voice", voice, *CLIP, "--json"))
    assert Path(installed.folder, made["cover"]).is_file()
    report = Path(installed.folder, made["report"]).read_text("utf-8")
    assert "understudy models fetch speaker-encoder" in report
    made = json.loads(installed.run("separate", SONG, *CLIP, "--json", module=True))
    assert all(Path(installed.folder, path).is_file() for path in made["stems"].values())


def test_a_cover_from_python(installed: Installed, voice: str) -> None:
    code = f"""
import understudy as us
made = us.cover({SONG!r}, voice={voice!r}, settings={{"song": {{"start": 20, "duration": 6}}}})
print(made.path)
"""
    assert Path(installed.folder, installed.python_code(code).strip()).is_file()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--tracker", "fcpe"), "package-missing"),
        (("--preset", "fast"), "model-missing"),
        (("--preset", "studio"), "models-missing"),
    ],
)
def test_what_needs_more_says_how_to_get_it(
    installed: Installed, voice: str, options: tuple[str, ...], error: str
) -> None:
    said = installed.run("cover", SONG, "--voice", voice, *CLIP, *options, "--json", code=1)
    assert json.loads(said)["error"]["code"] == error


def test_a_batch(installed: Installed, voice: str) -> None:
    (installed.folder / "chart.csv").write_text(f"song,voice,song.start,song.duration\n{SONG},{voice},20,6\n")
    made = json.loads(installed.run("batch", "chart.csv", "--json"))
    assert (made["made"], made["failed"]) == (1, 0), made
    assert Path(installed.folder, made["covers"][0]["cover"]).is_file()


def test_a_server_with_a_worker(installed: Installed, voice: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = installed.command("serve", "--port", str(port), "--data", "server")
    log = (installed.folder / "server.log").open("wb")
    with subprocess.Popen(command, cwd=installed.folder, env=installed.environment(), stdout=log, stderr=log) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANGS) as client:
                _reached(server, client)
                recordings = {"recordings": (ROOT / "demo" / "voice" / "speaking.flac").read_bytes()}
                added = client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files=recordings).json()
                _finished(server, client, f"/v1/voices/{added['id']}")
                settings = json.dumps({"song": {"start": 20, "duration": 6}})
                song = {"song": Path(SONG).read_bytes()}
                made = client.post("/v1/covers", data={"voice": "nova", "settings": settings}, files=song)
                assert made.is_success, made.text
                job = _finished(server, client, f"/v1/covers/{made.json()['id']}")
                assert job["state"] == "done", job
                assert len(client.get(f"/v1/covers/{job['id']}/audio").content) > 10_000
        finally:
            server.terminate()
    log.close()


def _reached(server: subprocess.Popen[bytes], client: httpx.Client) -> None:
    while server.poll() is None:
        try:
            client.get("/healthz")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    pytest.fail("the server ended")


def _finished(server: subprocess.Popen[bytes], client: httpx.Client, place: str) -> dict[str, Any]:
    """What is at `place` as soon as it is no longer in work."""
    while server.poll() is None:
        found: dict[str, Any] = client.get(place).json()
        if found["state"] not in ("queued", "running", "making"):
            return found
        time.sleep(0.2)
    pytest.fail("the server ended")
