"""The models of the answers: songs, voices and jobs as the API shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Row

from understudy.pipeline.settings import CoverSettings
from understudy.services.api.root_path import href
from understudy.services.api.usable import check_voice, objection
from understudy.services.queue.jobs import ACTIVE, NEVER
from understudy.services.stage_titles import title_of
from understudy.voices.engines import offered
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import ConsentRecord, Level, Manifest
from understudy.voices.voice import Voice as LibraryVoice

Time = Annotated[AwareDatetime, BeforeValidator(lambda seconds: datetime.fromtimestamp(round(seconds, 3), UTC))]
"""Made from seconds since 1970, as they are in the database."""
State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]


def moment(now: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(now, UTC)


class Fault(BaseModel):
    """Why something failed; the codes are those of the problems."""

    code: str
    message: str
    hint: str


TrainingState = Literal["queued", "running", "paused", "done", "failed", "cancelled", "expired"]


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
    created: Time
    audio: str = Field(description="where to get the file")
    artwork: str | None = Field(description="where to get the picture in its tags, small; null where there is none")


class Upload(BaseModel):
    """A resumable upload that is not used yet."""

    id: str
    name: str
    bytes: int = Field(description="of the whole file")
    received: int = Field(description="bytes that are there")
    created: Time
    expires: Time


class PresignedUpload(Upload):
    """An upload that its sender brings to the store."""

    url: str = Field(description="where to PUT the file, with exactly `bytes` bytes")
    url_expires: Time = Field(description="until when that may begin")


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


class CheckedRecording(BaseModel):
    """A recording, before a voice is made from it."""

    duration: float = Field(description="seconds")
    voice: float = Field(description="seconds of voice in it; 15 to 40 in all make a good voice")
    pitch_range: PitchRange | None
    findings: list[Finding] = Field(description="what is wrong with it, and what to do")


class Model(BaseModel):
    """A trained RVC model."""

    version: Literal["v1", "v2"]
    f0: bool = Field(description="whether it is guided by pitch")
    speakers: int
    speaker: int = Field(description="the one that sings, from 0")
    vectors: int | None = Field(description="in its index; null without one")
    source: str = Field(description="the name of the file that was sent; of one that was trained here, 'training'")
    embedder: str = Field("contentvec", description="its content features")


class Voice(BaseModel):
    id: str
    name: str
    state: Literal["making", "ready", "failed"]
    consent: Literal["self", "granted"]
    consent_level: Level = Field(description="what the consent rests on; a revoked voice can't be used")
    consent_record: ConsentRecord | None = Field(description="the decision in your consent log that it rests on")
    engine: str | None = Field(description="which sings; null until it is ready")
    engines: list[str] = Field(
        description="to choose from: instant and zero-shot (its recordings), rvc (a trained model)"
    )
    sample_rate: int | None
    pitch_range: PitchRange | None
    seconds: float | None = Field(description="of recordings")
    recording: str | None = Field(description="where to hear one of its recordings; null where there is none")
    sample: str | None = Field(description="where to hear how it sings a short melody, once its job has ended")
    training_seconds: float | None = Field(description="of further recordings, for training alone")
    model: Model | None = Field(description="its trained model")
    findings: list[Finding] = Field(description="what was found in the recordings")
    unusable: str | None = Field(description="why it can't sing on this server, in words; null if it can")
    error: Fault | None
    created: Time
    events: str = Field(description="event stream of its making")


class Progress(BaseModel):
    fraction: float = Field(ge=0, le=1)
    stage: str | None
    title: str | None = Field(description="the stage in words")


class ResultFile(BaseModel):
    href: str
    name: str
    type: str
    bytes: int


class Preview(ResultFile):
    start: float = Field(description="the second of the cover at which it begins")
    seconds: float


class Warned(BaseModel):
    stage: str
    warning: str


class FoundLoudness(BaseModel):
    """LUFS of the song and the cover, and the cover's true peak in dBTP."""

    model_config = ConfigDict(extra="allow")

    song: float | None = None
    cover: float | None = None
    true_peak: float | None = None


