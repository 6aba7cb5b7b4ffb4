"""What the two halves of the report are made from: `AssessInputs` before the mix, `ReportInputs` with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.audio.pitch import PitchTrack
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.pipeline.report.assessment import Assessment
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.quality import NOTHING, Quality
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.stages.cast import VoicePart
from understudy.pipeline.stages.remix import CoverLoudness
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice


@dataclass(frozen=True)
class AssessInputs:
    """The song, its stems and the new vocal, all sample-aligned with `song` and exactly as long.

    `original_vocals` and `instrumental` are what separation gave, the latter moved by the song's new key; `converted`
    is the conversion as the engine left it (mono, dry); `vocals` is the finished vocal, before any gain. `pitch` is
    the track of `original_vocals`. `transpose`: semitones by which the vocal was moved in all. `recordings`: the
    voice's own (mono files that soundfile reads). Where several voices share the vocal, `singers` are they, `turns`
    says when each sings (number of the singer, first frame, end), and `wanted` is the pitch that they are to sing.
    """

    song: AudioFile
    original_vocals: AudioFile
    vocals: AudioFile
    converted: AudioFile
    instrumental: AudioFile
    pitch: PitchTrack
    transpose: float = 0.0
    recordings: Sequence[Path] = ()
    wanted: PitchTrack | None = None
    singers: Sequence[Voice] = ()
    turns: Sequence[tuple[int, int, int]] = ()


@dataclass(frozen=True)
class ReportInputs:
    """What was assessed before the mix, and the mix.

    `cover` is aligned with `vocals` and `instrumental`, the parts that were mixed. `loudness`: what remix measured.
    `transposition`: how the vocal was moved in all, `key` included. `key`: semitones by which the whole song was moved.
    `original`: the file whose tags give `title` and `artist`. `settings`: all settings by stage, plain values only.
    `warnings`: (stage, sentence), in order. `wanted_balance`: requested gain of the vocal against the instrumental in
    dB; `wanted_lufs`: the requested loudness, None for the song's own. `singers`: where several voices sing, all of
    them. `chain`: what each step of the separation's chain did. `quality`: of the separation; `separation`: its
    settings, None for own stems. `analysis`: tempo and key of the song.
    """

    assessment: Assessment
    cover: AudioFile
    vocals: AudioFile
    instrumental: AudioFile
    loudness: CoverLoudness
    transposition: Transposition
    key: int
    voice: str
    title: str = ""
    artist: str = ""
    original: Path | None = None
    settings: Mapping[str, Mapping[str, Any]] | None = None
    warnings: Sequence[tuple[str, str]] = ()
    wanted_balance: float = 0.0
    wanted_lufs: float | None = None
    singers: tuple[VoicePart, ...] = ()
    quality: Quality = NOTHING
    analysis: SongAnalysis = field(default_factory=SongAnalysis)
    separation: SeparationSettings | None = None
    chain: tuple[StepReport, ...] = ()
