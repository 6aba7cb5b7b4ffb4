"""Links as songs: from a real server on this machine, by yt-dlp as users have it."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.support import signals
from tests.support.command import Workspace, run_here
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.links import LinkLimits, fetch_songs, is_link

pytest.importorskip("yt_dlp")

FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Hits</title>
<item><title>One</title><link>{address}/one.mp3</link><enclosure url="{address}/one.mp3" type="audio/mpeg"/></item>
<item><title>Two</title><link>{address}/two.mp3</link><enclosure url="{address}/two.mp3" type="audio/mpeg"/></item>
</channel></rss>"""


@dataclass
class Site:
    address: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    sound = signals.song(2.0).mix
    for name, gain in (("one", 1.0), ("two", 0.5)):
        soundfile.write(folder / f"{name}.mp3", sound.samples.T * gain, sound.rate)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.cookies.append(self.headers.get("Cookie", ""))
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        found = Site(f"http://127.0.0.1:{server.server_port}", folder)
        (folder / "feed.xml").write_text(FEED.format(address=found.address))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def context(tmp_path: Path, reported: list[float] | None = None) -> Context:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return Context(scratch, on_progress=(reported if reported is not None else []).append)


def test_what_a_link_is():
    assert is_link("https://example.org/watch?v=1")
    assert is_link("HTTP://host/a.mp3")
    assert not any(map(is_link, ("song.mp3", "https.mp3", "ftp://host/a", "file:///etc/passwd", Path("a"), None)))


def test_a_song_is_fetched_once(site: Site, tmp_path: Path):
    reported: list[float] = []
    link = f"{site.address}/one.mp3"
    (song,) = fetch_songs(link, context(tmp_path, reported), tmp_path / "cache", several=False)
    assert song.path.read_bytes() == (site.folder / "one.mp3").read_bytes()
    assert song.path.name == "one.mp3"
    assert song.tags == {}, "a mere file has its own tags"
    assert reported[-1] == 1.0
    downloads = len(site.asked)
    (again,) = fetch_songs(link, context(tmp_path), tmp_path / "cache", several=False)
    assert again == song
    assert len(site.asked) - downloads < downloads, "asked what it is, but not downloaded again"


def test_a_playlist_is_several_songs(site: Site, tmp_path: Path):
    link = f"{site.address}/feed.xml"
    songs = fetch_songs(link, context(tmp_path), tmp_path / "cache")
    assert [song.path.read_bytes() for song in songs] == [
        (site.folder / name).read_bytes() for name in ("one.mp3", "two.mp3")
    ]
    assert [song.tags for song in songs] == [{"tags.song_title": "One"}, {"tags.song_title": "Two"}]
    assert [song.path.name for song in songs] == ["One.mp3", "Two.mp3"]
    with pytest.raises(UnderstudyError) as raised:
        fetch_songs(link, context(tmp_path), tmp_path / "cache", several=False)
    assert raised.value.message == f"{link} is a playlist of 2 songs."
    assert raised.value.hint == f"Make a cover of each: understudy batch '{link}' --voice NAME."


@pytest.mark.parametrize(
    ("page", "limits", "code"),
    [
        ("one.mp3", LinkLimits(bytes=1000), "link-too-large"),
        ("feed.xml", LinkLimits(songs=1), "link-too-large"),
        ("gone.mp3", LinkLimits(), "link-failed"),
    ],
)
def test_limits_and_failures(site: Site, tmp_path: Path, page: str, limits: LinkLimits, code: str):
    link = f"{site.address}/{page}"
    with pytest.raises(UnderstudyError) as raised:
        fetch_songs(link, context(tmp_path), tmp_path / "cache", limits=limits)
    assert raised.value.code == code
    assert raised.value.message.startswith(link)
    assert not list((tmp_path / "cache").rglob("*.mp3"))


def test_cookies_are_sent(site: Site, tmp_path: Path):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tlogin\tsecret\n")
    fetch_songs(f"{site.address}/one.mp3", context(tmp_path), tmp_path / "cache", cookies)
    assert "login=secret" in site.cookies
    with pytest.raises(UnderstudyError) as raised:
        fetch_songs(f"{site.address}/one.mp3", context(tmp_path), tmp_path / "cache", tmp_path / "none.txt")
    assert raised.value.code == "file-not-found"


def test_without_the_package_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("understudy.packages.find_spec", lambda name: None)
    workspace = Workspace(tmp_path)
    done = run_here(tmp_path, workspace.environment, "separate", "https://example.org/song", "--json")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "package-missing"
    assert error["hint"] == "Install it with: pip install 'understudy-covers[links]'"


def test_a_link_in_a_chart(site: Site, tmp_path: Path):
    from understudy.services.batch.chart import read_chart

    chart = tmp_path / "chart.csv"
    chart.write_text(
        f"song,song_title\n{site.address}/one.mp3,Mine\n{site.address}/feed.xml,\n{site.address}/no.mp3,\n"
    )

    def fetch(link: str) -> Any:
        return fetch_songs(link, context(tmp_path), tmp_path / "cache")

    rows = read_chart([str(chart)], ["nova"], fetch=fetch).rows
    assert [row.song.name if row.song else "" for row in rows] == ["one.mp3", "one.mp3", "Two.mp3", ""]
    assert [row.options.get("tags.song_title") for row in rows[:3]] == ["Mine", None, "Two"]
    assert "can't be fetched" in rows[3].problems[0]