class FoundAction(BaseModel):
    """What to do about a weakness: make the cover again with other `settings` (by their full names, and `preset`),
    more `recordings` of the voice, another `song`, own `stems`, or a `report` of a fault of the program."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["settings", "recordings", "song", "stems", "report"]
    label: str = Field("", description="in a few words, as on a button")
    text: str
    settings: dict[str, Any] = {}
    models: list[str] = Field([], description="that the settings need: GET /v1/models says whether they are there")
    bytes: int = Field(0, description="of these models together")
    seconds: int = Field(0, description="of recordings that are wanted")
    notes: Literal["", "high", "low"] = Field("", description="which notes the recordings lack")


class FoundWeakness(BaseModel):
    """What takes points from a cover, and the one action that helps most."""

    model_config = ConfigDict(extra="allow")

    severity: Literal["mind", "wrong"]
    stage: str
    figure: str
    sentence: str
    action: FoundAction
    at: list[float] = Field([], description="seconds at which it is audible")
    measured: str = Field("", description="the figure behind it, with its limit")


class FoundVerdict(BaseModel):
    """Whether a cover can be used as it is."""

    model_config = ConfigDict(extra="allow")

    verdict: Literal["good", "mind", "wrong"]
    headline: str = Field("", description="the same in everyday words")
    grade: float | None = Field(None, description="0 to 100")
    reason: str
    weaknesses: list[FoundWeakness] = []


class Figures(BaseModel):
    """Figures of a finished job; those of another kind of job are null. There are more than are listed here."""

    model_config = ConfigDict(extra="allow")

    duration: float | None = Field(None, description="seconds")
    transpose_reason: str | None = None
    stem_gain: float | None = Field(None, description="dB by which all stems were turned, so that none clips")
    sum_to_song: bool | None = Field(None, description="of a separation: whether its stems sum to the song")
    bpm: float | None = None
    song_key: str | None = None
    loudness: FoundLoudness | None = None
    vocal_level: float | None = None
    leftover: float | None = None
    leftover_error: float | None = None
    brightness: float | None = None
    verdict: FoundVerdict | None = None


class Outcome(BaseModel):
    """What a training gave: the chosen step of all, and why; `default`: whether the voice sings with it from now on."""

    model_config = ConfigDict(extra="allow")

    step: int
    reason: str
    ended: str
    default: bool
    published: bool = Field(True, description="whether the voice has the model; a fine-tuned one only if it is better")
    advice: list[str]


class Webhook(BaseModel):
    """Where the end of a job is told. `GET /v1/webhooks/deliveries?job=` says more."""

    url: str
    events: list[Literal["done", "failed", "cancelled"]] = Field(description="the ends that it is called for")
    state: Literal["waiting", "delivered", "failed", "unwanted"] | None = Field(
        description="null until the job has ended; unwanted: it isn't called for this end"
    )


class Delivery(BaseModel):
    """A message to a webhook."""

    id: str = Field(description="the message's webhook-id")
    job: str
    type: str = Field(description="kind and end of the job, e.g. cover.done")
    url: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: int = Field(description="since it was made or sent again")
    created: Time
    attempted: Time | None = Field(description="the last time")
    next: Time | None = Field(description="when it is tried again, while it waits")
    status: int | None = Field(description="of the last answer; null if there was none")
    error: str | None = Field(description="why the last attempt failed")


class Job(BaseModel):
    """A cover or a separation."""

    id: str
    kind: Literal["cover", "separation"]
    state: State
    cancelling: bool = Field(description="it is running and will be cancelled in a moment")
    name: str
    priority: Literal["interactive", "batch"]
    inputs: dict[str, str] = Field(description="ids of songs: song, vocals, instrumental, backing_vocals")
    batch: str | None = Field(description="id of the batch that it is part of")
    voice: str | None = Field(description="id; of several voices the first")
    voices: list[str] = Field(description="who sings, as requested")
    singers: list[str] = Field(description="the names that the voices had then")
    engine: str | None = Field(description="what they sing with, as requested; null: what each sings with by default")
    settings: CoverSettings
    created: Time
    started: Time | None
    finished: Time | None
    expires: Time | None = Field(description="when the result is removed")
    attempts: int
    ahead: int | None = Field(None, description="jobs before it in the queue, where one job was requested")
    running: int | None = Field(None, description="jobs that run while it waits, where one job was requested")
    progress: Progress
    seconds_left: float | None = Field(
        description="until a running job is done, as far as that is known: from earlier jobs and its own pace"
    )
    error: Fault | None
    warnings: list[Warned]
    result: Figures | None = Field(description="figures: duration, transpose, loudness, verdict ...")
    audio: ResultFile | None = Field(description="the cover")
    credentials: ResultFile | None = Field(
        None, description="the signed manifest (C2PA) of a cover whose format can't hold it; others hold theirs"
    )
    stream: ResultFile | None = Field(description="the cover as Opus, which players begin at once; beside kept stems")
    previews: dict[str, Preview] = Field(
        description="what could be heard before the cover was finished: karaoke (the separated instrumental), chorus"
    )
    video: ResultFile | None = Field(description="the video, if settings.output.video asked for one")
    report: ResultFile | None
    figures: ResultFile | None = Field(description="the report as JSON")
    stems: dict[str, ResultFile]
    midi: dict[str, ResultFile] = Field({}, description="the notes of stems of a separation that asked for them")
    metadata: dict[str, str]
    webhook: Webhook | None
    events: str = Field(description="event stream")


class Skipped(Fault):
    """A job of a batch that was left out."""

    field: str = Field(description="which: covers.0, separations.0, or songs.0 voices.0; counted from 0")


class Batch(BaseModel):
    """Jobs that one request submitted. Those that were removed since aren't counted."""

    id: str
    name: str | None
    created: Time
    ended: bool = Field(description="no job waits or runs any more")
    jobs: int
    states: dict[State, int] = Field(description="the number of jobs in each state; 0 where it isn't listed")
    fraction: float = Field(ge=0, le=1, description="how far they are, on the average; one that has ended is at 1")
    skipped: list[Skipped] = Field(description="jobs that were left out, with `partial`")


