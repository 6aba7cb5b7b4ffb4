"""What a batch plans: the names of its covers, and all that is wrong with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.support import signals
from understudy.errors import UnderstudyError
from understudy.services.batch.chart import Chart, Row, Singers
from understudy.services.batch.plan import FoundVoice, Item, Plan, plan
from understudy.services.batch.timing import Work


class _Maker:
    """Knows the voice nova."""

    def find(self, singers: Singers) -> FoundVoice:
        if singers.voice != "nova":
            raise UnderstudyError("voice-unknown", f"There is no voice named {singers.voice!r}.", "List them.")
        return FoundVoice(singers.voice, "1")

    def check(self, item: Item) -> Sequence[Work]:
        return ()

    def make(self, item: Item, notify: object, stop: object) -> Mapping[str, Any]:
        raise NotImplementedError


def _planned(rows: Sequence[Row], folder: Path, before: Sequence[Item] = ()) -> Plan:
    return plan(Chart(tuple(rows)), folder, None, {}, False, _Maker(), before)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    sound = signals.song(2.0).mix
    soundfile.write(tmp_path / "hit.wav", sound.samples.T, sound.rate)
    return tmp_path / "hit.wav"


def test_only_formats_of_one_cover_have_the_same_name(tmp_path: Path, song: Path) -> None:
    """Of other covers the name says what differs."""
    cells = [("flac", 0), ("mp3", 0), ("mp3", 2), ("m4a", 3), ("flac", 2)]
    rows = [
        Row(f"line {number}", song, Singers("nova"), {"output.format": format, "remix.vocal_gain": gain})
        for number, (format, gain) in enumerate(cells, start=2)
    ]
    louder = ["hit (nova, vocal +2 dB).mp3", "hit (nova, vocal +3 dB).m4a", "hit (nova, vocal +2 dB).flac"]
    names = ["hit (nova).flac", "hit (nova).mp3", *louder]
    items = _planned(rows, tmp_path / "covers").items
    assert [item.output.name for item in items] == names
    later = _planned(rows[3:], tmp_path / "covers", items[:3]).items
    assert [(item.number, item.output.name) for item in later] == [(4, names[3]), (5, names[4])]


def test_what_is_swept_is_in_the_name(tmp_path: Path, song: Path) -> None:
    rows = [
        Row("line 2", song, Singers("nova"), {"conversion.index_rate": value}, swept={"index_rate": value})
        for value in (0.25, 0.5)
    ]
    names = [item.output.name for item in _planned(rows, tmp_path / "covers").items]
    assert names == ["hit (nova, index rate 0.25).flac", "hit (nova, index rate 0.5).flac"]


def test_all_problems_of_all_rows_are_told_at_once(tmp_path: Path, song: Path) -> None:
    wrong = {"remix.vocal_gain": "loud", "key": 99, "conversion.protect": 3}
    rows = [
        Row("line 2", song, Singers("nova")),
        Row("line 3", tmp_path / "gone.wav", Singers("nobody"), wrong),
        Row("line 4", tmp_path / "gone.wav", Singers("nova")),
        Row("line 5", None, Singers(""), problems=("it names no song", "it names no voice")),
    ]
    planned = _planned(rows, tmp_path / "covers")
    assert [item.row.source for item in planned.items] == ["line 2"]
    with pytest.raises(UnderstudyError) as caught:
        planned.check(skip_invalid=False)
    told = caught.value.message
    assert told.startswith("3 of 4 covers can't be made:")
    for words in ("line 3, line 4: ", "gone.wav", "'nobody'", "remix.vocal_gain", "'key'", "conversion.protect"):
        assert words in told
    assert "line 5: it names no song" in told
    assert "line 5: it names no voice" in told
    assert "--skip-invalid" in caught.value.hint
    planned.check(skip_invalid=True)
    with pytest.raises(UnderstudyError):
        _planned(rows[1:], tmp_path / "covers").check(skip_invalid=True)  # nothing would be left
