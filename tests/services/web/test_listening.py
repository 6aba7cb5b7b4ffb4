"""A finished cover in the mixer: what is heard, by a mixer that is asked for what it sends to the loudspeaker."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.services.web.conftest import Served, call, made_voice, waited
from tests.support import signals
from tests.support.command import until

pytestmark = pytest.mark.slow
START, SECONDS = 1.0, 5.0

LISTEN = """
window.playing = [];
// the stream is slow, so that it doesn't end before the parts are there, however slow this machine is
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { this.playbackRate = 0.1; return play.call(this); };
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) { this.to = to; return connect.call(this, to, ...rest); };
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  if (window.begun !== when[0]) window.playing = [];
  window.begun = when[0];
  window.playing.push({ source: this, offset: when[1] });
  this.loop = true; // it doesn't end, however slow this machine is: gains without a source would stay as they are
  return start.call(this, when[0], when[1]);
};
// the sum of what is heard, at the gains as they are now, over the time of the cover
const rate = (window.rate = new AudioContext().sampleRate);
window.heard = () => {
  const mix = [0, 1].map(() => new Float32Array(5 * rate));
  const from = Math.min(...window.playing.map((one) => one.offset)); // seconds into the cover
  for (const { source, offset } of window.playing) {
    const gain = source.to.gain.value * source.to.to.gain.value;
    const first = Math.round((offset - from) * rate); // at which the cover begins in the buffer
    for (let channel = 0; channel < 2; channel++) {
      const samples = source.buffer.getChannelData(Math.min(channel, source.buffer.numberOfChannels - 1));
      for (let at = 0; at < mix[channel].length; at++) mix[channel][at] += gain * (samples[first + at] ?? 0);
    }
  }
  return mix;
};
// the mean spectrum, in dB, of what comes to the loudspeaker in the next 1.5 seconds of sound
window.spectrum = async () => {
  const out = window.playing[0].source.to.to;
  const tap = out.to instanceof AudioDestinationNode ? out : out.to;
  const analyser = new AnalyserNode(tap.context, { fftSize: 16384, smoothingTimeConstant: 0 });
  connect.call(tap, analyser);
  const sum = new Array(analyser.frequencyBinCount).fill(0);
  const values = new Float32Array(sum.length);
  const moment = () => new Promise((done) => setTimeout(done, 50));
  for (const end = tap.context.currentTime + 1.5; tap.context.currentTime < end; await moment()) {
    analyser.getFloatFrequencyData(values);
    values.forEach((value, at) => (sum[at] += 10 ** (Math.max(value, -120) / 20)));
  }
  tap.disconnect(analyser);
  return sum;
};
window.decoded = async (address) => {
  const context = new OfflineAudioContext(2, rate, rate);
  const buffer = await context.decodeAudioData(await (await fetch(address)).arrayBuffer());
  return [0, 1].map((channel) => buffer.getChannelData(channel));
};
window.farthest = (one, other) => Math.max(...one.map((samples, channel) =>
  samples.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[channel][at] ?? 0))), 0)));
