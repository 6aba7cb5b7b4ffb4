"""The models of the answers: songs, voices and jobs as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Row

from understudy.pipeline.settings import CoverSettings
from understudy.services.stage_titles import title_of

State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
PRIORITY = {0: "interactive", 1: "batch"}


class Fault(BaseModel):
    """Why something failed; the codes are those of the problems."""

    code: str
    message: str
    hint: str


class Song(BaseModel):
    id: str
    name: str = Field(description="the name of the file that was sent")
    title: str | None
    artist: str | None
    bytes: int
    duration: float | None = Field(description="seconds, as far as the file says")
    sample_rate: int
    channels: int
    format: str = Field(description="container and codec")
    created: AwareDatetime
    audio: str = Field(description="where to get the file")


class Finding(BaseModel):
    """Something to know about a recording."""

    code: str
    severity: Literal["problem", "advice"]
    recording: str | None
    sentence: str


class PitchRange(BaseModel):
    """Hz: 5th percentile, median and 95th percentile."""

    low: float
    median: float
    high: float


class Model(BaseModel):
    """A trained RVC model."""

    version: Literal["v1", "v2"]
    f0: bool = Field(description="whether it is guided by pitch")
    speakers: int
    speaker: int = Field(description="the one that sings, from 0")
    vectors: int | None = Field(description="in its index; null without one")
    source: str = Field(description="the name of the file that was sent")


class Voice(BaseModel):
    id: str
    name: str
    state: Literal["making", "ready", "failed"]
    consent: Literal["self", "granted"]
    engine: str | None = Field(description="null until it is ready")
    sample_rate: int | None
    pitch_range: PitchRange | None
    seconds: float | None = Field(description="of recordings")
    model: Model | None = Field(description="of an rvc voice")
    findings: list[Finding] = Field(description="what was found in the recordings")
    error: Fault | None
    created: AwareDatetime
    events: str = Field(description="event stream of its making")


class Progress(BaseModel):
    fraction: float = Field(ge=0, le=1)
    stage: str | None
    title: str | None = Field(description="the stage in words")


class File(BaseModel):
    href: str
    name: str
    type: str
    bytes: int


class Warned(BaseModel):
    stage: str
    warning: str


class Job(BaseModel):
    """A cover or a separation."""

    id: str
    kind: Literal["cover", "separation"]
    state: State
    cancelling: bool = Field(description="it is running and will be cancelled in a moment")
    name: str
    priority: Literal["interactive", "batch"]
    inputs: dict[str, str] = Field(description="ids of songs: song, vocals, instrumental, backing_vocals")
    voice: str | None = Field(description="id; of several voices the first")
    voices: list[str] = Field(description="who sings, as requested")
    settings: CoverSettings
    created: AwareDatetime
    started: AwareDatetime | None
    finished: AwareDatetime | None
    expires: AwareDatetime | None = Field(description="when the result is removed")
    attempts: int
    ahead: int | None = Field(None, description="jobs before it in the queue, where one job was requested")
    progress: Progress
    error: Fault | None
    warnings: list[Warned]
    result: dict[str, Any] | None = Field(description="figures: duration, transpose, loudness, verdict ...")
    audio: File | None = Field(description="the cover")
    report: File | None
    figures: File | None = Field(description="the report as JSON")
    stems: dict[str, File]
    events: str = Field(description="event stream")


def when(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def song(row: Row[Any]) -> Song:
    return Song(
        id=row.id,
        name=row.name,
        title=row.title,
        artist=row.artist,
        bytes=row.bytes,
        duration=row.duration,
        sample_rate=row.rate,
        channels=row.channels,
        format=f"{row.container}/{row.codec}",
        created=when(row.created),
        audio=f"/v1/songs/{row.id}/audio",
    )


def voice(row: Row[Any], error: dict[str, Any] | None = None) -> Voice:
    manifest = row.manifest or {}
    model = manifest.get("model")
    return Voice(
        id=row.id,
        name=row.name,
        state=row.state,
        consent=row.consent,
        engine=manifest.get("engine"),
        sample_rate=manifest.get("sample_rate"),
        pitch_range=manifest.get("pitch_range"),
        seconds=sum(recording["duration"] for recording in manifest["recordings"]) if manifest else None,
        model=Model(**model, vectors=(model["index"] or {}).get("vectors")) if model else None,
        findings=row.findings,
        error=Fault(**error) if error else None,
        created=when(row.created),
        events=f"/v1/voices/{row.id}/events",
    )


def job(row: Row[Any], ahead: int | None = None) -> Job:
    here = f"/v1/{row.kind}s/{row.id}"
    files = {
        name: File(href=f"{here}/{name}", name=file["name"], type=file["type"], bytes=file["bytes"])
        for name, file in ((row.result or {}).get("files", {}) if row.state == "done" else {}).items()
    }
    hidden = ("files", "warnings", "stages")
    return Job(
        id=row.id,
        kind=row.kind,
        state=row.state,
        cancelling=row.state == "running" and row.cancel,
        name=row.name,
        priority="interactive" if row.priority == 0 else "batch",
        inputs=row.request["inputs"],
        voice=row.voice,
        voices=row.request.get("voices", []),
        settings=row.request["settings"],
        created=when(row.created),
        started=when(row.started) if row.started else None,
        finished=when(row.finished) if row.finished else None,
        expires=when(row.expires) if row.expires else None,
        attempts=row.attempts,
        ahead=ahead,
        progress=Progress(fraction=row.fraction, stage=row.stage, title=title_of(row.stage) if row.stage else None),
        error=Fault(**row.error) if row.error else None,
        warnings=(row.result or {}).get("warnings", []),
        result={name: value for name, value in row.result.items() if name not in hidden} if row.result else None,
        audio=files.get("audio"),
        report=files.get("report"),
        figures=files.get("figures"),
        stems={name.removeprefix("stems/"): file for name, file in files.items() if name.startswith("stems/")},
        events=f"{here}/events",
    )
