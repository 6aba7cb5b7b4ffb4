"""What the jobs return: frozen dataclasses with paths, figures, and stems that are read when they are needed.

Each result has a ``to_dict``: the JSON object that the command line prints with ``--json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.pipeline.evaluation.run import Row
from understudy.pipeline.executor import StageRun
from understudy.pipeline.report.verdict import Weakness
from understudy.pipeline.report.words import HEADLINES
from understudy.pipeline.separation.advice import Remark
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.quality import Quality
from understudy.pipeline.stages.cast import VoicePart
from understudy.pipeline.stages.rebalance import RebalancedLoudness
from understudy.pipeline.stages.remix import CoverLoudness
from understudy.sounds import AudioRef


@dataclass(frozen=True)
class StageWarning:
    """A sentence for the user about what a stage met. `stage`: the stage's name."""

    stage: str
    warning: str


@dataclass(frozen=True)
class Verdict:
    """Whether a cover can be used as it is.

    `overall`: ``good``, ``mind`` (usable, with something to listen for) or ``wrong``. `blame`: the stage to look at
    first, empty when all is good. `reason`: one sentence. `grade`: 0 to 100, the same as a number. `weaknesses`: the
    worst first, each with a sentence and the one action that helps most.
    """

    overall: Literal["good", "mind", "wrong"]
    blame: str
    reason: str
    grade: float
    weaknesses: tuple[Weakness, ...] = field(default=(), repr=False)

    @property
    def headline(self) -> str:
        """`overall` in everyday words, as the report and the page have them."""
        return HEADLINES[self.overall]


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness of `song` and `cover` in LUFS (ITU-R BS.1770-4) and the cover's `true_peak` in
    dBTP. `details`: all that the remix measured and did, as in the report."""

    song: float
    cover: float
    true_peak: float
    details: CoverLoudness = field(repr=False)


@dataclass(frozen=True)
class ReportFigure:
    """One measurement of the report against its limits. `value` is in `unit`, None where it was not measured;
    `verdict`: ``good``, ``mind``, ``wrong`` or ``unknown``; `stage`: the one that it tells of."""

    value: float | None
    unit: str
    verdict: Literal["good", "mind", "wrong", "unknown"]
    stage: str


@dataclass(frozen=True)
class CoverResult:
    """A finished cover.

    - `path`: the cover. `report_path`: its report, an HTML page, beside which lie the same figures as ``.json``. Where
      an input was an array and no output was named, both are files in the cache: copy what you keep.
    - `video_path`: the video, with the setting ``output.video``; else None. `credentials_path`: the signed manifest
      (C2PA) of a cover in a format that can't hold it (Opus); else None.
    - `audio`: the cover's samples. `stems`: by name, the parts that sum to the cover, with the setting
      ``output.keep_stems``; else empty. `stem_gain`: as in `SeparationResult`, here for a sum that is the cover.
    - `duration`: in seconds. `sample_rate`: in Hz.
    - `transpose`: semitones that the vocal moved against the original singer (of several voices, the first).
      `transpose_reason`: why.
    - `voices`: what each voice sings; empty where one sings everything.
    - `key`: semitones that the entire song moved.
    - `chain`: what the steps of the separation took off the lead.
    - `loudness`, `verdict`, and `quality`, an estimate of how well vocals and instrumental were separated.
    - `vocal_level`: dB of the new vocal against the old one, each beside its instrumental, less the requested gain; the
      old one's level is estimated where the separator takes a part of it away. None where there is nothing to compare.
    - `leftover`: dB of the original singer that is left in the cover against the new vocal, estimated within
      `leftover_error` dB on two of three songs; None where the separator gives no hint. `brightness`: dB by which the
      new vocal is brighter than the original one (above 3 kHz against below); None without singing.
    - `similarity`: of the new vocal to the voice's recordings: a cosine of speaker embeddings, -1..1. None where there
      is no model or nothing to compare. `figures`: all that the report judges, by name.
    - `grade`: the verdict's, by which `understudy.rank` sorts covers.
    - `bpm`: the song's tempo in beats per minute. `song_key`: its key, such as ``F# minor``. None where it has none.
    - `stages`: how long each stage took, and whether it came from the cache.
    - `warnings`: in the order of the stages.
    """

    path: Path
    report_path: Path
    audio: AudioRef
    stems: Mapping[str, AudioRef]
    duration: float
    sample_rate: int
    transpose: int
    transpose_reason: str
    voices: tuple[VoicePart, ...]
    key: int
    chain: tuple[StepReport, ...]
    loudness: Loudness
    verdict: Verdict
    quality: Quality
    bpm: float | None
    song_key: str | None
    stages: tuple[StageRun, ...] = field(repr=False)
    warnings: tuple[StageWarning, ...]
    vocal_level: float | None = None
    leftover: float | None = None
    leftover_error: float | None = None
    brightness: float | None = None
    video_path: Path | None = None
    credentials_path: Path | None = None
    similarity: float | None = None
    stem_gain: float | None = None
    figures: Mapping[str, ReportFigure] = field(default_factory=dict, repr=False)

    @property
    def grade(self) -> float:
        return self.verdict.grade

    def to_dict(self) -> dict[str, Any]:
        """As ``understudy cover --json`` prints it."""
        verdict = self.verdict
        return {
            "cover": str(self.path),
            "report": str(self.report_path),
            **({"credentials": str(self.credentials_path)} if self.credentials_path else {}),
            **({"video": str(self.video_path)} if self.video_path else {}),
            **_fields(self, "stems stem_gain duration sample_rate transpose transpose_reason voices key bpm song_key"),
            **_fields(self, "chain loudness vocal_level leftover leftover_error brightness similarity"),
            "verdict": {"verdict": verdict.overall, **_fields(verdict, "headline blame reason grade weaknesses")},
            **_fields(self, "figures stages warnings"),
        }


@dataclass(frozen=True)
class SeparationResult:
    """A song taken apart.

    - `stems`: by name, each as long as the song and aligned with it.
    - `stem_file`: the one file that holds all stems, where a file for DJ software was requested.
    - `mix`, `karaoke`: the song at other levels, where requested. `midi`: files with the notes of stems, by stem.
    - `sum_to_song`: whether the stems sum to the song; None where there are none. `stem_gain`: dB that all their files
      were turned by so that none clips, 0 or less; with wav32f 0. Turned back by it, they sum to the song.
    - `loudness`: by ``mix`` and ``karaoke``, what was measured and done.
    - `chain`: what the steps of the separation took off the lead.
    - `quality`: an estimate of how well vocals and instrumental were separated. `remarks`: the same in words, with
      advice.
    - `bpm`, `song_key`, `stages`, `warnings`: as in `CoverResult`.

    Where the song was an array and no output was named, all paths are those of files in the cache: copy what you keep.
    """

    stems: Mapping[str, AudioRef]
    stem_file: Path | None
    mix: AudioRef | None
    karaoke: AudioRef | None
    midi: Mapping[str, Path]
    sum_to_song: bool | None
    loudness: Mapping[str, RebalancedLoudness]
    chain: tuple[StepReport, ...]
    quality: Quality
    bpm: float | None
    song_key: str | None
    remarks: tuple[Remark, ...]
    stages: tuple[StageRun, ...] = field(repr=False)
    warnings: tuple[StageWarning, ...]
    stem_gain: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As ``understudy separate --json`` prints it."""
        return {
            "stems": {} if self.stem_file else _plain(self.stems),
            **_fields(self, "stem_file mix karaoke midi sum_to_song stem_gain loudness chain bpm song_key"),
            "quality": {**_plain(self.quality), "remarks": _plain(self.remarks)},
            **_fields(self, "stages warnings"),
        }


