"""Names of voices must be folders on every file system, and one that is mistyped must be recognised."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnderstudyError
from understudy.voices.names import unknown, valid_name


@pytest.mark.parametrize("name", ["nova", "Nova 2", "Zoë", "初音ミク", "it's-me_v1.2", "R&B (live)", "Ελένη", "7"])
def test_good_names_stay(name: str) -> None:
    assert valid_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../x", "a/b", "a\\b", "C:", "a\0b", "a\nb", ".hidden", "-rf", "x.", "x ", " x", "con",
     "Com1.txt", "NUL .wav", "n" * 65, "声" * 67, "a\u202eb", "---", "\ud800", "a:b", "a*b", "<x>", "~", "$HOME"],
)  # fmt: skip
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UnderstudyError) as refused:
        valid_name(name)
    assert refused.value.code == "voice-name-invalid"
    refused.value.message.encode()


def test_one_spelling_of_one_name() -> None:
    assert valid_name("Zoe\u0308") == valid_name("Zo\u00eb") == "Zo\u00eb"


@given(st.text(max_size=80))
def test_any_name_that_passes_is_one_plain_folder(name: str) -> None:
    try:
        valid = valid_name(name)
    except UnderstudyError:
        return
    assert unicodedata.is_normalized("NFC", valid)
    assert valid_name(valid) == valid
    assert Path(valid).name == PureWindowsPath(valid).name == valid
    assert not valid.startswith(".")


def test_the_nearest_names_are_suggested_first() -> None:
    assert unknown("nvoa", ["luna", "nova", "stella"]).hint == "Did you mean 'nova'?"
    assert "'Stella Maris'" in unknown("stel", ["Stella Maris", "nova"]).hint
    assert "nova" in unknown("xyzzy", ["nova"]).hint
    assert "voices add" in unknown("nova", []).hint
