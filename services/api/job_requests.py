"""The bodies of ``POST /v1/covers`` and ``POST /v1/separations``: their settings, and how they become jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, select

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.pipeline.cast import Parts, parse_voices
from understudy.pipeline.presets import presets
from understudy.pipeline.separating import check_models, models_of, names_of
from understudy.pipeline.separation.models import own_files
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.separation_graph import check_request
from understudy.pipeline.separation_request import SETS, STEMS
from understudy.pipeline.separation_request import SeparationRequest as Wanted
from understudy.pipeline.settings import CoverSettings, load_settings
from understudy.services.api import answers
from understudy.services.api.followed import Followed
from understudy.services.api.limits import charge_jobs, check_storage
from understudy.services.api.problems import ApiError
from understudy.services.api.songs import NewSong, add_songs, find_song
from understudy.services.api.usable import check_voice
from understudy.services.api.voices import find_voice
from understudy.services.queue import jobs as queue
from understudy.services.queue.owners import Owner
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import jobs
from understudy.voices.consent import levels
from understudy.voices.voice import Manifest

VoiceText = Annotated[str, Field(min_length=1, max_length=2000)]
MOST_VOICES = 20


VoiceName = Annotated[str, Field(max_length=64)]


class JobRequest(Followed):
    song: str | None = Field(None, max_length=60, description="id of a song that was uploaded")
    preset: str | None = Field(None, max_length=60, description="a preset's name; settings change it")
    settings: CoverSettings = Field(default_factory=CoverSettings, description="only what differs from the preset")
    priority: Literal["interactive", "batch"] = Field("interactive", description="batch: interactive jobs come first")


class CoverRequest(JobRequest):
    """A song, or own stems `vocals` and `instrumental` (with a song, one of them is enough); and who sings: one voice,
    ``["lead=nova", "backing=ada"]``, or by time ``"0:00-1:12=nova,1:12-=ada"``."""

    vocals: str | None = Field(None, max_length=60, description="id of an uploaded vocal stem")
    instrumental: str | None = Field(None, max_length=60, description="id of an uploaded instrumental stem")
    backing_vocals: str | None = Field(None, max_length=60, description="id of a backing stem; vocals is then the lead")
    voice: VoiceText | Annotated[list[VoiceText], Field(max_length=MOST_VOICES)] = Field(
        description="who sings: voices by id or name"
    )
    engine: Literal["instant", "zero-shot", "rvc"] | None = Field(
        None, description="what they sing with; null: what each sings with by default"
    )
    preview: bool = Field(
        False, description="sing the chorus first: it and the karaoke can be heard while the cover is made"
    )
    transposes: dict[VoiceName, Literal["auto"] | Annotated[int, Field(ge=-36, le=36)]] = Field(
        default_factory=dict, max_length=MOST_VOICES, description="semitones of single voices, by id or name"
    )


StemName = Literal[STEMS]  # type: ignore[valid-type]


class SeparationRequest(JobRequest):
    """A song that is taken apart."""

    stems: list[StemName] = Field(list(SETS["2"]), min_length=1, max_length=len(STEMS), description="which")
    midi: list[StemName] = Field([], max_length=len(STEMS), description="stems whose notes are written, too")

    @property
    def wanted(self) -> Wanted:
        return Wanted(stems=tuple(dict.fromkeys(self.stems)), midi=tuple(dict.fromkeys(self.midi)))


def checked(request: JobRequest, before: dict[str, CoverSettings] | None = None) -> tuple[CoverSettings, Parts | None]:
    """The settings of a request, and who sings what in a cover. Raises what is wrong with them; the database isn't
    asked. `before`: settings that were checked before, by their requests; these are added."""
    given = request.model_dump_json(include={"preset", "settings"}, exclude_unset=True)
    known = {} if before is None else before
    asked = f"{given} {_has_stems(request)}"
    if asked not in known:
        known[asked] = _requested_settings(request)
    if isinstance(request, SeparationRequest):
        _check_stems(known[asked], request.wanted)
    return known[asked], _parts(request) if isinstance(request, CoverRequest) else None


def _check_stems(settings: CoverSettings, wanted: Wanted) -> None:
    """Raise what `check_request` raises, with no word of the command line."""
    try:
        check_request(settings, wanted)
    except UnderstudyError as error:
        if error.code != "stem-unavailable":
            raise
        names = ", ".join(dict.fromkeys([*(wanted.stems or ()), *wanted.midi]))
        text = f"The models of this separation don't give all of these stems: {names}."
        hint = "Name models that do in settings.separation, or ask for other stems."
        raise UnderstudyError(error.code, text, hint) from error


def _parts(request: CoverRequest) -> Parts:
    parts = parse_voices(_voice_texts(request))
    if len({name for _, name in parts.lead}) > MOST_VOICES:
        text = f"More than {MOST_VOICES} voices sing."
        raise UnderstudyError("cast-invalid", text, "Make several covers of parts of the song.")
    return parts


def _voice_texts(request: CoverRequest) -> list[str]:
    return [request.voice] if isinstance(request.voice, str) else request.voice


def _requested_settings(request: JobRequest) -> CoverSettings:
    """The preset of a request, overlaid with the settings that were sent. The models of the separation are checked."""
    if request.preset is not None and request.preset not in presets():
        text = f"There is no preset named {request.preset!r}."
        raise UnderstudyError("preset-unknown", text, f"Choose one of {', '.join(presets())}.")
    given = request.settings.model_dump(mode="json", exclude_unset=True)
    settings = load_settings(request.preset, given, {})
    if settings.tags.artwork_file is not None:  # a path could reveal which files the server has
        text = f"The setting 'tags.artwork' is {settings.tags.artwork[:100]!r}; this server takes song or none."
        raise UnderstudyError("setting-invalid", text, "Send the song with its artwork in its tags.")
    check_separation(settings.separation, used=not _has_stems(request))
    return settings


def _has_stems(request: JobRequest) -> bool:
    return any(getattr(request, role, None) for role in queue.ROLES if role != "song")


def check_separation(settings: SeparationSettings, used: bool) -> None:
    """Raise ``separator-unknown`` for a model that isn't named by its name in the catalogue or the models folder: a
    path could reveal which other files the server has. Where the separation is `used`, also raise what `check_models`
    raises, with no word of the server's folders.
    """
    names = models_of(settings)
    known = {name for model in catalogue().values() for name in names_of(model)}
    for name in names:
        if name not in known and not any(name in (path.name, path.stem) for path in own_files()):
            raise UnderstudyError(
                "separator-unknown",
                f"There is no separation model named {name[:100]!r} here.",
                "Name a model of this server, without a path.",
            )
    if not used:
        return
    try:
        check_models(settings)
    except UnderstudyError as error:
        if error.code in ("model-missing", "models-missing"):
            text = f"This server hasn't got all models of this separation ({', '.join(names)})."
            hint = "Choose another preset, or ask the server's operator for them."
        elif error.code.startswith("model-"):
            text = f"A model of this separation can't be used on this server ({', '.join(names)})."
            hint = "Choose another model, or tell the server's operator."
        else:
            raise
        raise UnderstudyError(error.code, text, hint) from error


@dataclass(frozen=True)
class Submission:
    """A checked request, ready to become a job. `parts`: who sings what in a cover; `sent`: the uploaded songs."""

    kind: Literal["cover", "separation"]
    request: JobRequest
    settings: CoverSettings
    parts: Parts | None
    sent: Sequence[NewSong]

    def submit(self, server: ServerSettings, owner: Owner, connection: Connection, now: float) -> answers.Job:
        """List the uploads among the owner's songs and submit the job, in the transaction of `connection`. Raises what
        `prepared` and the checks of the limits raise."""
        if self.sent:
            check_storage(connection, server, owner, now, sum(song.upload.bytes for song in self.sent))
            add_songs(connection, owner, now, self.sent)
        (id,) = submit_all(server, owner, connection, now, [self.prepared(Lookup(connection, owner))])
        return answers.job(connection.execute(select(jobs).where(jobs.c.id == id)).one())

    def prepared(self, lookup: Lookup) -> NewJob:
        """The job. Raises ``song-missing``, ``song-unknown``, ``voice-unknown``, ``voice-not-ready``,
        ``engine-missing``, ``model-missing`` and ``cast-invalid``."""
        request = self.request
        ids = {role: getattr(request, role, None) for role in queue.ROLES}
        inputs = {role: id for role, id in ids.items() if id is not None}
        inputs |= {song.upload.field: song.id for song in self.sent}
        singers = self._singers(lookup)
        if "song" not in inputs and not {"vocals", "instrumental"} <= inputs.keys():
            text = "There is no song."
            raise UnderstudyError("song-missing", text, "Send a song, or both vocals and instrumental.")
        rows = {role: lookup.song(id) for role, id in inputs.items()}
        named = rows.get("song") or rows["vocals"]
        minutes = max(self._minutes(row.duration) for row in rows.values())  # the worker charges what it decodes
        job = {"inputs": inputs, "settings": self.settings.model_dump(mode="json"), **singers}
        if isinstance(request, SeparationRequest):
            job |= {"stems": request.wanted.stems, "midi": request.wanted.midi}
        job["work"] = self._work(inputs, singers.get("engines", []))
        columns = {
            "kind": self.kind,
            "priority": queue.PRIORITIES[request.priority],
            "name": named.title or PurePath(named.name).stem,
            "request": job,
            "song": inputs.get("song"),
            "voice": next(iter(singers["singers"].values())) if singers else None,
            **request.columns(),
        }
        return NewJob(minutes, columns)

    def _work(self, roles: Iterable[str], engines: Sequence[str]) -> str:
        """What decides how long a second of song takes, as a hash: jobs that have it in common are measures of each
        other (`estimates.py`)."""
        settings, output = self.settings, self.settings.output
        separation = settings.separation.model_dump(mode="json")
        decides = [self.kind, sorted(roles), separation, settings.pitch.tracker, sorted(engines), settings.key != 0]
        decides += [output.video is not None, output.keep_stems, getattr(self.request, "preview", False)]
        if isinstance(self.request, SeparationRequest):
            decides += [sorted(self.request.stems), sorted(self.request.midi)]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    def _minutes(self, duration: float | None) -> float:
        """Minutes of song that the job works on; a song of unknown length counts as 4 minutes."""
        part = self.settings.song
        seconds = part.duration or max(0.0, (duration or 240.0) - part.start)
        return min(seconds, duration or seconds) / 60

    def _singers(self, lookup: Lookup) -> dict[str, Any]:
        """Who sings in a cover, with the ids of the voices: they may get other names before the work begins."""
        request, parts = self.request, self.parts
        if not isinstance(request, CoverRequest) or parts is None:
            return {}
        names = dict.fromkeys([*(name for _, name in parts.lead), *([parts.backing] if parts.backing else [])])
        rows = {name: lookup.singer(name, request.engine) for name in names}
        found = {name: str(row.id) for name, row in rows.items()}
        transposes = {str(lookup.voice(name).id): value for name, value in request.transposes.items()}
        if any(id not in found.values() for id in transposes):
            text = "A voice is to be transposed that doesn't sing here."
            raise UnderstudyError("cast-invalid", text, f"Singing: {', '.join(found)}.")
        return {
            "voices": _voice_texts(request),
            "singers": found,
            "names": [str(row.name) for row in rows.values()],
            "transposes": transposes,
            "engine": request.engine,
            "engines": [request.engine or row.manifest["engine"] for row in rows.values()],
            "preview": request.preview,
            "consent": lookup.owner.consent,
        }


@dataclass(frozen=True)
class NewJob:
    """A job that can be submitted: `minutes` of song that are charged for it, and its columns in the table."""

    minutes: float
    columns: Mapping[str, Any]


class Lookup:
    """The songs and voices of `owner`, each read once from the database of `connection`."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self.owner = owner
        self.song: Callable[[str], Any] = cache(partial(find_song, connection, owner))
        self.voice: Callable[[str], Any] = cache(partial(find_voice, connection, owner))
        self.singer = cache(self._singer)

    def _singer(self, name: str, engine: str | None) -> Any:
        """The row of a voice that may sing with `engine`. Raises ``voice-not-ready`` and what the checks raise."""
        voice = self.voice(name)
        if voice.state != "ready":
            text = f"The voice {voice.name!r} is {'being made' if voice.state == 'making' else 'unusable'}."
            raise ApiError("voice-not-ready", text, "GET /v1/voices says when it is ready, or why not.")
        _check_engine(voice, engine)
        levels.require(Manifest.model_validate(voice.manifest | {"name": voice.name}), "cover", self.owner.consent)
        return voice


def submit_all(
    server: ServerSettings,
    owner: Owner,
    connection: Connection,
    now: float,
    new: Sequence[NewJob],
    batch: str | None = None,
) -> list[str]:
    """Charge the owner for the jobs and submit them, as part of `batch`; returns their ids. Raises what `charge_jobs`
    raises."""
    charged = charge_jobs(connection, server, owner, now, [job.minutes for job in new])
    rows = [
        {**job.columns, "request": {**job.columns["request"], "spent": id}, "batch": batch}
        for job, id in zip(new, charged, strict=True)
    ]
    return queue.submit_all(connection, now, owner.id, rows)


def _check_engine(voice: Any, engine: str | None) -> None:
    """Raise ``engine-missing`` if `voice`, a row of the table, has nothing for `engine`, and what `check_voice`
    raises."""
    engines = Manifest.model_validate(voice.manifest).engines
    if engine is not None and engine not in engines:
        text = f"The voice {voice.name!r} has nothing for the engine {engine!r}, only for {' and '.join(engines)}."
        raise ApiError("engine-missing", text, "Leave out the engine, or train a model of this voice first.")
    check_voice(voice.manifest, engine)
