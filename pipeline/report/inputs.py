"""`ReportInputs`: everything that a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio.pitch import PitchTrack
from audio.stored import AudioFile


@dataclass(frozen=True)
class ReportInputs:
    """What was made and how. All audio is sample-aligned with `song` and exactly as long.

    `original_vocals` and `instrumental` are what separation gave, the latter moved by `key`; `converted` is the
    conversion as the engine left it (mono, dry); `vocals` is the finished vocal that went into the cover. `pitch` is
    the track of `original_vocals`. `transpose`: semitones by which the vocal was moved in all, `key` included, and
    `transpose_reason` says why in one sentence. `key`: semitones by which the whole song was moved.
    `settings`: all settings by stage, plain values only. `warnings`: (stage, sentence), in order.
    `recordings`: the voice's own (mono files that soundfile reads). `loudness`: what remix says of itself, copied
    into the JSON as it is. `wanted_balance`: dB by which the user asked for the vocal to be louder against the
    instrumental; `wanted_lufs`: the loudness that was asked for, None for the song's own.
    """

    song: AudioFile
    cover: AudioFile
    original_vocals: AudioFile
    vocals: AudioFile
    converted: AudioFile
    instrumental: AudioFile
    pitch: PitchTrack
    transpose: float
    transpose_reason: str
    key: int
    title: str
    artist: str
    voice: str
    recordings: tuple[Path, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    loudness: Mapping[str, Any] | None = None
    wanted_balance: float = 0.0
    wanted_lufs: float | None = None
