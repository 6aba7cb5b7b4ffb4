"""A song taken apart in the page: what this server can do, and the stems in the mixer."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.services.web.conftest import Served, call, waited
from tests.support.command import until

pytestmark = pytest.mark.slow


def test_a_song_is_taken_apart_and_its_stems_are_mixed(page: Page, served: Served) -> None:
    song = call(served, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/estimate") else None)
    page.goto(f"{served.address}/#/songs/{song['id']}")
    choose = page.get_by_text("Choose stems")
    choose.wait_for()
    assert not asked
    choose.click()
    stems = page.get_by_role("radiogroup", name="Stems")
    expect(stems.get_by_role("radio", name="Vocal and band")).to_be_checked()
    four = stems.get_by_role("radio", name="Vocal, drums, bass and the rest needs a model that this server hasn't got")
    expect(four).to_be_disabled()
    page.get_by_role("button", name="Take it apart").click()
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled()
    result = call(served, "GET", f"/v1/separations/{page.url.rpartition('/')[2]}")["result"]
    music = [f"{round(result['bpm'])} BPM" if result["bpm"] else "", result["song_key"]]
    expect(page.get_by_text(" · ".join(["0:04", *filter(None, music)]), exact=True)).to_be_visible()
    for name in ("Vocal", "Band"):
        expect(page.get_by_role("group", name=name, exact=True)).to_be_visible()
        expect(page.get_by_role("link", name=re.compile(f"^{name} "))).to_be_visible()
    with page.expect_download() as notes:
        page.get_by_role("link", name="Notes of the vocal (MIDI)").click()
    assert notes.value.path().read_bytes()[:4] == b"MThd"
    page.get_by_role("link", name="The song and its covers").click()
    before = page.get_by_role("list", name="Taken apart before")
    expect(before.get_by_role("link", name="Vocal, Band")).to_be_visible()
    before.get_by_role("button", name=re.compile("^Delete .*Vocal, Band$")).click()
    expect(before).to_have_count(0)
    page.goto("about:blank")  # a page that is left deletes at once
    until(lambda: not call(served, "GET", f"/v1/separations?song={song['id']}")["items"])


def test_a_separation_that_was_stopped_says_so(page: Page, served: Served) -> None:
    song = call(served, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})["id"]
    job = call(served, "POST", "/v1/separations", {"song": song, "settings": {"song": {"duration": 1}}})
    address = f"/v1/separations/{job['id']}"
    page.route(f"**{address}", lambda route: route.fulfill(json={**job, "state": "cancelled"}))
    page.goto(f"{served.address}/#/separations/{job['id']}")
    expect(page.get_by_role("region", name="Stopped")).to_contain_text("It was stopped.")
    expect(page.get_by_role("link", name="The song and its covers")).to_be_visible()
    waited(served, job["id"], "separations")
    call(served, "DELETE", address)
