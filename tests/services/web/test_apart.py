"""A song taken apart in the page: what this server can do, and the stems in the mixer."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.services.web.conftest import Served, call

pytestmark = pytest.mark.slow


def test_a_song_is_taken_apart_and_its_stems_are_mixed(page: Page, served: Served) -> None:
    song = call(served, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})
    page.goto(f"{served.address}/#/songs/{song['id']}")
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
    expect(page.get_by_role("list", name="Taken apart before").get_by_role("link", name="Vocal, Band")).to_be_visible()
