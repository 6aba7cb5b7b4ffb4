"""`Tags`: the metadata of a file (title, artist, artwork, ...), read from any container and written to any.

The field names are FFmpeg's generic metadata keys, which its muxers map to ID3v2 frames, MP4 atoms, Vorbis comments
and RIFF INFO chunks. Artwork is an attached picture; in Ogg it is FLAC's picture block in base64, as the Vorbis
comment specification's field METADATA_BLOCK_PICTURE defines it.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from understudy.audio.libav import opened
from understudy.disk import reading
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from av.container import InputContainer

FIELDS = ("title", "artist", "album", "album_artist", "composer", "date", "genre", "track", "comment", "encoded_by")
MAKER = "Understudy"
_MARK = "made with Understudy"
_LONGEST_TEXT = 2000
_LARGEST_ARTWORK = 16 << 20
_MIME_OF_CODEC = {"mjpeg": "image/jpeg", "png": "image/png"}
_BRACES = re.compile(r"\{([^{}]*)\}")
TEMPLATE_FIELDS = ("title", "artist", "album", "album_artist", "composer", "date", "genre", "track", "voice")


@dataclass(frozen=True)
class Tags:
    """Text fields are empty where unknown. `artwork`: the bytes of one JPEG or PNG picture (at most 16 MiB),
    `artwork_mime` ``image/jpeg`` or ``image/png``."""

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    composer: str = ""
    date: str = ""
    genre: str = ""
    track: str = ""
    comment: str = ""
    encoded_by: str = ""
    artwork: bytes = b""
    artwork_mime: str = ""

    def texts(self) -> dict[str, str]:
        """The text fields that are set, by name."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name)}


def template_of(fields: Sequence[str]) -> AfterValidator:
    """The check of a template that may have these `fields` in braces."""

    def checked(template: str) -> str:
        rest = _BRACES.sub("", template)
        unknown = [name for name in _BRACES.findall(template) if name not in fields]
        if unknown or "{" in rest or "}" in rest:
            raise ValueError(f"in braces there may be {', '.join(fields)}, not {(unknown or [template])[0]!r}")
        return template

    return AfterValidator(checked)


Template = Annotated[str, Field(max_length=400), template_of(TEMPLATE_FIELDS)]
"""Words, and in braces the tags of the song or the voice: ``{title} ({voice} cover)``. See `filled`."""


