"""Having the covers of a batch made by a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import quote

import httpx

from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.cast import parse_transposes, parse_voices
from understudy.pipeline.executor import StageEvent
from understudy.pipeline.provenance.manifest import SIDECAR_SUFFIX
from understudy.pipeline.publish import beside, publish
from understudy.services.batch.chart import Singers
from understudy.services.batch.plan import FoundVoice, Item
from understudy.services.batch.timing import StageTimes, Work

_POLL = 1.0  # seconds between polls of a job
_ANSWER = 600.0  # seconds without a byte; a busy server may take minutes to check a song
_PATIENCE = 300.0  # seconds for which a server may be unreachable


class Server:
    """The API of a server, with a key if it needs one. Safe to use from several threads."""

    def __init__(self, address: str, key: str | None, times: StageTimes) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx.Client(base_url=address, headers=headers, timeout=httpx.Timeout(_ANSWER, connect=60.0))
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UnderstudyError(
                "server-invalid", f"{address!r} is no server's address.", "Write it as http://host:8000."
            ) from error
        self._address = address
        self._work = f"cover by {address}"
        self._times = times
        self._songs: dict[str, str] = {}
        self._lock = Lock()

    def ask(self, method: str, path: str, stop: Event | None = None, **more: Any) -> httpx.Response:
        """Send a request; returns the answer. With `stop` it waits while the server is unreachable or busy, for
        `_PATIENCE` at most. Raises an error of the server as the same `UnderstudyError`."""
        waited = 0.0
        while True:
            pause = 5.0
            try:
                answer = self._client.request(method, path, **more)
            except httpx.UnsupportedProtocol as error:
                raise UnderstudyError(
                    "server-invalid", f"{self._address!r} is no server's address.", "Write it as http://host:8000."
                ) from error
            except httpx.HTTPError as error:
                problem = UnderstudyError(
                    "server-unreachable",
                    f"The server {self._address} doesn't answer ({type(error).__name__}).",
                    "Check the address, and that the server runs.",
                )
            else:
                if answer.status_code < 400:
                    return answer
                problem = _problem(answer)
                if answer.status_code not in (429, 503):
                    raise problem
                pause = min(30.0, float(answer.headers.get("Retry-After", pause)))
            # before the batch has begun, report it at once
            if stop is None or waited >= _PATIENCE:
                raise problem
            if stop.wait(pause):
                raise Cancelled
            waited += pause

    def find(self, singers: Singers) -> FoundVoice:
        """The voice, or the voices, as the server knows them."""
        parts = parse_voices([singers.voice])
        names = [*(name for _, name in parts.lead), *([parts.backing] if parts.backing else [])]
        found = [self.ask("GET", f"/v1/voices/{quote(name, safe='')}").json() for name in dict.fromkeys(names)]
        for one in found:
            if one["state"] != "ready":
                text = f"The voice {one['name']!r} isn't ready on the server."
                raise UnderstudyError("voice-not-ready", text, "Wait until it is made, or make it again.")
        version = "+".join([*(one["id"] for one in found), *([singers.engine] if singers.engine else [])])
        return FoundVoice("+".join(one["name"] for one in found), version)

    def check(self, item: Item) -> Sequence[Work]:
        return [Work(item.identity, self._work, item.length)]

    def song(self, item: Item, stop: Event) -> str:
        """The id of the item's song, sent once for all its voices."""
        with self._lock:
            if item.content not in self._songs:
                with item.song.open("rb") as file:
                    answer = self.ask(
                        "POST",
                        "/v1/songs",
                        stop,
                        files={"file": (item.song.name, file)},
                        headers={"Idempotency-Key": f"song-{item.content}"},
                    )
                self._songs[item.content] = answer.json()["id"]
            return self._songs[item.content]

    def make(self, item: Item, notify: Callable[[StageEvent], None], stop: Event) -> Mapping[str, Any]:
        """Submit the cover, follow it, and fetch cover, report and figures. A batch that is started again finds the job
        that it had submitted, by its idempotency key."""
        body = {
            "song": self.song(item, stop),
            "voice": item.row.singers.voice,
            "settings": item.settings.model_dump(mode="json"),
            "priority": "batch",
            **_singing(item.row.singers),
        }
        job = self.ask("POST", "/v1/covers", stop, json=body, headers={"Idempotency-Key": f"cover-{item.identity}"})
        path = f"/v1/covers/{job.json()['id']}"
        begun = time.monotonic()
        while (state := self.ask("GET", path, stop).json())["state"] in ("queued", "running"):
            stage = state["progress"]["stage"] or "decode"
            event = StageEvent(stage, "progress", state["progress"]["fraction"], time.monotonic() - begun, "server")
            self._times.hear(item.identity, replace(event, kind="cover"))
            notify(event)
            if stop.wait(_POLL):
                self.ask("DELETE", path)
                raise Cancelled
        if state["state"] != "done":
            fault = state["error"] or {"code": state["state"], "message": f"It was {state['state']}.", "hint": ""}
            raise UnderstudyError(fault["code"], fault["message"], fault["hint"])
        cover = item.output
        report, figures = (beside(cover, f"{cover.suffix}.report{kind}") for kind in (".html", ".json"))
        places = {"report": report, "figures": figures}
        if state.get("credentials"):
            places["credentials"] = beside(cover, SIDECAR_SUFFIX)
        if state.get("video"):  # an older server has none
            places["video"] = beside(cover, f" {item.settings.output.video}.mp4")
        for name, target in {**places, "audio": cover}.items():
            self._fetch(state[name]["href"], target, stop)
        self._times.add(item.identity, state["result"]["duration"], {"cover": self._work})
        del places["figures"]  # the result has what is in them
        files = {name: str(place) for name, place in places.items()}
        return {**state["result"], "cover": str(cover), **files, "warnings": state["warnings"]}

    def _fetch(self, href: str, target: Path, stop: Event) -> None:
        with tempfile.NamedTemporaryFile(suffix=target.suffix) as file:
            try:
                with self._client.stream("GET", self._client.base_url.join(href)) as answer:
                    if answer.status_code >= 400:
                        answer.read()
                        raise _problem(answer)
                    for block in answer.iter_bytes(1 << 20):
                        if stop.is_set():
                            raise Cancelled
                        file.write(block)
            except httpx.HTTPError as error:
                raise UnderstudyError(
                    "server-unreachable",
                    f"The server {self._address} broke off while it sent {target.name} ({type(error).__name__}).",
                    "Run the same command again: finished covers stay on the server.",
                ) from error
            file.flush()
            publish(Path(file.name), target)


def _singing(singers: Singers) -> dict[str, Any]:
    """How the voices sing, as far as the batch says; an older server knows no such fields."""
    fields: dict[str, Any] = {}
    if singers.engine:
        fields["engine"] = singers.engine
    if singers.transposes:
        fields["transposes"] = parse_transposes(singers.transposes)
    return fields


def _problem(answer: httpx.Response) -> UnderstudyError:
    """The error that the server answered."""
    try:
        problem = answer.json()
        return UnderstudyError(str(problem["code"]), str(problem["detail"]), str(problem["hint"]))
    except (ValueError, KeyError, TypeError):
        return UnderstudyError(
            "server-unexpected",
            f"The server answered {answer.status_code}, and not as Understudy does.",
            "Check that the address is that of `understudy serve`.",
        )
