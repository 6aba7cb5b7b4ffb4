"""Songs, voices and covers of somebody who was here before: found, named, deleted, and up to date by themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.services.web.conftest import Served, call, made_voice, waited
from tests.support import rvc_files as material
from tests.support.command import until
from tests.support.server import serve

pytestmark = pytest.mark.slow

DROP = """
async ([target, names, address]) => {
  const song = await (await fetch(address)).blob();
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File([song], name));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data });
    document.querySelector(target).dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error("the file would open in place of the page");
  }
}
"""


@pytest.fixture(scope="module")
def song(served: Served) -> str:
    """The id of a song that was sent before."""
    return str(call(served, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})["id"])


def test_songs_stay_and_have_names(page: Page, served: Served, song: str) -> None:
    page.reload()
    sent_before = page.get_by_label("Songs that were sent before")
    sent_before.select_option(song)
    page.get_by_text("drop another to replace it").wait_for()
    page.get_by_role("link", name="Library").click()
    expect(page).to_have_title("Library – Understudy")
    # lists come in pages; here of two
    page.route("**/v1/songs?limit=100*", lambda route: route.continue_(url=route.request.url.replace("=100", "=2")))
    page.get_by_role("link", name="New cover").click()
    page.get_by_text("drop another to replace it").wait_for()
    page.evaluate(DROP, ["footer", ["One.wav", "Two.wav"], f"/v1/songs/{song}/audio"])
    expect(sent_before.get_by_role("option", name="Two")).to_be_attached()
    expect(sent_before.locator("option")).to_have_count(len(call(served, "GET", "/v1/songs?limit=100")["items"]))
    page.get_by_label("drop another to replace it").set_input_files(served.folder / "letter.mp3")
    page.get_by_role("alert").filter(has_text="letter.mp3").wait_for()

    page.get_by_role("link", name="Library").click()
    page.evaluate(DROP, ["footer", ["Three.wav"], f"/v1/songs/{song}/audio"])
    page.get_by_role("link", name="One", exact=False).first.click()
    page.get_by_role("button", name="Rename One").click()
    page.keyboard.type("Evening")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Rename Evening")).to_be_focused()
    expect(page).to_have_title("Evening – Understudy")
    page.get_by_role("link", name="Library").click()
    page.get_by_label("Search songs and covers").fill("even")
    expect(page.locator(".group")).to_have_count(1)
    page.get_by_label("Search songs and covers").fill("")


def test_what_is_deleted_comes_back_for_some_seconds(page: Page, served: Served, song: str) -> None:
    for name in ("Going", "Staying"):
        (served.folder / f"{name}.wav").write_bytes((served.folder / "My song.wav").read_bytes())
        call(served, "POST", "/v1/songs", files={"file": served.folder / f"{name}.wav"})
    page.clock.install()
    page.goto(f"{served.address}/#/library")
    page.get_by_role("button", name="Delete Staying").click()
    page.get_by_text("Staying deleted.").wait_for()
    expect(page.get_by_role("group", name="Staying")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Staying")).to_be_visible()
    page.get_by_role("button", name="Delete Going").click()
    page.get_by_role("button", name="Undo").wait_for()
    page.clock.fast_forward(11_000)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    expect(page.get_by_role("heading", name="Library")).to_be_focused()

    def names() -> set[str]:
        return {one["name"] for one in call(served, "GET", "/v1/songs?limit=100")["items"]}

    until(lambda: "Going.wav" not in names())
    assert "Staying.wav" in names()
    page.get_by_role("button", name="Delete Staying").click()
    page.goto("about:blank")  # a page that is left deletes at once
    until(lambda: "Staying.wav" not in names())


def test_voices_that_can_t_sing_are_not_offered(page: Page, served: Served, song: str) -> None:
    made_voice(served, "Nova")
    model = material.write_random_pth(served.folder / "kim.pth", material.small())
    fields = [("name", "Kim"), ("consent", "self")]
    kim = call(served, "POST", "/v1/voices", fields=fields, files={"model": model})
    assert waited(served, kim["id"], "voices")["state"] == "ready"
    page.reload()
    expect(page.get_by_role("radio", name="Kim")).to_be_disabled()
    page.get_by_text("This voice needs a model that this server hasn't got").wait_for()
    page.get_by_text("Settings", exact=True).click()
    expect(page.get_by_label("Preset")).to_have_count(0)
    page.get_by_role("link", name="Library").click()
    voices = page.get_by_role("region", name="Voices")
    expect(voices.get_by_role("listitem").filter(has_text="Nova")).to_contain_text("yours, as you said")
    page.get_by_role("button", name="Play a recording of Nova").click()
    page.get_by_role("button", name="Pause a recording of Nova").click()
    expect(page.get_by_role("button", name="Play a recording of Kim")).to_be_disabled()
    page.get_by_role("button", name="Rename Kim").click()
    page.keyboard.type("Kimberley")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete Kimberley").click()
    expect(page.get_by_role("button", name="Delete Kimberley")).to_have_count(0)


def test_lists_follow_what_is_made(page: Page, served: Served, song: str) -> None:
    made_voice(served, "Nova")
    page.get_by_role("button", name="New voice").click()
    form = page.get_by_role("form", name="New voice")
    form.get_by_label("Name").fill("Later")
    form.get_by_label("Drop recordings or a model").set_input_files(served.folder / "recording.wav")
    form.get_by_label("Mine").check()
    form.get_by_label("This voice may be used for covers").check()
    form.get_by_role("button", name="Make the voice").click()
    page.get_by_role("radio", name="Later").wait_for()
    page.reload()  # while it is being made
    page.get_by_label("Songs that were sent before").select_option(song)
    page.get_by_role("radio", name="Later").check(force=True)
    expect(page.get_by_role("button", name="Make the cover")).to_be_enabled()
    made = call(served, "POST", "/v1/covers", {"song": song, "voice": "Later"})
    page.reload()
    row = page.get_by_role("listitem").filter(has=page.locator(f"a[href='#/covers/{made['id']}']"))
    expect(row.get_by_role("button", name="Play")).to_be_enabled()
    expect(row).to_contain_text("Later")
    expect(page.get_by_role("group", name="My song").filter(has=row)).to_be_visible()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[Served]:
    """A server that makes nothing, with a voice and ten covers that wait."""
    made_voice(served, "Nova")
    folder = tmp_path_factory.mktemp("idle")
    with serve(folder, "--workers", "0") as running:
        here = Served(running.address, folder)
        call(here, "GET", "/v1/account")  # makes the owner
        with sqlite3.connect(folder / "data/server.sqlite3") as database:
            database.execute("ATTACH ? AS other", (str(served.folder / "data/server.sqlite3"),))
            columns = [row[1] for row in database.execute("PRAGMA table_info(voices)")]
            chosen = ", ".join("(SELECT id FROM owners)" if name == "owner" else name for name in columns)
            database.execute(f"INSERT INTO voices SELECT {chosen} FROM other.voices WHERE name = 'Nova'")
        database.close()
        song = call(here, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})["id"]
        for _ in range(10):
            call(here, "POST", "/v1/covers", {"song": song, "voice": "Nova"})
        yield here


def test_what_waits_says_what_for_in_any_number_of_tabs(context: BrowserContext, idle: Served) -> None:
    covers = call(idle, "GET", "/v1/covers")["items"]
    second = f"{idle.address}/#/covers/{covers[-2]['id']}"
    pages = [context.new_page() for _ in range(8)]
    for page in pages:
        page.goto(second)
        page.get_by_text("One other is before it in the queue.").wait_for()
    database = sqlite3.connect(idle.folder / "data/server.sqlite3")
    with database:
        values = ("running", 0.37, "tester", "token", 1e12, covers[-1]["id"])
        database.execute("UPDATE jobs SET state=?, fraction=?, worker=?, token=?, lease=? WHERE id=?", values)
    database.close()
    page = pages[0]
    page.reload()
    page.get_by_text("It is the next. It begins when the one that is being made now is done").wait_for()
    page.goto(f"{idle.address}/#/covers/{covers[-1]['id']}")
    expect(page).to_have_title("37% · My song – Understudy")


def test_nothing_moves_while_it_loads(context: BrowserContext, idle: Served) -> None:
    page = context.new_page()
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => "
        "window.shift += entry.value)).observe({type: 'layout-shift', buffered: true})"
    )

    def late(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/v1/covers?*", late)
    page.goto(idle.address)
    expect(page.get_by_role("listitem").filter(has_text="Nova")).to_have_count(10)
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") < 0.02
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_demo_takes_its_voice_again_in_any_language(page: Page, served: Served, song: str) -> None:
    voice = made_voice(served, "Nova") | {"name": "Demo"}
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.route("**/v1/covers?*", lambda route: route.fulfill(json={"items": [], "next": None}))
    page.route("**/v1/voices?*", lambda route: route.fulfill(json={"items": [voice], "next": None}))
    page.route("**/v1/songs", lambda route: route.fulfill(json=call(served, "GET", f"/v1/songs/{song}")))
    page.reload()
    page.get_by_label("Language").select_option("fr")
    take = page.get_by_role("button", name="Essayer cette chanson et cette voix")
    with page.expect_request("**/v1/songs"):
        take.click()
    take.wait_for()  # until then it is called otherwise
    expect(page.get_by_role("radio", name="Demo")).to_be_checked()
    assert {address.rpartition("/")[2] for address in sent} == {"songs"}