@dataclass(frozen=True)
class ConversionResult:
    """A vocal sung by another voice.

    - `path`: the new vocal. Where the vocal was an array and no output was named, it is a file in the cache: copy what
      you keep.
    - `audio`: its samples, as long as the original vocal and aligned with it.
    - `duration`: in seconds. `sample_rate`: in Hz.
    - `transpose`, `transpose_reason`, `voices`, `stages`, `warnings`, `credentials_path`: as in `CoverResult`.
    """

    path: Path
    audio: AudioRef
    duration: float
    sample_rate: int
    transpose: int
    transpose_reason: str
    voices: tuple[VoicePart, ...]
    stages: tuple[StageRun, ...] = field(repr=False)
    warnings: tuple[StageWarning, ...]
    credentials_path: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """As ``understudy convert --json`` prints it."""
        return {
            "output": str(self.path),
            **({"credentials": str(self.credentials_path)} if self.credentials_path else {}),
            **_fields(self, "transpose transpose_reason voices stages warnings"),
        }


@dataclass(frozen=True)
class StageResult:
    """What one `stage` of a cover made, by name: the path of a file, or a plain value."""

    stage: str
    made: Mapping[str, Any]
    stages: tuple[StageRun, ...] = field(repr=False)
    warnings: tuple[StageWarning, ...]

    def to_dict(self) -> dict[str, Any]:
        """As ``understudy cover --until STAGE --json`` prints it."""
        return {"until": self.stage, **_fields(self, "made stages warnings")}


@dataclass(frozen=True)
class EvaluationResult:
    """Separators measured on songs whose stems are known.

    - `rows`: one for each song and separator of this call.
    - `others`: of the same songs, by separators that were evaluated into this folder before.
    - `passed_over`: a sentence for each place in the folder that looks like a song but is none.
    - `kept`: how many of `rows` were measured before.
    - `files`: the tables, by ``csv``, ``json`` and ``html``.
    """

    title: str
    rows: tuple[Row, ...]
    others: tuple[Row, ...] = field(repr=False)
    passed_over: tuple[str, ...]
    kept: int
    files: Mapping[str, Path]

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.state == "failed")

    def to_dict(self) -> dict[str, Any]:
        """As ``understudy evaluate --json`` prints it."""
        from understudy.pipeline.evaluation.table import as_data

        return {
            **as_data(self.title, [*self.rows, *self.others], self.passed_over),
            **_fields(self, "kept files"),
        }


def warnings_of(stages: tuple[StageRun, ...]) -> tuple[StageWarning, ...]:
    return tuple(StageWarning(stage.name, text) for stage in stages for text in stage.warnings)


_IF_ANY = ("voices", "chain", "stem_file", "mix", "karaoke", "midi", "sum_to_song", "stem_gain", "loudness")
"""The fields that are left out of the JSON where there is nothing in them."""


def _fields(result: object, names: str) -> dict[str, Any]:
    """The fields of `result` as plain data; `names` with spaces between them."""
    values = {name: getattr(result, name) for name in names.split()}
    return {name: _plain(value) for name, value in values.items() if name not in _IF_ANY or value not in (None, (), {})}


def _plain(value: Any) -> Any:
    """`value` as JSON has it: paths as text, a sound as the path of its file."""
    match value:
        case AudioRef():
            return str(value.path)
        case Path():
            return str(value)
        case VoicePart():
            return value.to_dict()
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        if isinstance(value, StageRun):
            names.remove("warnings")  # the result lists those of all stages
        return {name: _plain(getattr(value, name)) for name in names}
    return value