window.highest = (mix) => window.farthest(mix, mix.map((samples) => new Float32Array(samples.length)));
"""


@dataclass(frozen=True)
class Duet:
    """A cover of an excerpt, of own stems, in which two voices sing."""

    id: str
    page: str
    audio: str


@pytest.fixture(scope="module")
def duet(served: Served) -> Duet:
    song = signals.song(7.0)
    for name, sound in (("vocals", song.vocals), ("instrumental", song.instrumental)):
        soundfile.write(served.folder / f"{name}.wav", 0.5 * sound.samples.T, sound.rate)
    harmony = np.roll(song.vocals.samples.T, 4000, axis=0)
    soundfile.write(served.folder / "backing_vocals.wav", 0.3 * harmony, song.mix.rate)
    whole = 0.5 * song.mix.samples.T + 0.3 * harmony
    soundfile.write(served.folder / "song.wav", whole, song.mix.rate, subtype="FLOAT")
    for name in ("Nova", "Ada"):
        made_voice(served, name)
    settings = {
        "song": {"start": START, "duration": SECONDS},
        "transpose": 5,
        "backing": "convert",
        "output": {"keep_stems": True},
    }
    files = {name: served.folder / f"{name}.wav" for name in ("song", "vocals", "instrumental", "backing_vocals")}
    fields = [("voice", "lead=Nova"), ("voice", "backing=Ada"), ("settings", json.dumps(settings))]
    job = waited(served, call(served, "POST", "/v1/covers", fields=fields, files=files)["id"], "covers")
    assert job["state"] == "done", job["error"]
    assert set(job["stems"]) == {"vocals", "instrumental", "backing"}
    return Duet(job["id"], f"{served.address}/#/covers/{job['id']}", job["audio"]["href"])


@pytest.fixture
def listener(context: BrowserContext, served: Served) -> Page:
    page = context.new_page()
    page.add_init_script(LISTEN)
    return page


def _seconds(page: Page) -> float:
    return float(page.get_by_label("Position").input_value())


def test_the_cover_plays_at_once_and_its_parts_take_over(listener: Page, duet: Duet) -> None:
    page = listener
    held: list[Route] = []
    page.route("**/stems/*", lambda route: held.append(route))
    page.goto(duet.page)
    page.get_by_role("button", name="Play").click()
    until(lambda: _seconds(page) > 0.2)
    assert page.evaluate("window.playing.length") == 0, "the stream alone is heard"
    expect(page.get_by_role("radio", name="B · original")).to_be_disabled()

    def all_held() -> bool:
        page.wait_for_timeout(20)  # in which the routes are heard of
        return len(held) == 3

    until(all_held)
    for route in held:
        route.continue_()
    until(lambda: page.evaluate("window.playing.length") == 4)
    offsets: list[float] = page.evaluate("window.playing.map((one) => one.offset)")
    assert 0.2 < min(offsets) < SECONDS, "they go on where the stream was"


def test_what_is_heard_is_the_cover_and_the_original_of_the_same_seconds(listener: Page, duet: Duet) -> None:
    page = listener
    page.goto(duet.page)
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled()
    expect(page).to_have_title(re.compile("^song – Understudy$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("sung by Nova and Ada")
    expect(page.get_by_label("Octave of the voice")).to_have_value("5")
    for words in ("Cover", "Karaoke", "The new vocal", "The backing vocals"):
        expect(page.get_by_role("link", name=re.compile(f"^{words}"))).to_be_visible()
    for name in ("Vocal", "Band", "Backing vocals"):
        expect(page.get_by_role("group", name=name, exact=True)).to_be_visible()

    page.get_by_role("button", name="Play").click()
    until(lambda: page.evaluate("window.playing.length") == 4)
    page.evaluate(f"(async () => window.cover = await window.decoded('{duet.audio}'))()")

    def off(mix: str) -> float:
        return float(page.evaluate(f"window.farthest(window.heard(), {mix})"))

    until(lambda: off("window.cover") < 2e-4, lambda: off("window.cover"))
    page.keyboard.press("b")
    until(lambda: page.evaluate("window.playing.filter((one) => one.source.to.gain.value > 0.01).length") == 1)
    offsets: list[float] = page.evaluate("window.playing.map((one) => one.offset)")
    assert max(offsets) - min(offsets) == pytest.approx(START, abs=1e-6), "the original begins where the excerpt does"
    page.keyboard.press("a")

    # louder than full scale would clip: everything is turned down
    for name in ("Vocal", "Band", "Backing vocals"):
        page.get_by_label(f"Volume of {name}").fill("12")
    until(lambda: page.evaluate("window.playing[0].source.to.gain.value") > 3.5)
    until(lambda: page.evaluate("window.highest(window.heard())") <= 1.0)
    assert page.evaluate("window.highest(window.heard())") > 0.5, "no softer than need be"


def test_versions_and_the_original_are_compared_in_step_and_equally_loud(
    listener: Page, served: Served, duet: Duet
) -> None:
    page = listener
    before = call(served, "GET", f"/v1/covers/{duet.id}")
    settings = before["settings"] | {"remix": before["settings"]["remix"] | {"vocal_gain": 4}}
    body = {**before["inputs"], "voice": before["voices"], "settings": settings}
    louder = waited(served, call(served, "POST", "/v1/covers", body)["id"], "covers")
    page.goto(f"{served.address}/#/songs/{before['inputs']['song']}")
    expect(page.get_by_role("radio", name="B · v1")).to_be_enabled()
    expect(page.get_by_role("combobox", name="A", exact=True).locator(":checked")).to_have_text(
        "v2 · Nova and Ada · vocal +4 dB"
    )
    page.get_by_role("button", name="Play", exact=True).click()
    wave = page.locator(".wave").first.bounding_box()
    assert wave is not None
    page.mouse.move(wave["x"] + 0.25 * wave["width"], wave["y"] + 20)
    page.mouse.down()
    page.mouse.move(wave["x"] + 0.65 * wave["width"], wave["y"] + 20)
    page.mouse.up()
    page.get_by_role("button", name="Repeats 0:01 to 0:03").wait_for()
    until(lambda: page.evaluate("window.playing.length") == 3)
    begun = page.evaluate("window.begun")

    def loudness(job: Any, of: str) -> float:
        return float(job["result"]["loudness"][of])

    for key, address, level in (
        ("b", before["stream"]["href"], loudness(before, "cover")),
        ("c", f"/v1/songs/{before['inputs']['song']}/audio", loudness(louder, "song")),
        ("a", louder["stream"]["href"], loudness(louder, "cover")),
    ):
        page.evaluate(f"(async () => window.whole = await window.decoded('{address}'))()")
        page.keyboard.press(key)
        start, gain = START if key == "c" else 0.0, 10 ** ((loudness(louder, "cover") - level) / 20)
        off = f"""
        (() => {{
          const factor = {gain} * window.playing[0].source.to.to.gain.value;
          const cut = (samples) => samples.slice(Math.round({start} * window.rate)).map((value) => factor * value);
          return window.farthest(window.heard(), window.whole.map(cut));
        }})()"""
        until(lambda off=off: page.evaluate(off) < 2e-4, lambda off=off: page.evaluate(off))  # type: ignore[misc]
    assert page.evaluate("window.begun") == begun, "nothing began again"
    looped = page.evaluate("window.playing.map(({ source }) => [source.loop, source.loopEnd - source.loopStart])")
    assert looped == [[True, pytest.approx(0.4 * SECONDS, abs=0.02)]] * 3
    until(lambda: 1.2 < _seconds(page) < 3.3)
    page.mouse.click(wave["x"] + 0.9 * wave["width"], wave["y"] + 20)
    page.get_by_role("button", name="Repeat from here").wait_for()


def test_keys_themes_and_small_screens(listener: Page, duet: Duet) -> None:
    page = listener
    page.goto(duet.page)
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled()
    page.get_by_role("button", name="Mute Vocal").click()
    page.keyboard.press(" ")
    until(lambda: page.evaluate("window.playing.length") == 4)
    expect(page.get_by_role("button", name="Mute Vocal")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("radio", name="B · original").check(force=True)
    page.keyboard.press("a")
    expect(page.get_by_role("radio", name="A · cover")).to_be_checked()
    page.get_by_role("button", name="Mute Vocal").focus()
    page.keyboard.press(" ")  # with the keyboard a button is what it is
    expect(page.get_by_role("button", name="Mute Vocal")).to_have_attribute("aria-pressed", "false")

    def cursor() -> Any:
        drawn = "document.querySelector('.wave > div > div').shadowRoot.querySelector('[part=cursor]')"
        return page.evaluate(f"getComputedStyle({drawn}).backgroundColor")

    page.emulate_media(color_scheme="light")
    until(lambda: cursor() == "rgb(29, 27, 34)", cursor)
    page.emulate_media(color_scheme="dark")
    until(lambda: cursor() == "rgb(240, 238, 244)", cursor)
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_video_for_phones_is_made_and_says_that_it_is_made_by_ai(listener: Page, duet: Duet) -> None:
    page = listener
    page.goto(duet.page)
    page.get_by_role("button", name="Make a video for phones").click()
    page.get_by_role("progressbar", name="The video is being made.").wait_for()
    with page.expect_download() as video:
        page.get_by_role("link", name="Video for phones").click()
    with av.open(video.value.path()) as container:
        (picture,) = container.streams.video
        assert (picture.codec_context.width, picture.codec_context.height) == (1080, 1920)
        assert "AI" in container.metadata["comment"]
        assert picture.duration
        assert picture.time_base
        assert float(picture.duration * picture.time_base) == pytest.approx(SECONDS, abs=0.1)


def test_key_and_speed_change_while_it_plays(listener: Page, duet: Duet) -> None:
    page = listener
    page.goto(duet.page)
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled()
    wave = page.locator(".wave").first.bounding_box()
    assert wave is not None
    page.mouse.move(wave["x"] + 0.3 * wave["width"], wave["y"] + 20)
    page.mouse.down()
    page.mouse.move(wave["x"] + 0.5 * wave["width"], wave["y"] + 20)  # one second, again and again
    page.mouse.up()
    page.get_by_role("button", name="Play").click()
    until(lambda: page.evaluate("window.playing.length") == 4)
    page.wait_for_timeout(300)
    before = _by_semitone(page)
    begun = page.evaluate("window.begun")

    page.get_by_text("Key and speed").click()
    page.get_by_label("Key", exact=True).fill("5")
    page.get_by_label("Speed").fill("80")
    rates = "window.playing.map(({ source }) => source.playbackRate.value)"
    until(lambda: page.evaluate(rates) == [pytest.approx(0.8)] * 4)
    page.wait_for_timeout(500)
    assert _moved(before, _by_semitone(page)) == pytest.approx(5, abs=0.3)
    assert 1.0 < _seconds(page) < 3.0, "the loop goes on"
    assert page.evaluate("window.begun") == begun, "nothing began again"

    page.get_by_role("button", name="As it was").click()
    until(lambda: page.evaluate(rates) == [1] * 4)
    assert page.evaluate("window.playing[0].source.to.to.to instanceof AudioDestinationNode"), "nothing is in between"
    assert _moved(before, _by_semitone(page)) == 0


def _by_semitone(page: Page) -> np.ndarray:
    """What is heard as a spectrum over tenths of semitones from 100 Hz on."""
    spectrum = np.array(page.evaluate("window.spectrum()"))
    at = 100.0 * 2 ** (np.arange(500) / 120)
    bins = at / (page.evaluate("window.rate") / 2) * len(spectrum)
    return np.interp(bins, np.arange(len(spectrum)), np.sqrt(spectrum))


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    """Semitones by which the spectrum moved: those at which the two have the most in common."""
    before, after = before - before.mean(), after - after.mean()
    return int(np.argmax(np.correlate(after, before, "full")) - (len(before) - 1)) / 10


def test_lyrics_are_shown_in_time_and_seek(listener: Page, duet: Duet, tmp_path: Path) -> None:
    page = listener
    lyrics = tmp_path / "song.lrc"
    lyrics.write_text("[00:00.5]one\n[00:02.00]<00:02.00>two <00:02.30>words\n[00:04.00]three\n")
    page.goto(duet.page)
    expect(page.get_by_role("radio", name="B · original")).to_be_enabled()
    (tmp_path / "plain.txt").write_text("no times\n")
    page.get_by_label("Add lyrics …").set_input_files(tmp_path / "plain.txt")
    page.get_by_text("That file has no lines with times").wait_for()
    page.get_by_label("Add lyrics …").set_input_files(lyrics)
    lines = page.get_by_role("list", name="Lyrics")
    current = lines.locator("[aria-current=true]")
    expect(current).to_have_text("one")  # the cover begins a second into the song
    lines.get_by_role("button", name="three").click()
    expect(current).to_have_text("three")
    assert _seconds(page) == pytest.approx(4.0 - START, abs=0.1)
    lines.get_by_role("button", name="two words").click()
    expect(current.locator(".sung")).to_have_text(["two "])
    page.reload()
    expect(lines.get_by_role("button", name="three")).to_be_visible()
    page.get_by_role("button", name="Remove the lyrics").click()
    expect(lines).to_be_hidden()
