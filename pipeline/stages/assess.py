"""The stage that judges all that no gain changes: the stems, the melody, the voice."""

from __future__ import annotations

from typing import Any

from audio.context import Context
from audio.pitch import PitchTrack
from audio.stored import AudioFile
from pipeline.report.inputs import AssessInputs
from pipeline.report.listen import assess as assess_vocal
from voices.transpose import Transposition
from voices.voice import Voice


def assess(
    context: Context,
    song: AudioFile,
    original_vocals: AudioFile,
    vocals: AudioFile,
    converted: AudioFile,
    instrumental: AudioFile,
    pitch: PitchTrack,
    transposition: Transposition,
    voice: Voice,
) -> dict[str, Any]:
    """An `Assessment` as a value; `vocals` is the finished vocal, before any gain."""
    inputs = AssessInputs(
        song,
        original_vocals,
        vocals,
        converted,
        instrumental,
        pitch,
        transposition.semitones,
        tuple(voice.recording_files),
    )
    return assess_vocal(context, inputs).as_value()
