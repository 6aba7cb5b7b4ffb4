"""The stage that measures all that no gain changes: the stems, the melody, the voice."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.report.assess_parts import assess as assess_vocal
from understudy.pipeline.report.assessment import Assessment
from understudy.pipeline.report.inputs import AssessInputs, Singer
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice


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
) -> Assessment:
    """`vocals` is the finished vocal, before any gain."""
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
    return assess_vocal(context, inputs)


def assess_cast(
    context: Context,
    song: AudioFile,
    original_vocals: AudioFile,
    vocals: AudioFile,
    converted: AudioFile,
    instrumental: AudioFile,
    pitch: PitchTrack,
    target: PitchTrack,
    turns: Sequence[tuple[int, int, int]],
    singers: Sequence[Voice],
) -> Assessment:
    """As `assess`, of a vocal that several voices share. `target`: the pitch that they are to sing. `turns`: (number of
    the singer, first frame, end) as `understudy.pipeline.stages.cast.join` gave them."""
    shares = tuple(
        Singer(
            voice.name,
            tuple(voice.recording_files),
            tuple((start / song.rate, stop / song.rate) for number, start, stop in turns if number == place),
        )
        for place, voice in enumerate(singers)
    )
    inputs = AssessInputs(
        song, original_vocals, vocals, converted, instrumental, pitch, 0.0, wanted=target, singers=shares
    )
    return assess_vocal(context, inputs)