class JobEstimate(BaseModel):
    """What a job would take. It was not submitted."""

    minutes: float = Field(description="of song that it would be charged, as far as the files say")
    minutes_left: float = Field(description="of minutes_a_day, after that")
    seconds: float | None = Field(
        description="that it would take about, once it has begun, if nothing of it was made before; null: unknown"
    )
    measured: int = Field(description="finished jobs of the same kind on which `seconds` rests")
    unknown: list[str] = Field(description="stages that are not in `seconds`, because they were not measured here yet")
    ahead: int = Field(description="jobs before it in the queue")
    running: int = Field(description="jobs that run now")


class Training(BaseModel):
    """The training of a voice's model. The figures are the latest ones."""

    id: str
    kind: Literal["training"]
    state: TrainingState
    pausing: bool = Field(description="it is running and will be paused in a moment")
    cancelling: bool = Field(description="it is running and will end in a moment, with the best that it has")
    voice: str = Field(description="id")
    name: str = Field(description="the voice's name when it was sent")
    settings: TrainingSettings
    created: Time
    started: Time | None
    finished: Time | None
    expires: Time | None = Field(description="when report and samples are removed; the voice keeps its model")
    attempts: int
    ahead: int | None = Field(None, description="trainings before it in the queue, where one was requested")
    progress: Progress
    step: int | None = Field(description="steps done")
    of: int | None = Field(description="the most steps; it ends when no gain is likely")
    seconds_left: float | None = Field(description="at most")
    losses: dict[str, float]
    evaluation: dict[str, float] | None = Field(description="scores of the latest evaluated checkpoint, by name")
    best: int | None = Field(description="the step of the best checkpoint so far")
    error: Fault | None
    warnings: list[str]
    findings: list[Finding] = Field(description="of further recordings, and those that were left out")
    result: Outcome | None = Field(description="what was chosen and why, once it has ended")
    report: ResultFile | None
    samples: dict[str, ResultFile] = Field(
        description="sounds of the kept checkpoints as STEP/NAME; at the end original/NAME and instant/NAME, too"
    )
    metadata: dict[str, str]
    webhook: Webhook | None
    events: str = Field(description="event stream")


class TrainingEstimate(BaseModel):
    """What a training would take."""

    device: Literal["cpu", "cuda"]
    recorded: float = Field(description="seconds of recordings, those for training alone included")
    needed: float = Field(description="the least seconds that can be trained on; ten minutes make a good model")
    seconds: float | None = Field(description="until most voices gain nothing any more; null: never measured here")
    sentence: str = Field(description="the same in words")
    missing: list[str] = Field(description="models that this server would need first")


class JobEnded(BaseModel):
    """The message of a webhook."""

    type: str = Field(description="the kind of the job and how it ended: cover.done, training.failed ...")
    id: str = Field(description="of the job")
    state: str
    error: Fault | None
    finished: float = Field(description="seconds since 1970")
    metadata: dict[str, str] = Field(description="as in the job's request")


def song(row: Row[Any]) -> Song:
    audio = href(f"/v1/songs/{row.id}/audio")
    artwork = href(f"/v1/songs/{row.id}/artwork") if row.pictured else None
    shown = {"sample_rate": row.rate, "format": f"{row.container}/{row.codec}", "audio": audio, "artwork": artwork}
    return Song.model_validate(row._asdict() | shown)


def upload(row: Row[Any], received: int) -> Upload:
    return Upload.model_validate(row._asdict() | {"received": received})


def presigned_upload(row: Row[Any], url: str, until: float) -> PresignedUpload:
    return PresignedUpload.model_validate(row._asdict() | {"received": 0, "url": url, "url_expires": until})


