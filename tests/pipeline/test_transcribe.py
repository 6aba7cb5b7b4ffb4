"""Tempo and key of a song, in the graph and in the MIDI files of its stems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.stages import transcribe

RATE = 22050


def tone(folder: Path) -> AudioFile:
    sound = 0.3 * np.sin(2 * np.pi * 220 * np.arange(4 * RATE) / RATE)
    return write_blocks(folder / "tone.npy", RATE, 1, [Audio.of(sound[None], RATE)])


def test_notes_lie_on_the_song_s_beats(tmp_path: Path):
    pitch = PitchTrack(np.full(801, 220, np.float32))
    song = SongAnalysis(bpm=100.0, beats=tuple(0.1 + 0.6 * np.arange(8)), key="F# minor")
    content = transcribe.melody(Context(tmp_path), tone(tmp_path), pitch, song, "vocals").read_bytes()
    tempo = content.index(b"\xff\x51\x03") + 3
    assert b"\xff\x51\x03" + (600_000).to_bytes(3, "big") in content, content[tempo : tempo + 3].hex()
    assert b"\xff\x59\x02\x03\x01" in content  # three sharps, minor


def test_without_librosa_a_warning_and_no_tempo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(*arguments: Any) -> SongAnalysis:
        raise UnderstudyError("package-missing", "librosa is missing.", "Install it.")

    monkeypatch.setattr(transcribe, "analyse_song", missing)
    context = Context(tmp_path)
    assert transcribe.tempo(context, tone(tmp_path)) == SongAnalysis()
    assert context.warnings == ["Tempo and key were not measured. librosa is missing. Install it."]
