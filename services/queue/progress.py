"""The progress of a job as one number, from the events of its stages."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from understudy.pipeline.executor import StageEvent
from understudy.services.queue.jobs import Note
from understudy.services.stage_titles import stage_title

if TYPE_CHECKING:
    from understudy.voices.training.events import TrainingEvent

# rough shares of the time of a job; stages that aren't listed don't count
_WEIGHTS = {
    "cover": {
        "decode": 3.0,
        "separate": 30.0,
        "pitch": 8.0,
        "prepare": 8.0,
        "study": 8.0,
        "convert": 25.0,
        "finish": 5.0,
        "measure": 2.0,
        "remix": 5.0,
        "encode": 3.0,
        "assess": 8.0,
        "report": 8.0,
    },
    "separation": {"decode": 5.0, "separate": 80.0, "encode": 5.0},
    "voice": {"voice": 1.0},
    "training": {},
}
_SLOW = 0.002
"""Seconds per second of song that a weight stands for on two cores."""
_TRUST, _KNOWN = 0.3, 0.1
"""Shares of the planned seconds: as which the plan counts against the pace, if it was measured; after which a pace is
known, if not."""
MOST_WARNINGS = 50
_PREPARING = 0.05  # share of a training's progress in which its data is made


_MODEL = 60.0  # a neural separation model takes longer than anything else


def models_run(request: Mapping[str, Any]) -> dict[str, int]:
    """The number of neural models that each stage of the separation runs, by stage, in the job of `request`."""
    separation = request.get("settings", {}).get("separation", {})
    if request.get("inputs", {}).keys() - {"song"}:
        return {}  # with own stems nothing is separated
    stages = {"model": "separate", **{name: name for name in ("restore", "lead", "dereverb", "denoise", "instruments")}}
    models = {stage: separation.get(setting) or "embedded" for setting, stage in stages.items()}
    return {stage: names.count("+") + 1 for stage, names in models.items() if names != "embedded"}


def usual_seconds(kind: str, stage: str, models: Mapping[str, int], seconds: float) -> float:
    """What a stage of a job of `kind` over `seconds` of song takes where it was never measured."""
    return _SLOW * seconds * (_MODEL * models[stage] if stage in models else _WEIGHTS[kind].get(stage, 0.5))


class Progress:
    """Collects the events of a run; `take` returns the new ones. The fraction never decreases. `models`: as from
    `models_run`; `result`: of a training that goes on, what it had."""

    def __init__(
        self, kind: str, models: Mapping[str, int] | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        self._models = models or {}
        self._weights = {**_WEIGHTS[kind], **{stage: _MODEL * count for stage, count in self._models.items()}}
        self._done: dict[tuple[str, str], float] = {}  # by kind and subject of the node
        self._notes: list[Note] = []
        self._latest: dict[str, Note] = {}
        self._result = dict(result or {})  # how far a training is, for those who don't follow its events
        step, of = self._result.get("step"), self._result.get("of")
        self._fraction = _training_fraction(step / of) if step and of else 0.0
        self._stage: str | None = None
        self._lock = Lock()
        self._begun = time.monotonic()
        self._expected: dict[tuple[str, str], float] = {}  # seconds of each node, where that was planned
        self._sure = False
        self._size = 0  # bytes of the files in it

    def plan(self, expected: Mapping[tuple[str, str], float], sure: bool) -> None:
        """The seconds that the nodes to come will take, by kind and subject. `sure`: they were measured before, so that
        one can say from the beginning how long the job will take; else as soon as it is known how fast it goes."""
        with self._lock:
            self._expected, self._sure = dict(expected), sure

    def seconds_left(self) -> float | None:
        """What is left of the plan, at the pace of what is done so far; None where that isn't known yet."""
        total = sum(self._expected.values())
        done = sum(seconds * self._done.get(node, 0.0) for node, seconds in self._expected.items())
        if not total or (not self._sure and done < _KNOWN * total):
            return None
        trust = (_TRUST if self._sure else _KNOWN) * total  # seconds that count as if they had gone as planned
        return (total - done) * (time.monotonic() - self._begun + trust) / (done + trust)

    def update(self, event: StageEvent) -> None:
        with self._lock:
            node = event.kind, event.subject
            self._done[node] = max(self._done.get(node, 0.0), event.fraction)
            if self._expected:
                total = sum(self._expected.values())
                gained = sum(seconds * self._done.get(one, 0.0) for one, seconds in self._expected.items())
            else:
                total = sum(self._weights.values())
                gained = sum(weight * self._of(stage) for stage, weight in self._weights.items())
            self._fraction = max(self._fraction, min(0.99, gained / total) if total else 0.0)
            data: dict[str, Any] = {"stage": event.node, "title": stage_title(event.kind, event.subject)}
            data |= {"state": event.state, "fraction": round(event.fraction, 3)}
            data |= {"seconds": round(event.seconds, 2), "device": event.device}
            data |= {"why": event.why} if event.why else {}
            if event.state == "progress":
                self._latest[event.node] = Note("progress", data)
            else:
                self._latest.pop(event.node, None)
                self._notes.append(Note("stage", data))
            if event.state in ("started", "progress"):
                self._stage = event.node

    def train(self, event: TrainingEvent) -> None:
        """Take an event of a training. Its evaluations, warnings and end are kept as events of the type ``training``;
        of its steps and saved states only the latest, as ``progress``."""
        data: dict[str, Any] = {"kind": event.kind, "step": event.step, "of": event.of, "best": event.best}
        data |= {"losses": _figures(event.losses), "evaluation": _figures(event.evaluation or {}) or None}
        data |= {"seconds_left": _figure(event.seconds_left), "sentence": event.sentence}
        part = event.step / event.of if event.of else 0.0
        gained = _PREPARING * part if event.kind == "preparing" else _training_fraction(part)
        with self._lock:
            self._fraction = max(self._fraction, min(0.99, gained))
            self._stage = "train" if event.kind != "preparing" else self._stage
            if event.kind != "preparing":
                kept = {name: value for name, value in data.items() if name not in ("kind", "sentence")}
                self._result |= {name: value for name, value in kept.items() if value is not None and value != {}}
            if event.kind == "warning" and event.sentence not in self._result.get("warnings", []):
                self._result["warnings"] = [*self._result.get("warnings", []), event.sentence][-MOST_WARNINGS:]
            if event.kind in ("preparing", "steps", "saved"):
                about = {
                    "stage": "train",
                    "title": stage_title("train"),
                    "state": "progress",
                    "fraction": round(min(1.0, part), 4),
                }
                self._latest[f"train {event.kind}"] = Note("progress", about | data)
            else:
                self._notes.append(Note("training", data))

    @property
    def best(self) -> int | None:
        """The step of the training's best checkpoint so far."""
        return self._result.get("best")

    def share(self, files: Mapping[str, Any], size: int) -> None:
        """Files of a training that can be had before it has ended, as they stand in its result."""
        with self._lock:
            self._result["files"] = dict(files)
            self._size = size

    def files(self) -> dict[str, Any]:
        """The files that were shared last."""
        with self._lock:
            return dict(self._result.get("files", {}))

    def preview(self, name: str, file: Mapping[str, Any]) -> None:
        """A file of a cover that can be heard before it is finished, as it stands in the job's result."""
        with self._lock:
            self._result["previews"] = {**self._result.get("previews", {}), name: dict(file)}
            self._size = sum(one["bytes"] for one in self._result["previews"].values())
            data = {"name": name, "state": "finished", "start": file["start"], "seconds": file["seconds"]}
            self._notes.append(Note("preview", data))

    def previews(self) -> dict[str, Any]:
        """The files that `preview` got."""
        with self._lock:
            return dict(self._result.get("previews", {}))

    def so_far(self) -> dict[str, Any]:
        """The values of the job's row that say how far a training is, and what can be heard of a cover."""
        with self._lock:
            values = {"result": dict(self._result), "bytes": self._size}
            return {name: value for name, value in values.items() if value}

    def _of(self, stage: str) -> float:
        """The progress of the nodes of the kind `stage`: of several models their mean, else the furthest."""
        fractions = {subject: fraction for (kind, subject), fraction in self._done.items() if kind == stage}
        if stage not in self._models or fractions.get("") == 1.0:
            return max(fractions.values(), default=0.0)
        models = [fraction for subject, fraction in fractions.items() if subject]
        return min(1.0, sum(models) / self._models[stage])

    def take(self) -> tuple[list[Note], str | None, float]:
        """(events since the last call, of each stage only its latest progress; the current stage; the fraction)."""
        with self._lock:
            notes = self._notes + list(self._latest.values())
            self._notes, self._latest = [], {}
            left = self.seconds_left()
            if left is not None:
                self._result["seconds_left"] = round(left, 1)
            for note in notes:
                note.data.update(
                    {"total": round(self._fraction, 3)} | ({} if left is None else {"left": round(left, 1)})
                )
            return notes, self._stage, self._fraction


def _training_fraction(part: float) -> float:
    return _PREPARING + (0.99 - _PREPARING) * min(1.0, part)


def _figures(values: Mapping[str, float]) -> dict[str, float]:
    """With six digits, without what JSON has no number for."""
    figures = {name: _figure(value) for name, value in values.items()}
    return {name: value for name, value in figures.items() if value is not None}


def _figure(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
