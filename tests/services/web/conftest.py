"""A served page, a real browser, and small files for both."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support import signals
from tests.support.command import HANGS, until
from tests.support.server import serve
from understudy.services.web.page import STATIC

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
expect.set_options(timeout=1000 * HANGS)
ARGUMENTS = (
    "--no-sandbox",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # a host over plain HTTP that isn't localhost
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


@dataclass(frozen=True)
class Served:
    """A server process with its worker, and the files that a visitor has."""

    address: str
    folder: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    song = signals.song(4.0).mix
    soundfile.write(folder / "My song.wav", song.samples.T, song.rate)
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2) * 2, "aeioaeiu" * 2, strict=True)
    sung, _ = signals.singing([signals.Note(45 + step, 0.8, vowel, "s") for step, vowel in steps], formants=0.9)
    soundfile.write(folder / "recording.wav", sung.samples.T, sung.rate)
    (folder / "My song.c2pa").write_bytes(b"no credentials")
    (folder / "letter.mp3").write_text("Dear all, this is not a song.\n" * 50)
    with serve(folder) as running:
        yield Served(running.address, folder)


def call(
    served: Served,
    method: str,
    path: str,
    body: Any = None,
    *,
    fields: Iterable[tuple[str, str]] = (),
    files: Mapping[str, Path] | None = None,
) -> Any:
    """What the server answers, as JSON; to JSON, or to a form where there are files."""
    form: dict[str, Any] = {"json": body} if body is not None else {}
    if files:
        values: dict[str, list[str]] = {}
        for name, value in fields:
            values.setdefault(name, []).append(value)
        form = {"data": values, "files": {name: (path.name, path.read_bytes()) for name, path in files.items()}}
    answer = httpx.request(method, f"{served.address}{path}", timeout=HANGS, **form)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def waited(served: Served, id: str, kind: str) -> Any:
    """The job or voice as soon as it waits and runs no more."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(call(served, "GET", f"/v1/{kind}/{id}"))
        return found["state"] not in ("queued", "running", "making")

    until(ended)
    return found


def made_voice(served: Served, name: str) -> Any:
    """The voice of that name, made now or by an earlier test."""
    there = [voice for voice in call(served, "GET", "/v1/voices?limit=100")["items"] if voice["name"] == name]
    if there:
        return there[0]
    fields = [("name", name), ("consent", "self")]
    made = call(served, "POST", "/v1/voices", fields=fields, files={"recordings": served.folder / "recording.wav"})
    return waited(served, made["id"], "voices")


@pytest.fixture(scope="session")
def browser(served: Served) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; CI installs one")
    if not STATIC.is_dir():
        pytest.skip("the page isn't built; 'make page' builds it, and CI does")
    with sync_playwright() as playwright:
        spoken = f"--use-file-for-fake-audio-capture={served.folder / 'recording.wav'}"  # what its microphone hears
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, spoken])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(
        viewport={"width": 1200, "height": 900}, accept_downloads=True, service_workers="block"
    )
    context.set_default_timeout(1000 * HANGS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """The page, open. Whatever it writes to the console as an error fails the test."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(served.address)
    page.get_by_role("heading", name="The same song, your voice.").wait_for()
    yield page
    # the browser itself reports refused requests; that they are shown well is tested by what they show
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []
