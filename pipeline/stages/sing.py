"""The stages between the original vocal and the voice's: prepare the voice, choose the transpose, convert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from audio.context import Context
from audio.models import Weights
from audio.pitch import PitchTrack
from audio.stored import AudioFile
from voices.engine import ConversionSettings, Performance
from voices.engines import engine
from voices.transpose import Transposition, choose_transpose
from voices.voice import Voice


def prepare(context: Context, voice: Voice) -> Path:
    """What the voice's engine can make from the voice alone."""
    return engine(voice.manifest.engine).prepare(context, voice)


def transpose(
    context: Context, pitch: PitchTrack, voice: Voice, requested: Literal["auto"] | int, key: int
) -> Transposition:
    """How many semitones higher the voice sings than the original singer, and why."""
    chosen = choose_transpose(pitch, voice.manifest.pitch_range, requested=requested, key=key)
    for warning in chosen.warnings:
        context.warn(warning)
    return chosen


def convert(
    context: Context,
    vocals: AudioFile,
    pitch: PitchTrack,
    transposition: Transposition,
    prepared: Path,
    voice: Voice,
    models: Mapping[str, Weights],
    settings: ConversionSettings,
) -> AudioFile:
    """The vocals sung by the voice, mono and dry. `models`: what the voice's engine needs, by name."""
    performance = Performance(vocals, pitch, transposition.semitones)
    return engine(voice.manifest.engine).convert(context, performance, voice, prepared, settings, models)
