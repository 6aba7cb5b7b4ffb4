"""The page as a visitor uses it, in a real Chromium: from nothing to a cover, by mouse and by keyboard."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from tests.services.web.conftest import Served, call, made_voice, waited
from tests.support.command import HANGS, until
from tests.support.proxy import NGINX, nginx
from tests.support.server import Serving, serve
from understudy.services.queue import owners
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.web.page import STATIC

pytestmark = pytest.mark.slow


def _accessible(page: Page) -> None:
    """axe finds nothing to object to."""
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


def _until(page: Page, expression: str) -> None:
    """Wait until `expression` holds; the page's own policy forbids the browser to do that by itself."""
    until(lambda: page.evaluate(expression), lambda: expression)


def _have_voice(page: Page, served: Served) -> None:
    """The voice Nova is there, made now or by an earlier test, and chosen."""
    page.get_by_role("button", name="New voice").wait_for()
    if not page.get_by_role("radio", name="Nova").count():
        page.get_by_role("button", name="New voice").click()
        form = page.get_by_role("form", name="New voice")
        form.get_by_label("Name").fill("Nova")
        form.get_by_label("Drop recordings or a model").set_input_files(served.folder / "recording.wav")
        form.get_by_label("Mine").check()
        form.get_by_label("This voice may be used for covers").check()
        form.get_by_role("button", name="Make the voice").click()
        page.get_by_text("Nova can sing now").wait_for()
        page.get_by_role("button", name="Close").click()
    page.get_by_role("radio", name="Nova").check(force=True)


def _have_song(page: Page, served: Served) -> None:
    page.get_by_label("Drop a song here").set_input_files(served.folder / "My song.wav")
    page.get_by_text("drop another to replace it").wait_for()


def _make_cover(page: Page, served: Served) -> None:
    _have_voice(page, served)
    _have_song(page, served)
    page.get_by_role("button", name="Make the cover").click()
    page.get_by_role("heading", name="My song").wait_for()
    page.get_by_role("heading", name="How it came out").wait_for()
    expect(page.get_by_role("button", name="Play")).to_be_enabled()


def test_from_nothing_to_a_cover(page: Page, served: Served, tmp_path: Path) -> None:
    _accessible(page)
    _make_cover(page, served)
    _accessible(page)
    play = page.get_by_role("button", name="Play")
    play.click()
    page.get_by_role("button", name="Pause").wait_for()
    _until(page, "Number(document.querySelector('.seek').value) > 0.5")
    page.keyboard.press("Tab")
    page.get_by_role("radio", name="B · original").check(force=True)
    page.get_by_role("button", name="Mute Vocal").click()
    expect(page.get_by_role("button", name="Mute Vocal")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Pause").click()
    for words, suffix in (("Cover", ".flac"), ("Karaoke", ".flac"), ("The new vocal", ".flac")):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=re.compile(f"^{words}")).click()
        saved = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(saved)
        assert saved.suffix == suffix
        assert "My song (Nova)" in saved.name
        assert soundfile.info(saved).format == "FLAC"


def test_the_page_speaks_the_browsers_language_or_the_chosen_one(browser: Browser, served: Served) -> None:
    made_voice(served, "Nova")
    context = browser.new_context(locale="de-AT", viewport={"width": 320, "height": 700}, service_workers="block")
    context.set_default_timeout(1000 * HANGS)
    page = context.new_page()
    page.goto(served.address)
    page.get_by_role("radio", name="Nova").check(force=True)
    page.get_by_label("Song hier ablegen").set_input_files(served.folder / "My song.wav")
    page.get_by_text("leg einen anderen ab").wait_for()
    page.get_by_role("button", name="Cover machen").click()
    page.get_by_role("heading", name="Wie es geworden ist").wait_for()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_text("gesungen von Nova").wait_for()
    page.get_by_role("button", name="Abspielen").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Messwerte und Hinweise").click()
    page.get_by_text(re.compile(r"\d,\d LUFS")).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name="Bibliothek").click()
    expect(page).to_have_title("Bibliothek – Understudy")
    page.get_by_role("combobox", name="Sprache").select_option("日本語")
    expect(page).to_have_title("ライブラリ – Understudy")
    page.get_by_text(re.compile(r"カバー\d+件")).first.wait_for()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    _accessible(page)
    context.close()


