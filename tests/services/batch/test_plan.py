"""What a batch plans: the names of its covers."""

from __future__ import annotations

from pathlib import Path

import soundfile

from tests.support import signals
from understudy.services.batch.chart import Row
from understudy.services.batch.plan import FoundVoice, plan


def test_only_formats_of_one_cover_have_the_same_name(tmp_path: Path) -> None:
    """They have one report, and another cover has another."""
    song = tmp_path / "hit.wav"
    sound = signals.song(2.0).mix
    soundfile.write(song, sound.samples.T, sound.rate)
    cells = [("flac", 0), ("mp3", 0), ("mp3", 2), ("m4a", 3), ("flac", 2)]
    rows = [
        Row(f"line {number}", song, "nova", {"output.format": format, "remix.vocal_gain": gain})
        for number, (format, gain) in enumerate(cells, start=2)
    ]
    items = plan(rows, tmp_path / "covers", None, {}, False, lambda name: FoundVoice(name, "1"))
    assert [item.output.name for item in items] == [
        "hit (nova).flac",
        "hit (nova).mp3",
        "hit (nova) 2.mp3",
        "hit (nova) 3.m4a",
        "hit (nova) 2.flac",
    ]