def voice(row: Row[Any], error: dict[str, Any] | None = None) -> Voice:
    manifest = row.manifest or {}
    model = manifest.get("model")
    level = (manifest.get("consent_record") or {}).get("level", "stated")
    heard = bool(manifest.get("recordings")) and level != "revoked"  # the recordings of a revoked voice are deleted
    shown = {
        "consent_record": manifest.get("consent_record"),
        "consent_level": level,
        "recording": href(f"/v1/voices/{row.id}/recording") if heard else None,
        "sample": href(f"/v1/voices/{row.id}/sample") if manifest and level != "revoked" else None,
        "engine": manifest.get("engine"),
        "sample_rate": manifest.get("sample_rate"),
        "pitch_range": manifest.get("pitch_range"),
        "engines": list(offered(LibraryVoice(Path(), Manifest.model_validate(manifest)))) if manifest else [],
        "seconds": _seconds(manifest["recordings"]) if manifest else None,
        "training_seconds": _seconds(manifest.get("training_recordings", [])) if manifest else None,
        "model": {**model, "vectors": (model["index"] or {}).get("vectors")} if model else None,
        "unusable": objection(check_voice, manifest) if row.state == "ready" else None,
        "error": error,
        "events": href(f"/v1/voices/{row.id}/events"),
    }
    return Voice.model_validate(row._asdict() | shown)


def _seconds(recordings: list[dict[str, Any]]) -> float:
    return float(sum(recording["duration"] for recording in recordings))


def job(row: Row[Any], ahead: int | None = None, running: int | None = None) -> Job:
    here = href(f"/v1/{row.kind}s/{row.id}")
    result = row.result or {}
    files = result.get("files", {}) if row.state == "done" else {}
    sent = {name: {**file, "href": f"{here}/{name}"} for name, file in files.items()}
    previews = result.get("previews", {}) if row.state in (*ACTIVE, "done") else {}
    figures = {name: value for name, value in result.items() if name not in _NO_FIGURES}
    shown = {
        "cancelling": row.state == "running" and row.cancel,
        "priority": "interactive" if row.priority == 0 else "batch",
        "inputs": row.request["inputs"],
        "voices": row.request.get("voices", []),
        "singers": row.request.get("names") or list(row.request.get("singers", {})),
        "engine": row.request.get("engine"),
        "settings": row.request["settings"],
        "ahead": ahead,
        "running": running,
        "progress": _progress(row),
        "webhook": _webhook(row),
        "metadata": row.metadata or {},
        "warnings": result.get("warnings", []),
        "seconds_left": result.get("seconds_left") if row.state == "running" else None,
        "result": figures or None,
        "previews": {name: {**file, "href": f"{here}/previews/{name}"} for name, file in previews.items()},
        "audio": sent.get("audio"),
        "credentials": sent.get("credentials"),
        "stream": sent.get("stream"),
        "video": sent.get("video"),
        "report": sent.get("report"),
        "figures": sent.get("figures"),
        "stems": _beneath("stems", sent),
        "midi": _beneath("midi", sent),
        "events": f"{here}/events",
    }
    return Job.model_validate(row._asdict() | shown)


def _beneath(folder: str, files: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{folder}/"): file for name, file in files.items() if name.startswith(f"{folder}/")}


_NO_FIGURES = ("files", "previews", "seconds_left", "warnings", "stages")


def training(row: Row[Any], ahead: int | None = None) -> Training:
    here = href(f"/v1/trainings/{row.id}")
    result = row.result or {}
    files = (result.get("files") or {}) if row.state != "expired" else {}
    sent = {name: {**file, "href": f"{here}/{name}"} for name, file in files.items()}
    latest = {name: result.get(name) for name in ("step", "of", "seconds_left", "evaluation", "best")}
    running = row.state == "running"
    shown = {
        "pausing": running and row.not_before == NEVER,
        "cancelling": running and row.cancel,
        "settings": row.request["settings"],
        "ahead": ahead,
        "progress": _progress(row),
        "webhook": _webhook(row),
        "metadata": row.metadata or {},
        **latest,
        "losses": result.get("losses", {}),
        "warnings": result.get("warnings", []),
        "findings": result.get("findings", []),
        "result": result.get("outcome"),
        "report": sent.get("report"),
        "samples": {name.removeprefix("samples/"): file for name, file in sent.items() if name.startswith("samples/")},
        "events": f"{here}/events",
    }
    return Training.model_validate(row._asdict() | shown)


def delivery(row: Row[Any]) -> Delivery:
    shown = {
        "type": json.loads(row.body)["type"],
        "attempts": row.tries,
        "attempted": row.tried,
        "next": row.due if row.state == "waiting" else None,
    }
    return Delivery.model_validate(row._asdict() | shown)


def _webhook(row: Row[Any]) -> dict[str, Any] | None:
    if row.webhook is None:
        return None
    events = row.webhook_events.split() if row.webhook_events else ["done", "failed", "cancelled"]
    return {"url": row.webhook, "events": events, "state": row.webhook_state}


def _progress(row: Row[Any]) -> dict[str, Any]:
    return {"fraction": row.fraction, "stage": row.stage, "title": row.stage and title_of(row.stage)}