class TagSettings(BaseModel):
    """How a cover is tagged. `artwork`: ``song``, ``none`` or the path of a JPEG or PNG file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    song_title: str | None = Field(None, max_length=400, description="title of the song; that of its file if not given")
    song_artist: str | None = Field(None, max_length=400, description="artist of the song, likewise")
    title_template: Template = Field(
        "{title} ({voice} cover)",
        description="the cover's title; the song's tags and the voice are filled in: "
        + ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS),
    )
    artist_template: Template = Field("{voice}", description="the cover's artist, likewise")
    album_template: Template = Field("{album}", description="the cover's album, likewise")
    album_artist_template: Template = Field("{voice} (AI cover)", description="the cover's album artist, likewise")
    composer_template: Template = Field(
        "{composer}", description="who is credited, likewise; {composer} is the song's artist if it names no composer"
    )
    artwork: str = Field("song", max_length=1000, description="song, none, or the path of a JPEG or PNG file")

    @property
    def artwork_file(self) -> Path | None:
        return None if self.artwork in ("song", "none") else Path(self.artwork)


def filled(template: str, values: Mapping[str, str]) -> str:
    """`template` with `values` in place of the names in braces. Where one is empty, no empty brackets and no separator
    at the beginning or end are left."""
    for name in _BRACES.findall(template):
        if not values[name]:
            template = re.sub(rf"\s*[(\[]\s*{{{name}}}\s*[)\]]|{{{name}}}", "", template).strip(" -–—:,/|")
    return _BRACES.sub(lambda found: values[found[1]], template)


def tags_of(container: InputContainer) -> Tags:
    """The tags of an open container. Reads nothing past the header, except an attached picture."""
    found: dict[str, str] = {}
    for metadata in (container.metadata, *(stream.metadata for stream in container.streams.audio)):
        for key, value in metadata.items():  # Ogg keeps its comments with the stream
            found.setdefault(key.lower(), _clean(value))
    texts = {name: found.get(name, "") for name in FIELDS}
    texts["comment"] = texts["comment"] or found.get("description", "")
    artwork, mime = _artwork_of(container)
    return Tags(**texts, artwork=artwork, artwork_mime=mime)


def read_tags(path: Path) -> Tags:
    """The tags of the file at `path`; raises `UnderstudyError` as `understudy.audio.libav.opened` does."""
    with opened(path) as container:
        return tags_of(container)


def covered(tags: Tags, settings: TagSettings) -> Tags:
    """What is covered: the song with `tags`, called as `settings` say; of one of our own covers, its song. The composer
    is the artist where none is named."""
    title, artist = settings.song_title or tags.title or "Untitled", settings.song_artist or tags.artist
    if _MARK in tags.comment:
        title, artist = re.sub(r" \([^()]* cover\)$", "", title), tags.composer or artist
    song = replace(tags, title=title, artist=artist, composer=tags.composer or artist)
    return replace(song, artwork=b"", artwork_mime="") if settings.artwork == "none" else song


def cover_tags(tags: Tags, voice: str, settings: TagSettings | None = None) -> Tags:
    """Tags of a cover made from a song with `tags`, sung by `voice`. An artwork of its own is in `tags` already.

    As in record shops, the singer is the artist and in the title ("Title (Nova cover)"), and the original artist gets
    the credit. The comment says in words that the cover was made by AI, and names the original.
    """
    settings = settings or TagSettings()
    song = covered(tags, settings)
    values = {**dict.fromkeys(FIELDS, ""), **song.texts(), "voice": voice}
    original = " – ".join(filter(None, (song.artist, song.title)))
    return replace(
        song,
        title=filled(settings.title_template, values),
        artist=filled(settings.artist_template, values),
        album=filled(settings.album_template, values),
        album_artist=filled(settings.album_artist_template, values),
        composer=filled(settings.composer_template, values),
        comment=f"AI-generated cover, voice: {voice}, {_MARK}. Original: {original}",
        encoded_by=MAKER,
    )


def stem_tags(tags: Tags, stem: str) -> Tags:
    """Tags of a part (``vocals``, ``instrumental``, ...) that was separated from a song with `tags`: marked as ours."""
    return replace(tags, title=f"{tags.title or 'Untitled'} ({stem})", comment=f"{stem}, {_MARK}", encoded_by=MAKER)


def made_by_understudy(path: Path) -> bool:
    """Whether the file at `path` carries our own tag, so that overwriting it takes nothing of the user's.

    False for anything that is missing, unreadable or not audio.
    """
    try:
        tags = read_tags(path)
    except UnderstudyError:
        return False
    return _MARK in tags.comment


def read_artwork(path: Path) -> tuple[bytes, str]:
    """The picture in the JPEG or PNG file at `path`, and its type (``image/jpeg`` or ``image/png``). Raises
    `UnderstudyError` ``file-not-found`` or ``artwork-invalid``."""
    with reading(path, "Give the path of a JPEG or PNG file."), path.open("rb") as file:
        artwork = file.read(_LARGEST_ARTWORK + 1)
    if len(artwork) > _LARGEST_ARTWORK or picture_size(artwork) is None:
        raise UnderstudyError(
            "artwork-invalid",
            f"{path} is no JPEG or PNG picture of at most {_LARGEST_ARTWORK >> 20} MB.",
            "Save the artwork as JPEG, 1000 to 3000 pixels wide.",
        )
    return artwork, "image/png" if artwork[:1] == b"\x89" else "image/jpeg"


def picture_block(artwork: bytes, mime: str, size: tuple[int, int]) -> str:
    """FLAC's picture block (RFC 9639, section 8.8) of a front cover of `size` (width, height), in base64."""
    name = mime.encode()
    head = struct.pack(">II", 3, len(name)) + name + struct.pack(">I", 0)  # 3: front cover; no description
    return base64.b64encode(head + struct.pack(">IIIII", *size, 24, 0, len(artwork)) + artwork).decode()


def picture_size(artwork: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG or PNG, from its header; None for anything else."""
    if artwork[:8] == b"\x89PNG\r\n\x1a\n" and len(artwork) >= 24:
        width, height = struct.unpack(">II", artwork[16:24])
        return (width, height) if 0 < width < 65536 and 0 < height < 65536 else None
    at = 2
    while artwork[:2] == b"\xff\xd8" and at + 9 <= len(artwork) and artwork[at] == 0xFF:
        kind, length = artwork[at + 1], int.from_bytes(artwork[at + 2 : at + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a start of frame, ITU-T T.81 table B.1
            height, width = struct.unpack(">HH", artwork[at + 5 : at + 9])
            return (width, height) if width and height else None
        at += 1 if kind == 0xFF else 2 + length  # fill bytes may come before a marker
    return None


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()[:_LONGEST_TEXT]


def _artwork_of(container: InputContainer) -> tuple[bytes, str]:
    import av
    from av.stream import Disposition

    for stream in container.streams.video:
        mime = _MIME_OF_CODEC.get(stream.codec_context.name) if stream.codec_context else None
        if mime is None or not stream.disposition & Disposition.attached_pic:
            continue
        try:
            packet = next(container.demux(stream), None)  # FFmpeg queues attached pictures before everything else
        except av.FFmpegError:
            continue
        if packet is not None and 0 < packet.size <= _LARGEST_ARTWORK:
            return bytes(packet), mime
    return b"", ""