def test_a_remix_takes_the_volumes_along_and_is_quick(page: Page, served: Served) -> None:
    _make_cover(page, served)
    first = page.url
    page.get_by_label("Volume of Vocal").fill("4")
    page.get_by_role("button", name="Make it again like this").click()
    page.wait_for_url(lambda url: url != first)
    page.get_by_role("heading", name="How it came out").wait_for()
    id = page.url.rpartition("/")[2]
    made: dict[str, Any] = page.request.get(f"{served.address}/v1/covers/{id}").json()
    assert made["settings"]["remix"]["vocal_gain"] == 4
    page.get_by_role("link", name="New cover").click()
    louder = page.get_by_role("listitem").filter(has=page.locator(f"a[href='#/covers/{id}']"))
    expect(louder).to_contain_text("vocal +4 dB")
    page.get_by_role("link", name=re.compile("^My song")).first.click()
    expect(page.get_by_role("radio", name="C · original")).to_be_enabled()
    _accessible(page)
    page.get_by_role("link", name="Library").click()
    page.get_by_role("radio", name="by voice").check(force=True)
    expect(page.get_by_role("group", name="Nova").get_by_role("listitem").first).to_contain_text("My song")
    _accessible(page)


def test_each_weakness_has_a_button_that_does_it(page: Page, served: Served) -> None:
    voice = made_voice(served, "Nova")
    song = call(served, "POST", "/v1/songs", files={"file": served.folder / "My song.wav"})
    sung = call(served, "POST", "/v1/covers", {"song": song["id"], "voice": voice["id"], "settings": {"transpose": 5}})
    assert waited(served, sung["id"], "covers")["state"] == "done"
    cleaner: dict[str, Any] = {
        "kind": "settings",
        "label": "Cleaner separation",
        "text": "",
        "settings": {"preset": "fast"},
    }
    cleaner |= {"text": "", "models": ["htdemucs"], "bytes": 84_000_000}
    weakness = {
        "severity": "mind",
        "stage": "separate",
        "figure": "leftover",
        "sentence": "The original singer is heard.",
    }

    def with_leftover(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["result"]["verdict"]["weaknesses"].append({**weakness, "action": cleaner})
        route.fulfill(response=answer, json=body)

    model = {
        "name": "htdemucs",
        "state": "absent",
        "fraction": 0.0,
        "bytes": 84_000_000,
        "fetchable": True,
        "error": None,
    }
    asked: list[str] = []

    def models(route: Route) -> None:
        asked.append(f"{route.request.method} {urlsplit(route.request.url).path}")
        if route.request.method == "POST":
            model.update(state="fetching", fraction=0.5)
        elif route.request.method == "DELETE":
            model.update(state="absent", fetchable=False)
        route.fulfill(json=[model] if route.request.method == "GET" else model)

    page.route(f"**/v1/covers/{sung['id']}", with_leftover)
    page.route("**/v1/models**", models)
    page.route("**/v1/models/**", models)
    page.goto(f"{served.address}/#/covers/{sung['id']}")
    page.get_by_text("Something is wrong").wait_for()
    page.get_by_role("button", name="Cleaner separation 84 MB").click()
    page.get_by_text("42 MB of 84 MB").wait_for()
    _accessible(page)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Ask its operator for it").wait_for()
    assert {"POST /v1/models/htdemucs/fetch", "DELETE /v1/models/htdemucs/fetch"} <= set(asked)
    page.get_by_role("button", name="Move the band, too").click()
    page.wait_for_url(lambda url: sung["id"] not in url)
    again = call(served, "GET", f"/v1/covers/{page.url.rpartition('/')[2]}")
    assert (again["settings"]["key"], again["settings"]["transpose"]) == (5, 0)
    call(served, "DELETE", f"/v1/covers/{again['id']}")


def _plays(player: Locator) -> None:
    player.evaluate("player => player.play()")
    until(lambda: player.evaluate("player => player.currentTime") > 0)


def test_a_voice_is_trained_listened_to_and_chosen(page: Page, served: Served) -> None:
    _have_voice(page, served)
    page.get_by_role("link", name="Train this voice").click()
    page.get_by_role("heading", name="Nova").wait_for()
    form = page.get_by_role("form", name="Train this voice")
    page.get_by_text("This server can't train yet: it needs contentvec").wait_for()
    expect(form.get_by_role("button", name="Train this voice")).to_be_disabled()
    _accessible(page)
    form.get_by_text("Settings", exact=True).click()
    form.get_by_label("Network").select_option("zero-shot")  # of which all is said that is otherwise
    page.get_by_text("The many-singers model goes on learning").wait_for()
    expect(form.get_by_label("Content features")).to_have_count(0)
    form.get_by_label("Network").select_option("tiny")
    form.get_by_label("Content features").select_option("cepstral")
    form.get_by_label("Most steps").fill("3")
    page.get_by_text("Some minutes").wait_for()
    form.get_by_role("button", name="Train this voice").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Training paused").wait_for()
    _accessible(page)
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("heading", name="Trained", exact=True).wait_for()
    page.get_by_label("Curve").select_option("mel_distance")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row", name=re.compile("^3 \\(best\\)"))).to_be_visible()
    page.get_by_label("What is sung").select_option("phrase-0")
    for version in ("Original", "Instant voice", "Step 3"):
        _plays(page.get_by_label(f"{version}, Phrase of another singer 1"))
    expect(page.get_by_role("link", name="The whole report")).to_have_attribute("href", re.compile("/report$"))
    _accessible(page)
    expect(page.get_by_role("radio", name="Instant voice")).to_be_checked()
    page.get_by_role("radio", name="Trained model").check(force=True)
    expect(page.get_by_role("radio", name="Trained model")).to_be_checked()
    page.get_by_role("link", name="New cover").click()
    expect(page.get_by_text("trained model")).to_be_visible()
    page.go_back()
    page.get_by_role("radio", name="Instant voice").check(force=True)
    expect(page.get_by_role("radio", name="Instant voice")).to_be_checked()


def test_progress_is_shown_by_stage_and_work_can_be_stopped(page: Page, served: Served) -> None:
    _have_voice(page, served)
    _have_song(page, served)
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Key of the song").fill("3")  # something that no other test has made
    page.get_by_role("button", name="Make the cover").click()
    page.get_by_role("heading", name=re.compile("Being made|Waiting")).wait_for()
    page.get_by_text("All steps").click()
    page.get_by_role("listitem").filter(has_text=re.compile("Singing|Shifting|Reading")).first.wait_for()
    _accessible(page)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name=re.compile("Stopped|How it came out")).wait_for()


