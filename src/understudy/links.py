"""Songs behind links, fetched with yt-dlp and kept in the cache by their ids.

Title, artist and picture are those of whoever published them; they become settings of the cover's tags.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.packages import check_installed
from understudy.pipeline.naming import safe
from understudy.pipeline.publish import publish, shortened
from understudy.wording import counted, lengths

_PICTURES = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png"}
_LARGEST_PICTURE = 16 << 20


@dataclass(frozen=True)
class LinkLimits:
    """What is fetched: songs of at most `seconds` and `bytes`, playlists of at most `songs`."""

    seconds: float = 7200
    bytes: int = 2 << 30
    songs: int = 200


@dataclass(frozen=True)
class LinkedSong:
    """A fetched song. `tags`: settings by dotted name, ``tags.song_title`` and so on, as far as they are known."""

    path: Path
    tags: Mapping[str, str]


def is_link(text: object) -> bool:
    return re.match(r"https?://\S", str(text), re.IGNORECASE) is not None


def fetch_songs(
    link: str,
    context: Context,
    cache: Path,
    cookies: Path | None = None,
    *,
    several: bool = True,
    limits: LinkLimits = LinkLimits(),
) -> list[LinkedSong]:
    """The song at `link`, or with `several` all songs of a playlist, downloaded unless they are in `cache` already.

    `cookies`: a file in Netscape's format, for sites where one must be logged in. Raises `UnderstudyError`:
    ``package-missing`` without yt-dlp, ``link-failed``, ``link-is-playlist``, ``link-too-large``; `Cancelled`.
    """
    check_installed("yt_dlp")
    if cookies is not None and not cookies.is_file():
        raise UnderstudyError("file-not-found", f"There is no file {cookies}.", "Export the cookies of your browser.")
    found = _ask(link, {"extract_flat": "in_playlist", "playlistend": limits.songs + 1}, cookies)
    entries = [found] if found.get("_type") != "playlist" else [entry for entry in found["entries"] if entry]
    if len(entries) > 1 and not several:
        raise UnderstudyError(
            "link-is-playlist",
            f"{link} is a playlist of {counted(len(entries), 'song')}.",
            f"Make a cover of each: understudy batch '{link}' --voice NAME.",
        )
    if not entries or len(entries) > limits.songs:
        what = f"has more than {counted(limits.songs, 'song')}" if entries else "holds no song"
        raise UnderstudyError("link-too-large" if entries else "link-failed", f"{link} {what}.", "Name single songs.")
    songs = []
    for position, entry in enumerate(entries):
        part = context.part(position / len(entries), (position + 1) / len(entries))
        address = entry.get("webpage_url") or entry.get("original_url") or entry["url"]
        listed = str(entry.get("title") or "") if found.get("_type") == "playlist" else ""
        songs.append(_fetched(address, listed, part, cache / "links", cookies, limits))
    return songs


def _fetched(
    link: str, listed: str, context: Context, cache: Path, cookies: Path | None, limits: LinkLimits
) -> LinkedSong:
    """`listed`: the title that a playlist gives it."""
    context.progress(0.0)
    info = _ask(link, {"noplaylist": True}, cookies)
    if info.get("is_live") or (info.get("duration") or 0) > limits.seconds:
        long = (
            "is a live stream"
            if info.get("is_live")
            else "is {} long; at most {} are fetched".format(*lengths(info["duration"], limits.seconds))
        )
        raise UnderstudyError("link-too-large", f"{link} {long}.", "Choose another recording of the song.")
    extractor, id = str(info.get("extractor_key")), str(info.get("id"))
    if extractor == "Generic":  # whose ids are mere names of files
        id = hashlib.sha256(str(info.get("url") or link).encode()).hexdigest()[:24]
    folder = cache / shortened(safe(f"{extractor} {id}".casefold()), 100)
    note = folder / "song.json"
    if note.is_file():
        known = json.loads(note.read_text("utf-8"))
        if (folder / known["song"]).is_file():
            return _song(folder, known)
    title = str(info.get("track") or listed or info.get("title") or id)
    artist = str(info.get("artist") or info.get("uploader") or info.get("channel") or "")

    def hook(state: Mapping[str, Any]) -> None:
        done, size = state.get("downloaded_bytes") or 0, state.get("total_bytes") or state.get("total_bytes_estimate")
        if max(done, size or 0) > limits.bytes:
            raise _Stop
        context.progress(min(1.0, done / size) if size else 0.0)

    place = context.folder / f"link-{hashlib.sha256(link.encode()).hexdigest()[:16]}"
    shutil.rmtree(place, ignore_errors=True)
    try:
        _ask(link, {"outtmpl": {"default": f"{place}/song.%(ext)s"}, "progress_hooks": [hook], "noplaylist": True},
             cookies, download=True)  # fmt: skip
    except _Stop:
        text = f"{link} is larger than {limits.bytes / 1e9:.1f} GB."
        raise UnderstudyError("link-too-large", text, "Choose another recording of the song.") from None
    songs = [path for path in place.glob("song.*") if path.suffix not in (".part", ".ytdl")]
    if len(songs) != 1:
        raise _failed(link, "no sound was found there")
    name = shortened(safe(title), 180)
    # of a mere file on a server, the title is the file's name: its own tags know better
    known = {"song": f"{name}{songs[0].suffix}", "artist": artist}
    known["title"] = listed if info.get("direct") else title
    picture = _picture(info, cookies)
    if picture is not None:
        (place / "artwork").write_bytes(picture[0])
        known["artwork"] = f"artwork.{picture[1]}"
        publish(place / "artwork", folder / known["artwork"])
    publish(songs[0], folder / known["song"])
    (place / "song.json").write_text(json.dumps(known), "utf-8")
    publish(place / "song.json", note)  # last: where it is, everything is
    return _song(folder, known)


class _Stop(Exception):
    """Ends a download that is too large."""


def _song(folder: Path, known: Mapping[str, str]) -> LinkedSong:
    tags = {"tags.song_title": known["title"][:400], "tags.song_artist": known["artist"][:400]}
    if "artwork" in known:
        tags["tags.artwork"] = str((folder / known["artwork"]).absolute())
    return LinkedSong(folder / known["song"], {name: text for name, text in tags.items() if text})


def _picture(info: Mapping[str, Any], cookies: Path | None) -> tuple[bytes, str] | None:
    """The best of the pictures that tags can hold, with its extension; a song without one is a song all the same."""
    addresses = [one["url"] for one in info.get("thumbnails") or () if one.get("url")]
    for address in reversed(addresses):
        kind = _PICTURES.get(Path(urlsplit(address).path).suffix.lower())
        if kind is None:
            continue
        try:
            with _downloader({}, cookies) as downloader, downloader.urlopen(address) as answer:
                picture = answer.read(_LARGEST_PICTURE + 1)
        except Exception:
            continue
        if picture[:3] == b"\xff\xd8\xff" or picture[:8] == b"\x89PNG\r\n\x1a\n":
            return (picture, kind) if len(picture) <= _LARGEST_PICTURE else None
    return None


def _downloader(options: Mapping[str, Any], cookies: Path | None) -> Any:
    import yt_dlp

    return yt_dlp.YoutubeDL(
        {
            "format": "bestaudio/best",
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "logger": _Silent(),
            "cachedir": False,
            "fixup": "never",  # needs the program ffmpeg; what it mends, our reader takes as it is
            "socket_timeout": 30,
            **({"cookiefile": str(cookies)} if cookies else {}),
            **options,
        }
    )


class _Silent:
    """Takes what yt-dlp would print: its errors are raised."""

    def debug(self, message: str) -> None:
        """Nothing."""

    info = warning = error = debug


def _ask(link: str, options: Mapping[str, Any], cookies: Path | None, download: bool = False) -> dict[str, Any]:
    from yt_dlp.utils import DownloadError, YoutubeDLError

    try:
        with _downloader(options, cookies) as downloader:
            return dict(downloader.sanitize_info(downloader.extract_info(link, download=download)))
    except (Cancelled, _Stop):
        raise
    except DownloadError as error:
        inner = error.exc_info[1] if error.exc_info else None
        raise _failed(link, getattr(inner, "orig_msg", None) or str(error)) from error
    except (YoutubeDLError, OSError) as error:
        raise _failed(link, str(error)) from error


def _failed(link: str, reason: str) -> UnderstudyError:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", reason).removeprefix("ERROR: ").partition("; please report")[0]
    return UnderstudyError(
        "link-failed",
        f"{link} can't be fetched: {plain.strip().rstrip('.')}.",
        "Check it in a browser. Sites that want a login need --cookies FILE; sites change, so it may help to run: "
        "pip install --upgrade yt-dlp",
    )
