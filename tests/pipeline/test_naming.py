"""Names of covers: templates, what differs, and what file systems take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import signals
from understudy.audio.encode import encode, parse_format
from understudy.audio.stored import write_blocks
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.naming import cover_name, safe
from understudy.pipeline.publish import beside
from understudy.pipeline.settings import load_settings


def name(options: Mapping[str, Any], preset: str | None = None, song: str = "song.mp3", voice: str = "nova") -> str:
    return cover_name(load_settings(preset, options, {}), Path(song), voice)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, ""),
        ({"remix.vocal_gain": 4}, ", vocal +4 dB"),
        ({"remix.vocal_gain": -1.5, "key": 2, "transpose": -12}, ", transpose -12, key +2, vocal -1.5 dB"),
        ({"song.start": "1:05", "song.duration": 20}, ", from 65 s, 20 s long"),
        ({"conversion.index_rate": 0.3, "conversion.seed": 7}, ", index rate 0.3, seed 7"),
        ({"finish.effects": False}, ", no effects"),
        ({"backing": "mute"}, ", backing mute"),
        ({"output.format": "mp3", "output.keep_stems": True, "tags.song_title": "x"}, ""),
        ({"output.format": "wav24"}, ""),
        ({"output.format": "wav16"}, ", wav16"),
        ({"output.format": "mp3:192"}, ", mp3 192"),
    ],
)
def test_the_default_name_says_what_differs(options: dict[str, Any], changes: str):
    assert name(options) == f"song (nova{changes})"


def test_a_preset_is_named_and_what_differs_from_it():
    assert name({"remix.vocal_gain": 1}, "studio") == "song (nova, studio, vocal +1 dB)"


def test_many_changes_are_counted():
    options = {"key": 2, "transpose": 3, "remix.vocal_gain": 1, "remix.instrumental_gain": -1, "pitch.low": 60,
               "pitch.high": 900, "conversion.index_rate": 0.3, "conversion.protect": 0.2}  # fmt: skip
    found = name(options)
    assert found.endswith(" more)")
    assert len(found) < 110


def test_tags_fill_a_template(tmp_path: Path):
    sound = signals.song(1.0).mix
    stored = write_blocks(tmp_path / "song.npy", sound.rate, sound.channels, [sound])
    tags = Tags(title="Back in: Black?", artist="AC/DC", album="", track="6")
    song = encode(Context(tmp_path), stored, tmp_path / "file.flac", parse_format("flac"), tags)
    plain = encode(Context(tmp_path), stored, tmp_path / "plain.flac", parse_format("flac"), Tags())
    template = {"output.name": "{artist} - {title} ({voice}{changes})", "key": -1}
    assert name(template, song=str(song)) == "AC-DC - Back in- Black (nova, key -1)"
    assert name(template, song=str(plain)) == "plain (nova, key -1)"
    assert name({"output.name": "{track} {title} [{album}]"}, song=str(song)) == "6 Back in- Black"
    assert name({"output.name": "{song}.{voice}"}, song=str(song)) == "file.nova"


@pytest.mark.parametrize("template", ["{artists} - {title}", "{title", "{}", "{title!r}", "{voice.manifest}"])
def test_a_template_with_an_unknown_field_is_refused(template: str):
    with pytest.raises(UnderstudyError) as raised:
        load_settings(None, {"output.name": template}, {})
    assert raised.value.code == "setting-invalid"
    assert "in braces there may be title, artist" in raised.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CON", "_CON"), ("nul.live", "_nul.live"), ("LPT1", "_LPT1"), ("console", "console"), ("..", "cover"),
        ("...Baby One More Time.", "Baby One More Time"), ("a\x00b\tc\n", "ab c"), ("caf\udce9", "café"),
        ('<"What?">|*\\', "('What')---"), ("Ünïcode 歌 👩‍🎤", "Ünïcode 歌 👩‍🎤"),
    ],
)  # fmt: skip
def test_what_file_systems_refuse_is_replaced(text: str, expected: str):
    assert safe(text) == expected


@given(st.text(st.characters(codec=None), max_size=60), st.text(max_size=300))
def test_every_name_is_one_that_windows_takes(song: str, voice: str):
    found = safe(f"{song} ({voice})")
    assert found
    assert not set(found) & set('/\\:*?"<>|')
    assert all(letter >= " " for letter in found)
    assert found == found.strip(" .")
    found.encode()


@pytest.mark.parametrize("voice", ["nova", "声" * 64, "a + b + c + d" * 20])
@pytest.mark.parametrize("song", ["song", "歌" * 83, "é" * 125, "a" * 251])
def test_all_that_stands_beside_a_cover_has_a_name_that_file_systems_take(tmp_path: Path, song: str, voice: str):
    """And it keeps what tells versions apart."""
    found = name({"remix.vocal_gain": 4}, song=f"{song}.wav", voice=voice)
    assert found.endswith(", vocal +4 dB)")
    for cover in (f"{found}.flac", f"{found} 9999.flac"):
        tails = (".flac.report.html", ".flac stems")
        for place in (tmp_path / cover, *(beside(tmp_path / cover, tail) for tail in tails)):
            place.write_bytes(b"x")
            assert place.name.startswith(found)
            place.unlink()
    assert len(os.fsencode(found)) <= 215


def test_formats_of_one_name_have_reports_of_their_own(tmp_path: Path):
    places = {beside(tmp_path / f"two{suffix}", f"{suffix}.report.html").name for suffix in (".flac", ".mp3")}
    assert places == {"two.flac.report.html", "two.mp3.report.html"}