def test_what_isn_t_a_song_is_said_in_words(page: Page, served: Served) -> None:
    page.get_by_label("Drop a song here").set_input_files(served.folder / "letter.mp3")
    alert = page.get_by_role("alert").filter(has_text="letter.mp3")
    alert.wait_for()
    assert "Traceback" not in page.content()
    _accessible(page)


def test_a_voice_is_recorded_in_steps_and_each_take_is_checked(page: Page) -> None:
    page.get_by_role("button", name="New voice").click()
    form = page.get_by_role("form", name="New voice")
    _accessible(page)
    form.get_by_label("Name").fill("Ada")
    expect(form.get_by_role("button", name="Record it now")).to_be_disabled()
    form.get_by_label("Mine").check()
    form.get_by_label("This voice may be used for covers").check()
    form.get_by_role("button", name="Record it now").click()
    page.get_by_text("0 of 30 s").wait_for()
    expect(page.get_by_role("button", name="Next: sing")).to_be_disabled()
    page.get_by_role("button", name="Record", exact=True).click()
    _until(page, "document.querySelector('meter').value > 0.01")
    _until(page, "/0:03/.test(document.querySelector('.recording')?.innerText)")
    page.get_by_role("button", name="Stop").click()
    page.get_by_label("Listen to what you recorded").wait_for()
    page.get_by_text(re.compile("^[2-6] of 30 s")).wait_for()
    _accessible(page)
    page.get_by_role("button", name="Next: sing").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_text("Get ready").wait_for()
    page.get_by_label("Listen to what you recorded").wait_for()  # it ends with the melody
    expect(page.get_by_role("button", name="Make the voice")).to_be_enabled()
    _accessible(page)


