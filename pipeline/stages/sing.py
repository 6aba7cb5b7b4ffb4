"""The stages that change pitch and voice: prepare the voice, choose the transpose, convert the vocal, and shift what
isn't converted into the requested key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from understudy.audio.chorus import Chorus
from understudy.audio.key_shift import shift_key
from understudy.audio.pitch import PitchTrack
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.models import Weights
from understudy.pipeline.stages.passage import AROUND
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.library import refuse_revoked
from understudy.voices.transpose import Transposition, choose_transpose
from understudy.voices.voice import Voice


def prepare(context: Context, voice: Voice) -> Path:
    """What the voice's engine can make from the voice alone. Raises ``consent-revoked``."""
    refuse_revoked(voice)
    return engine(voice.manifest.engine).prepare(context, voice)


def transpose(
    context: Context, pitch: PitchTrack, voice: Voice, requested: Literal["auto"] | int, key: int
) -> Transposition:
    """How many semitones higher the voice sings than the original singer, and why."""
    chosen = choose_transpose(pitch, voice.pitch_range, requested=requested, key=key)
    for warning in chosen.warnings:
        context.warn(warning)
    return chosen


def study(
    context: Context,
    vocals: AudioFile,
    pitch: PitchTrack,
    prepared: Path,
    voice: Voice,
    settings: ConversionSettings,
) -> Path | None:
    """What the voice's engine must know of all the vocals to sing a part of them. Raises ``consent-revoked``."""
    refuse_revoked(voice)
    return engine(voice.manifest.engine).study(context, Performance(vocals, pitch, 0.0), prepared, settings)


def convert(
    context: Context,
    vocals: AudioFile,
    pitch: PitchTrack,
    transposition: Transposition,
    prepared: Path,
    studied: Path | None,
    voice: Voice,
    models: Mapping[str, Weights],
    settings: ConversionSettings,
    part: Chorus | None = None,
) -> AudioFile:
    """The vocals sung by the voice, mono and dry; given a `part`, that and what the stages after it look at around it,
    with silence elsewhere. `models`: what the voice's engine needs, by name. Raises ``consent-revoked``."""
    refuse_revoked(voice)
    around = None if part is None else (part.start - AROUND, part.stop + AROUND)
    performance = Performance(vocals, pitch, transposition.semitones, around)
    return engine(voice.manifest.engine).convert(context, performance, voice, prepared, settings, models, studied)


def shift(context: Context, sound: AudioFile, semitones: int) -> AudioFile:
    """The `sound` `semitones` higher at the same tempo, exactly as long."""
    blocks = shift_key(sound, semitones, context)
    return write_blocks(context.folder / "sound.npy", sound.rate, sound.channels, blocks)
