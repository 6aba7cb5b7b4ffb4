"""The page in Chromium, against a server of its own: what somebody who makes and plays covers waits for.

    python benchmarks/page.py --song SONG --recordings FILES

`--song`: of any length; by default the demo's song, repeated to 3:42. Prints one JSON object:

- ``load_kb``, ``shift``: kilobytes of the first load, compressed, with what the server says of itself, and the layout
  shift.
- ``chorus_s``: from the click on "Make the cover" to the sung chorus (of songs of a minute and longer); ``cover_s``: to
  the whole cover. ``left_error``: of the time that is told to be left, at each look after a third of the whole, the
  largest error and the median, as shares of the whole time.
- ``sound_s``: from the click on "Play" on a cover's page to the first sound, on slow 4G (1.6 Mbit/s, 150 ms) and with
  the processor four times slower. The page was loaded in the same conditions.
- ``busy``: share of the main thread's time that is spent while a cover plays with all its stems.
- ``heap_mb``: JavaScript heap after the first and each fifth of `--covers` covers that were opened, played and left,
  with garbage collected.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Browser, CDPSession, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.services.web.conftest import ARGUMENTS, CHROMIUM, Served, call, waited  # noqa: E402
from tests.support.command import until  # noqa: E402
from tests.support.server import serve  # noqa: E402

SECONDS = 222.0
SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
WAIT = 1_200_000  # milliseconds after which something has gone wrong

WATCH = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value;
}).observe({ type: "layout-shift", buffered: true });
// the moment of the first sound: when a media element has played past its beginning, or buffers have begun
window.sounds = null;
const heard = (when) => (window.sounds ??= when);
document.addEventListener("timeupdate", (event) => event.target.currentTime > 0 && heard(performance.now()), true);
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  this.addEventListener("timeupdate", () => this.currentTime > 0 && heard(performance.now()));
  this.addEventListener("playing", () => heard(performance.now()));
  return play.call(this);
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  heard(performance.now() + 1000 * Math.max(0, when - this.context.currentTime));
  return start.call(this, when, ...rest);
};
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--song", type=Path)
    parser.add_argument("--recordings", type=Path, nargs="+", default=sorted((ROOT / "demo" / "voice").glob("*.flac")))
    parser.add_argument("--covers", type=int, default=20, help="pages of covers that are opened for heap_mb")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        song = chosen.song or _repeated(Path(folder))
        with serve(Path(folder)) as server:
            served = Served(server.address, Path(folder))
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            found = {"seconds": soundfile.info(song).duration, **measured(browser, served, song, chosen)}
            browser.close()
    print(json.dumps(found, indent=2))


def measured(browser: Browser, served: Served, song: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    recordings = [("recordings", (path.name, path.read_bytes())) for path in chosen.recordings]
    _voice(served, recordings)
    sent = call(served, "POST", "/v1/songs", files={"file": song})
    found: dict[str, Any] = {}
    page = _page(browser)
    traffic = _traffic(page)
    page.goto(served.address)
    page.get_by_role("button", name="Make the cover").wait_for()
    page.wait_for_timeout(1000)
    found |= {"load_kb": round(sum(traffic) / 1000, 1), "shift": round(page.evaluate("window.shift"), 4)}
    cover = _made(page, served, sent["id"], found)
    page.close()
    found["sound_s"] = _first_sound(browser, f"{served.address}/#/covers/{cover}")
    found["busy"] = _busy(browser, f"{served.address}/#/covers/{cover}")
    found["heap_mb"] = _heap(browser, served, cover, chosen.covers)
    return found


def _voice(served: Served, recordings: list[Any]) -> None:
    import httpx

    form = {"name": "Nova", "consent": "self"}
    made = httpx.post(f"{served.address}/v1/voices", data=form, files=recordings, timeout=600).json()
    assert waited(served, made["id"], "voices")["state"] == "ready"


def _page(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1200, "height": 900}, locale="en").new_page()
    page.set_default_timeout(WAIT)
    page.add_init_script(WATCH)
    return page


def _traffic(page: Page) -> list[float]:
    """The bytes of each response from the network from now on."""
    session, sizes = page.context.new_cdp_session(page), list[float]()
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    return sizes


def _made(page: Page, served: Served, song: str, found: dict[str, Any]) -> str:
    """Make a cover of the song as a visitor does; returns its id."""
    page.get_by_label("Songs that were sent before").select_option(song)
    page.get_by_role("button", name="Make the cover").click()
    begun = time.perf_counter()
    page.get_by_role("button", name="Stop").wait_for()
    cover = page.url.rpartition("/")[2]
    told: list[tuple[float, float, float]] = []  # seconds since the beginning, share done, seconds left as told
    while (job := call(served, "GET", f"/v1/covers/{cover}"))["state"] in ("queued", "running"):
        now = time.perf_counter() - begun
        if "chorus" in job["previews"]:
            found.setdefault("chorus_s", round(now, 1))
        if job["seconds_left"] is not None:
            told.append((now, job["progress"]["fraction"], job["seconds_left"]))
        time.sleep(0.5)
    assert job["state"] == "done", job["error"]
    whole = time.perf_counter() - begun
    found["cover_s"] = round(whole, 1)
    errors = [abs(now + left - whole) / whole for now, _, left in told if now > whole / 3]
    if errors:
        found["left_error"] = {"largest": round(max(errors), 2), "median": round(statistics.median(errors), 2)}
    return cover


def _first_sound(browser: Browser, address: str) -> float:
    page = _page(browser)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW_4G)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto(address)
    button = page.get_by_role("button", name="Play", exact=True)
    button.wait_for()
    click = page.evaluate("performance.now()")
    button.click()
    until(lambda: page.evaluate("window.sounds") is not None)
    seconds = (page.evaluate("window.sounds") - click) / 1000
    page.context.close()
    return round(seconds, 2)


def _busy(browser: Browser, address: str, seconds: float = 10.0) -> float:
    page = _page(browser)
    page.goto(address)
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled(timeout=WAIT)
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_timeout(1000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = _metrics(session)
    page.wait_for_timeout(1000 * seconds)
    after = _metrics(session)
    page.context.close()
    return round((after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"]), 3)


def _heap(browser: Browser, served: Served, cover: str, count: int) -> list[float]:
    """Between two covers the library is shown, as a visitor comes from one to the next."""
    page = _page(browser)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.goto(f"{served.address}/#/library")
    sizes = []
    for number in range(count):
        page.goto(f"{served.address}/#/covers/{cover}")
        expect(page.get_by_role("radio", name="B · original")).to_be_enabled(timeout=WAIT)
        page.get_by_role("button", name="Play", exact=True).click()
        page.wait_for_timeout(500)
        page.goto(f"{served.address}/#/library")
        page.get_by_role("heading", name="Library", level=1).wait_for()
        if number == 0 or (number + 1) % 5 == 0:
            session.send("HeapProfiler.collectGarbage")
            sizes.append(round(_metrics(session)["JSHeapUsedSize"] / 1e6, 1))
    page.context.close()
    return sizes


def _metrics(session: CDPSession) -> dict[str, float]:
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def _repeated(folder: Path) -> Path:
    """The demo's song again and again, `SECONDS` long."""
    samples, rate = soundfile.read(ROOT / "demo" / "song.mp3", dtype="float32", always_2d=True)
    frames = round(SECONDS * rate)
    path = folder / "song.flac"
    soundfile.write(path, np.resize(samples, (frames, samples.shape[1])), rate)
    return path


if __name__ == "__main__":
    if CHROMIUM is None or not shutil.which(CHROMIUM):
        sys.exit("There is no Chromium here.")
    main()