@pytest.mark.parametrize(
    ("name", "words"),
    [("NotAllowedError", "may not use the microphone"), ("NotFoundError", "There is no microphone")],
)
def test_a_microphone_that_is_refused_is_said_in_words(page: Page, name: str, words: str) -> None:
    refused = f"() => Promise.reject(new DOMException('', '{name}'))"
    page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {refused})")
    page.get_by_role("button", name="New voice").click()
    form = page.get_by_role("form", name="New voice")
    form.get_by_label("Name").fill("Ada")
    form.get_by_label("Mine").check()
    form.get_by_label("This voice may be used for covers").check()
    form.get_by_role("button", name="Record it now").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("alert").filter(has_text=words).wait_for()


def test_everything_is_reached_by_keyboard(page: Page, served: Served) -> None:
    _have_voice(page, served)
    page.reload()
    page.get_by_role("radio", name="Nova").wait_for()
    reached: set[str] = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(document.activeElement.innerText || document.activeElement.type || '').trim()"))
    assert {"Skip to the content", "file", "radio", "New voice …", "Settings"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_either_light(context: BrowserContext, served: Served, scheme: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(served.address)
    page.get_by_text("Yours will be listed here.").or_(page.get_by_role("button", name="Delete").first).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    _accessible(page)


def test_the_first_load_is_light() -> None:
    """What the browser of whoever speaks the language with the largest file gets before it draws."""
    index = STATIC / "index.html"
    named = [STATIC / name for name in re.findall(r'(?:src|href)="\./([^"]+)"', index.read_text())]
    size = {path: len(gzip.compress(path.read_bytes())) for path in [index, *named, *STATIC.glob("assets/??-*.js")]}
    languages = [size.pop(path) for path in [*size] if re.match("[a-z]{2}-", path.name)]
    assert len(languages) == 6
    assert sum(size.values()) + max(languages) < 60_000


def _serve_with_a_key(folder: Path, *options: str) -> tuple[Serving, str]:
    """A server that asks for keys, without a worker, and a key."""
    settings = ServerSettings(data=folder / "data", device="cpu")
    database = Database(settings.database_url)
    key, _ = owners.create_key(database, "ann", "", ("read", "make", "voices", "delete"))
    database.close()
    return serve(folder, "--keys", "--workers", "0", *options), key


def _sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Yours will be listed here.").wait_for()


def _check_files_without_a_key(page: Page, served: Served) -> None:
    page.get_by_role("link", name="Check a file").click()
    drop = page.get_by_label("Drop a file here")
    drop.set_input_files(served.folder / "letter.mp3")
    page.get_by_role("alert").filter(has_text="letter.mp3").wait_for()
    drop.set_input_files([served.folder / "My song.wav", served.folder / "My song.c2pa"])
    result = page.get_by_role("region", name="My song.wav")
    result.get_by_text("The credentials in My song.c2pa can't be read").wait_for()
    expect(result.get_by_text("none found")).to_be_visible()
    _accessible(page)


def test_a_server_with_keys_asks_for_one(context: BrowserContext, served: Served, tmp_path: Path) -> None:
    running, key = _serve_with_a_key(tmp_path)
    with running:
        page = context.new_page()
        page.goto(running.address)
        _check_files_without_a_key(page, served)
        page.get_by_role("link", name="New cover").click()
        page.get_by_label("Key").fill("no key")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").filter(has_text="wrong").wait_for()
        _accessible(page)
        _sign_in(page, key)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in").wait_for()


def test_another_device_reaches_it_over_plain_http(context: BrowserContext, served: Served, tmp_path: Path) -> None:
    """There, browsers withhold `crypto.randomUUID` and the microphone, among others."""
    running, key = _serve_with_a_key(tmp_path)
    with running:
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(running.address.replace("127.0.0.1", "phone.test"))
        assert page.evaluate("[isSecureContext, crypto.randomUUID, navigator.mediaDevices]") == [False, None, None]
        _sign_in(page, key)
        _have_song(page, served)
        page.get_by_role("button", name="New voice").click()
        form = page.get_by_role("form", name="New voice")
        form.get_by_text("Record with another app").wait_for()
        assert form.get_by_role("button", name="Record the").count() == 0
        _accessible(page)
        form.get_by_label("Name").fill("Nova")
        form.get_by_label("Drop recordings or a model").set_input_files(served.folder / "recording.wav")
        form.get_by_label("Mine").check()
        form.get_by_label("This voice may be used for covers").check()
        form.get_by_role("button", name="Make the voice").click()
        page.get_by_text("Listening to the recordings").wait_for()
    assert faults == []


@pytest.mark.skipif(NGINX is None, reason="no nginx is installed; CI installs one")
def test_it_works_below_the_path_of_a_proxy(context: BrowserContext, served: Served, tmp_path: Path) -> None:
    running, key = _serve_with_a_key(tmp_path, "--root-path", "/our/covers")
    with running, nginx(tmp_path, running.address, "/our/covers") as (proxy, _):
        page = context.new_page()
        answers: list[tuple[int, str]] = []
        page.on("response", lambda answer: answers.append((answer.status, answer.url)))
        page.goto(proxy)
        _sign_in(page, key)
        _have_song(page, served)
        page.reload()
        page.get_by_text("Yours will be listed here.").wait_for()
        assert all(page.request.get(f"{proxy}/{name}").ok for name in ("worker.js", "manifest.webmanifest"))
        page.goto(f"{proxy}/docs")
        page.get_by_text("Make a cover").first.wait_for()
    assert [url for status, url in answers if status >= 400 and status != 401] == []
    assert [url for _, url in answers if not url.startswith((proxy, "data:"))] == []


def test_the_reference_of_the_api_loads_nothing_from_elsewhere(context: BrowserContext, served: Served) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{served.address}/docs")
    page.locator("#operations-covers-make_cover").click()
    page.get_by_text("Make a cover").first.wait_for()
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {urlsplit(served.address).netloc}
    assert faults == []


def test_a_server_that_is_gone_is_said_in_words_and_the_page_opens_without_it(browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context()
    context.set_default_timeout(1000 * HANGS)
    with serve(tmp_path, "--workers", "0") as running:
        page = context.new_page()
        page.goto(running.address)
        page.get_by_text("Yours will be listed here.").wait_for()
        scope = page.evaluate("navigator.serviceWorker.ready.then(({ scope }) => scope)")
        assert scope == f"{running.address}/"
        assert page.request.get(f"{running.address}/manifest.webmanifest").json()["icons"]
    gone = page.get_by_role("alert").filter(has_text="The server doesn't answer")
    page.get_by_label("Drop a song here").set_input_files(
        {"name": "song.wav", "mimeType": "audio/wav", "buffer": b"RIFF" * 100}
    )
    gone.wait_for()
    page.reload()
    gone.wait_for()
    page.get_by_role("combobox", name="Language").select_option("Deutsch")
    page.get_by_role("heading", name="Derselbe Song, deine Stimme.").wait_for()
    page.goto(f"{running.address}/#/verify")  # a view that is loaded when it is looked at
    page.get_by_role("heading", name="Woher kommt dieser Song?").wait_for()
    kept = "(async () => (await (await caches.open((await caches.keys())[0])).keys()).map(({ url }) => url))()"
    assert {url.removeprefix(scope).split("/")[0] for url in page.evaluate(kept)} == {
        "",
        "icon.svg",
        "manifest.webmanifest",
        "assets",
    }
    context.close()
