"""Tags: what goes in comes out, in every format; and our own mark."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.sound_files import tones, write, write_av
from understudy.audio.encode import FORMATS, encode, parse_format
from understudy.audio.samples import Audio
from understudy.audio.tags import (
    MAKER,
    Tags,
    TagSettings,
    cover_tags,
    filled,
    made_by_understudy,
    picture_block,
    picture_size,
    read_artwork,
    read_tags,
    stem_tags,
)
from understudy.context import Context
from understudy.errors import UnderstudyError

SONG = Tags(
    title="Liebe – 曲", artist="Ünderdogs", album="First", album_artist="Various", composer="Ünder Dog", date="2024",
    genre="Pop", track="3/9", comment="for you",
)  # fmt: skip


def picture(kind: str) -> bytes:
    codec, colours = {"png": ("png", "rgb24"), "jpg": ("mjpeg", "yuvj420p")}[kind]
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, colours
    encoder.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=colours)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def encoded(folder: Path, form: str, tags: Tags) -> Path:
    path = folder / f"a.{form}"
    return encode(Context(folder), Audio.of(tones(20000), 44100), path, parse_format(form), tags)


@pytest.mark.parametrize("form", FORMATS)
def test_tags_come_back_from_every_format(tmp_path, form):
    got = read_tags(encoded(tmp_path, form, SONG))
    wanted = SONG.texts()
    if form.startswith("wav"):
        del wanted["album_artist"], wanted["composer"]  # RIFF INFO has no fields for them
    assert got.texts() == wanted


@pytest.mark.parametrize("form", [form for form in FORMATS if not form.startswith("wav")])
@pytest.mark.parametrize(("kind", "mime"), [("jpg", "image/jpeg"), ("png", "image/png")])
def test_artwork_comes_back_to_the_byte(tmp_path, form, kind, mime):
    tags = Tags(title="t", artwork=picture(kind), artwork_mime=mime)
    got = read_tags(encoded(tmp_path, form, tags))
    assert got.artwork == tags.artwork
    assert got.artwork_mime == mime
    assert got.title == "t"


def test_artwork_that_is_no_picture_is_left_out(tmp_path):
    for form in FORMATS:
        got = read_tags(encoded(tmp_path, form, Tags(title="t", artwork=b"what?", artwork_mime="image/jpeg")))
        assert got == Tags(title="t")


def test_no_tags(tmp_path):
    for form in FORMATS:
        assert read_tags(encoded(tmp_path, form, Tags())) == Tags()


@pytest.mark.parametrize("form", FORMATS)
def test_a_cover_is_marked_and_keeps_what_the_song_said(tmp_path, form):
    art = picture("jpg")
    song = Tags(title="Song", artist="Band", album="LP", artwork=art, artwork_mime="image/jpeg", comment="hi")
    cover = cover_tags(song, "Nova")
    assert cover.title == "Song (Nova cover)"
    assert (cover.artist, cover.album, cover.artwork) == ("Nova", "LP", art)
    assert (cover.album_artist, cover.composer) == ("Nova (AI cover)", "Band")
    assert "AI-generated cover" in cover.comment
    assert "Nova" in cover.comment
    assert cover.encoded_by == MAKER
    path = encoded(tmp_path, form, cover)
    found = read_tags(path)
    assert found.comment == "AI-generated cover, voice: Nova, made with Understudy. Original: Band – Song"
    kept = ("title", "artist", "album", *(() if form.startswith("wav") else ("album_artist", "composer", "artwork")))
    assert {name: getattr(found, name) for name in kept} == {name: getattr(cover, name) for name in kept}
    assert made_by_understudy(path)


def test_a_cover_of_a_cover_names_one_voice():
    first = cover_tags(Tags(title="Song (Live)"), "Nova")
    assert cover_tags(first, "Mia").title == "Song (Live) (Mia cover)"
    assert cover_tags(Tags(title="Song (Live cover)"), "Mia").title == "Song (Live cover) (Mia cover)"


def test_a_cover_of_a_cover_credits_the_song_s_artist():
    first = cover_tags(Tags(title="Song", artist="Band"), "Nova")
    second = cover_tags(first, "Mia")
    assert (second.artist, second.composer) == ("Mia", "Band")
    assert second.comment.endswith("Original: Band – Song")


def test_templates():
    song = Tags(title="Song", artist="Band", album="LP", composer="A. Nother", date="1999", artwork=b"x")
    settings = TagSettings(
        title_template="{artist} - {title} [{date}]", artist_template="{artist} feat. {voice}", album_template="Covers",
        album_artist_template="", composer_template="{composer}, {artist}", artwork="none",
    )  # fmt: skip
    cover = cover_tags(song, "Nova", settings)
    assert (cover.title, cover.artist, cover.album) == ("Band - Song [1999]", "Band feat. Nova", "Covers")
    assert (cover.album_artist, cover.composer, cover.artwork) == ("", "A. Nother, Band", b"")
    assert cover_tags(Tags(title="Song"), "Nova", settings).title == "Song"
    named = cover_tags(song, "Nova", TagSettings(song_title="Right", song_artist="Other"))
    assert named.title == "Right (Nova cover)"
    assert named.comment.endswith("Original: Other – Right")


def test_what_is_unknown_leaves_no_brackets_and_separators():
    values = {"title": "( )", "artist": "", "date": "", "voice": "Nova"}
    assert filled("{artist} - {title} ({date}) [{voice}]", values) == "( ) [Nova]"
    assert filled("{title} – {artist}", values) == "( )"
    assert filled("{artist}", values) == ""
    assert filled("{voice} -", values) == "Nova -"


@pytest.mark.parametrize("wrong", ["{titel}", "{title", "title}", "{title.x}", "{}", "{{title}}", "{title!r}"])
def test_a_template_with_unknown_braces_is_refused(wrong):
    with pytest.raises(ValidationError, match="in braces there may be title, artist"):
        TagSettings(title_template=wrong)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_artwork_from_a_file(tmp_path, kind):
    path = tmp_path / "front"
    path.write_bytes(picture(kind))
    assert read_artwork(path) == (picture(kind), {"jpg": "image/jpeg", "png": "image/png"}[kind])


def test_artwork_that_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "front.jpg"
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(UnderstudyError, match="no JPEG or PNG") as raised:
        read_artwork(path)
    assert raised.value.code == "artwork-invalid"
    with pytest.raises(UnderstudyError) as raised:
        read_artwork(tmp_path / "missing.jpg")
    assert raised.value.code == "file-not-found"


@pytest.mark.parametrize("form", FORMATS)
def test_a_stem_is_marked_as_ours_but_not_as_a_cover(tmp_path, form):
    stem = stem_tags(SONG, "vocals")
    assert stem.title == "Liebe – 曲 (vocals)"
    assert "AI-generated cover" not in stem.comment
    assert made_by_understudy(encoded(tmp_path, form, stem))


def test_a_song_without_a_title_gets_one():
    assert cover_tags(Tags(), "Nova").title == "Untitled (Nova cover)"


def test_made_by_understudy_is_false_for_everything_else(tmp_path):
    assert not made_by_understudy(tmp_path / "missing.flac")
    assert not made_by_understudy(tmp_path)
    (tmp_path / "text.flac").write_text("made with Understudy")
    assert not made_by_understudy(tmp_path / "text.flac")
    assert not made_by_understudy(write(tmp_path / "song.mp3", tones()))
    assert not made_by_understudy(encoded(tmp_path, "flac", SONG))


def test_tags_of_other_programs_are_read(tmp_path):
    path = write_av(tmp_path / "a.mkv", tones(), "matroska", "aac", "fltp", 44100)
    assert read_tags(path) == Tags()
    path = tmp_path / "a.mp3"  # ID3v1 at the end of the file, in Latin-1
    write_av(path, tones(), "mp3", "libmp3lame", "fltp", 44100, {"id3v2_version": "0"})
    tag = b"TAG" + b"Caf\xe9".ljust(30, b"\0") + b"Band".ljust(30, b"\0") + b"LP".ljust(30, b"\0") + b"1999"
    path.write_bytes(path.read_bytes() + tag + bytes(30) + b"\x11")
    got = read_tags(path)
    assert (got.artist, got.album, got.date) == ("Band", "LP", "1999")


def test_hostile_text_is_cut_and_cleaned(tmp_path):
    tags = Tags(title="a" * 100_000, artist="line\x1b[31mred\x07")
    got = read_tags(encoded(tmp_path, "flac", tags))
    assert len(got.title) == 2000
    assert got.artist == "line[31mred"


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_picture_size(kind):
    assert picture_size(picture(kind)) == (64, 48)
    for cut in range(0, 200, 3):
        assert picture_size(picture(kind)[:cut]) in (None, (64, 48))
    assert picture_size(b"\xff\xd8" + b"\xff" * 100) is None
    assert picture_size(b"\xff\xd8\xff\xe0\x00\x00" * 50) is None


def test_picture_block_is_base64_of_the_flac_layout():
    import base64

    block = base64.b64decode(picture_block(b"data", "image/png", (64, 48)))
    assert block[:4] == b"\0\0\0\3"
    assert block[8:17] == b"image/png"
    assert block[-8:] == b"\0\0\0\4data"
