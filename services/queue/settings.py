"""One configuration for server and workers: a YAML file < environment (``UNDERSTUDY_SERVER_<FIELD>``, or the path of a
file with the value in ``UNDERSTUDY_SERVER_<FIELD>_FILE``) < options."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from understudy.choices import ExecutorName
from understudy.errors import UnderstudyError
from understudy.validation import faults
from understudy.voices.training.settings import TrainingSettings

PREFIX = "UNDERSTUDY_SERVER_"
MIB = 1 << 20
GIB = 1 << 30


class ServerSettings(BaseModel):
    """Sizes in bytes, times in seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # where things are
    data: Path = Field(
        default_factory=lambda: user_data_path("understudy") / "server",
        description="folder of uploads, scratch files, caches and, by default, of database and results",
    )
    database: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder")
    storage: str = Field("", description="fsspec URL of songs, voices and results, e.g. s3://bucket/path; empty: local")
    storage_options: dict[str, Any] = Field(default_factory=dict, description="options of that file system")

    presigned_seconds: int = Field(
        0, ge=0, le=7 * 86400, description="for which clients get files from the S3 store itself; 0: from the server"
    )

    # how it is reached
    host: str = Field("127.0.0.1", description="address to bind; others than loopback need keys")
    port: int = Field(8000, ge=0, le=65535)
    keys: bool = Field(False, description="ask for API keys on loopback, too")
    tls: Literal["self-signed"] | None = Field(
        None, description="HTTPS with a certificate of its own in data, which browsers ask about once"
    )
    connections: int = Field(
        4000, ge=10, description="open connections; of those without a request the oldest gives way to a new one"
    )
    hosts: tuple[str, ...] = Field((), description="host names under which clients reach it; empty: any with keys")
    origins: tuple[str, ...] = Field((), description="web pages elsewhere that may use the API: https://host[:port]")
    root_path: str = Field("", description="path below which a proxy shows it, e.g. /understudy")
    metrics_token: str = Field("", description="what /metrics needs as 'Authorization: Bearer'; empty: nothing")
    proxies: tuple[str, ...] = Field((), description="addresses (CIDR) of proxies that say who their client is")

    # work
    workers: int = Field(1, ge=0, le=64, description="worker processes that 'serve' starts")
    trainings: int | None = Field(
        None, ge=0, le=64, description="trainings at a time; null: one per GPU or one on the CPU, none without workers"
    )
    device: str = Field("auto", description="cpu, cuda:0 ... or auto")
    niceness: int = Field(
        10, ge=0, le=19, description="nice value of the workers, so that the server answers while they work"
    )
    executor: ExecutorName = Field("local", description="ray: stages run on the machines of a Ray cluster")
    address: str = Field("", description="HOST:PORT of that cluster's head; empty: the cluster of this machine")
    store: str = Field(
        "", description="fsspec URL of artifacts that all machines share; empty: each keeps its own, with ray in data"
    )
    store_options: dict[str, Any] = Field(default_factory=dict, description="options of that file system")
    gpu_share: float = Field(1.0, gt=0, le=1, description="part of a GPU that a stage gets on the cluster")
    jobs_at_once: int = Field(1, ge=1, le=256, description="jobs that a worker runs at a time, with ray")
    lease: float = Field(
        20.0, ge=1, description="a worker that shows no sign of life for so long loses its job to another one"
    )
    tries: int = Field(
        5, ge=1, le=100, description="starts of a job that finish no stage, before it counts as poisoned"
    )
    batch_share: float = Field(
        0.1, ge=0, le=1, description="of the starts, for batch jobs while interactive ones wait; 0: they wait for these"
    )
    decode_seconds: float = Field(900.0, gt=0, description="for reading one untrusted file")
    decode_memory: int = Field(3 * GIB, ge=256 * MIB, description="for reading one untrusted file")
    cache_bytes: int = Field(20 * GIB, ge=0, description="artifacts kept on each machine, all owners together")
    training_base: tuple[Path, Path] | None = Field(
        None, description="files of generator and discriminator that trainings begin with; null: RVC's own"
    )
    training_bytes: int = Field(
        50 * GIB, ge=0, description="folders of ended trainings kept on each machine, from which the next could go on"
    )

    # what an owner may do, unless it was given limits of its own
    fetch_models: bool = Field(
        True,
        description="whether users may have this server fetch models of the presets, from where they are published",
    )
    song_bytes: int = Field(500 * MIB, ge=1, description="largest upload of one file")
    song_seconds: float = Field(3600.0, gt=0, description="longest song")
    recordings: int = Field(50, ge=1, le=999, description="most recordings of a voice")
    jobs_queued: int = Field(100, ge=1, description="jobs waiting or running at a time")
    jobs_a_day: int = Field(10_000, ge=1, description="jobs sent within 24 hours, cancelled ones included")
    jobs_running: int = Field(100, ge=1, description="jobs running at a time; trainings are counted by themselves")
    minutes_a_day: float = Field(600.0, gt=0, description="minutes of song sent to work within 24 hours")
    trainings_queued: int = Field(5, ge=1, description="trainings that have not ended, paused ones included")
    training_minutes_a_day: float = Field(1440.0, gt=0, description="minutes that trainings run within 24 hours")
    storage_bytes: int = Field(20 * GIB, ge=1, description="songs, voices and results together")
    requests_a_minute: int = Field(1200, ge=1, description="requests of an owner")
    streams: int = Field(300, ge=1, description="event streams of an owner at a time")
    transfers: int = Field(100, ge=1, description="uploads and downloads of an owner at a time")
    uploads: int = Field(20, ge=1, description="resumable uploads of an owner that are not used yet")

    # songs by URL
    song_urls: bool = Field(False, description="fetch songs by their URL, from what webhooks may reach")
    song_url_seconds: float = Field(120.0, gt=0, le=3600, description="for fetching one song")

    # how long things stay
    keep_results: float = Field(7 * 86400.0, gt=0, description="then a result expires")
    keep_songs: float = Field(30 * 86400.0, gt=0, description="after its last use an uploaded song is removed")
    keep_uploads: float = Field(86400.0, gt=0, description="then a resumable upload that is not used is removed")
    keep_jobs: float = Field(90 * 86400.0, gt=0, description="then an ended job is forgotten altogether")

    keep_sessions: float = Field(30 * 86400.0, gt=0, description="then the page asks for the key again")
    keep_trainings: float = Field(30 * 86400.0, gt=0, description="then the folder of an ended training is removed")

    keep_audit: float = Field(365 * 86400.0, gt=0, description="then an entry of the audit log is removed")

    # webhooks
    webhook_networks: tuple[str, ...] = Field((), description="private networks (CIDR) that webhooks may reach")
    webhook_ports: tuple[int, ...] = Field(
        (80, 443, 8080, 8443), description="ports that webhooks may reach outside of these networks"
    )
    webhook_tries: int = Field(8, ge=1, le=30, description="the pause doubles from 5 s each time")
    webhook_seconds: float = Field(10.0, gt=0, le=60, description="that the other side has to answer")
    keep_deliveries: float = Field(7 * 86400.0, gt=0, description="then a delivered or failed message is forgotten")

    @field_validator("training_base", "hosts", "origins", "proxies", "webhook_networks", "webhook_ports", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """In the environment: values with commas between them, or a single one."""
        return [part.strip() for part in str(value).split(",")] if isinstance(value, str | int) else value

    @field_validator("root_path")
    @classmethod
    def _below(cls, value: str) -> str:
        path = value.strip("/")
        if not re.fullmatch(r"([A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?", path):
            raise ValueError("write it as /path")
        return f"/{path}" if path else ""

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
                raise ValueError(f"{origin[:80]!r} is none; write it as https://host or https://host:port")
        return value

    @field_validator("proxies", "webhook_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data.resolve() / 'server.sqlite3'}"

    def base_of(self, training: TrainingSettings) -> tuple[Path, Path] | None:
        """The files that a training with these settings begins with; None: those of the catalogue."""
        return self.training_base if training.engine == "rvc" and training.size == "full" else None


def load(file: Path | None = None, options: Mapping[str, Any] | None = None) -> ServerSettings:
    """The settings. Raises ``server-setting-invalid``, which names the wrong setting and where it stands."""
    file = file or (Path(os.environ[f"{PREFIX}CONFIG"]) if os.environ.get(f"{PREFIX}CONFIG") else None)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if file is not None:
        layers.append((str(file), _read(file)))
    layers.append(("the environment", _environment()))
    layers.append(("the options", {name: value for name, value in (options or {}).items() if value is not None}))
    merged: dict[str, Any] = {}
    settings = ServerSettings()
    for place, layer in layers:
        merged |= layer
        try:
            settings = ServerSettings.model_validate(merged)
        except ValidationError as error:
            first = faults(error.errors())[0]
            raise UnderstudyError(
                "server-setting-invalid",
                f"The server setting {first.field!r} in {place} is wrong: {first.reason}.",
                f"Settings there are: {', '.join(ServerSettings.model_fields)}.",
            ) from error
    return settings


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(_text(file)) or {}
    except yaml.YAMLError as error:
        raise _unreadable(file, error) from error
    if not isinstance(content, dict):
        raise UnderstudyError(
            "server-config-unreadable", f"The configuration {file} holds no names and values.", "Write 'port: 8000'."
        )
    return content


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UnderstudyError:
    return UnderstudyError(
        "server-config-unreadable",
        f"The configuration {file} can't be read: {str(error).splitlines()[0]}.",
        "Give the path of a YAML file with one 'name: value' per line, or of a file with one value.",
    )


def _environment() -> Mapping[str, Any]:
    found = {}
    for name in ServerSettings.model_fields:
        text = os.environ.get(PREFIX + name.upper())
        if not text and (file := os.environ.get(f"{PREFIX}{name.upper()}_FILE")):
            text = _text(Path(file)).strip()
        if text:
            value = yaml.safe_load(text)
            found[name] = text if isinstance(value, str) else value
    return found
