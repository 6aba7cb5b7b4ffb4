"""What users write of stems, levels and formats."""

from __future__ import annotations

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.separation_request import (
    SETS,
    STEMS,
    Container,
    container_named,
    parse_guide,
    parse_levels,
    parse_stems,
)


def test_numbers_and_names_of_stems():
    assert parse_stems("2") == ("vocals", "instrumental")
    assert parse_stems(" 4 ") == ("vocals", "drums", "bass", "other")
    assert set(parse_stems("6")) - set(parse_stems("4")) == {"guitar", "piano"}
    assert parse_stems("lead, Backing,drums,lead") == ("lead", "backing", "drums")
    assert parse_stems("Lead Vocals,drum") == ("lead", "drums")
    assert all(stem in STEMS for stems in SETS.values() for stem in stems)


@pytest.mark.parametrize("text", ["", "3", "kazoo", "vocals,", "vocals,,drums", "vocals drums tuba"])
def test_what_names_no_stems_is_said(text: str):
    with pytest.raises(UnderstudyError) as failed:
        parse_stems(text)
    assert failed.value.code == "stems-invalid"
    assert "vocals" in failed.value.hint


def test_levels():
    assert parse_levels("vocals=-6,drums=+2") == {"vocals": -6.0, "drums": 2.0}
    assert parse_levels("vocals = -3.5 dB, bass=off,piano=-inf,guitar=mute") == {
        "vocals": -3.5, "bass": None, "piano": None, "guitar": None,
    }  # fmt: skip
    assert parse_guide("-9") == -9
    assert parse_guide("off") is None


@pytest.mark.parametrize(
    "text", ["", "vocals", "vocals=", "vocals=loud", "vocals=nan", "vocals=99", "tuba=1", "vocals=1,vocals=2", "=3"]
)
def test_what_is_no_mix_is_said(text: str):
    with pytest.raises(UnderstudyError) as failed:
        parse_levels(text)
    assert failed.value.code == "mix-invalid"


@pytest.mark.parametrize(
    ("text", "container"),
    [
        ("stem.m4a", Container("aac", ".stem.m4a")),
        (".STEM.MP4", Container("aac", ".stem.mp4")),
        ("stems", Container("aac", ".stem.m4a")),
        ("stem.m4a:alac", Container("alac", ".stem.m4a")),
        ("stem:aac", Container("aac", ".stem.m4a")),
        ("m4a", None),
        ("flac", None),
        ("stem.wav", None),
        ("stem.m4a:mp3", None),
    ],
)
def test_names_of_files_for_dj_software(text: str, container: Container | None):
    assert container_named(text) == container
