"""How far a job is, as one number, from what its stages say."""

from __future__ import annotations

from threading import Lock

from pipeline.executor import StageEvent
from services.queue.jobs import Note

# rough shares of a cover's time; stages that aren't named count little
_WEIGHTS = {
    "cover": {
        "decode": 3.0,
        "separate": 30.0,
        "pitch": 8.0,
        "prepare": 8.0,
        "convert": 25.0,
        "finish": 5.0,
        "weigh": 2.0,
        "remix": 5.0,
        "encode": 3.0,
        "assess": 8.0,
        "report": 8.0,
    },
    "separation": {"decode": 5.0, "separate": 80.0, "encode": 5.0},
    "voice": {"voice": 1.0},
}


class Progress:
    """Collects a run's events; `take` gives what is new. The fraction never falls."""

    def __init__(self, kind: str) -> None:
        self._weights = _WEIGHTS[kind]
        self._done: dict[str, float] = {}
        self._notes: list[Note] = []
        self._latest: dict[str, Note] = {}
        self._fraction = 0.0
        self._stage: str | None = None
        self._lock = Lock()

    def hear(self, event: StageEvent) -> None:
        with self._lock:
            stage = event.node.split()[0]
            self._done[stage] = max(self._done.get(stage, 0.0), event.fraction)
            total = sum(self._weights.values())
            gained = sum(self._weights.get(name, 0.0) * fraction for name, fraction in self._done.items())
            self._fraction = max(self._fraction, min(0.99, gained / total))
            data = {"stage": event.node, "state": event.state, "fraction": round(event.fraction, 3)}
            data |= {"seconds": round(event.seconds, 2), "device": event.device}
            if event.state == "progress":
                self._latest[event.node] = Note("progress", data)
            else:
                self._latest.pop(event.node, None)
                self._notes.append(Note("stage", data))
            if event.state in ("started", "progress"):
                self._stage = event.node

    def take(self) -> tuple[list[Note], str | None, float]:
        """What happened since the last call (of each stage only its latest progress), the stage, the fraction."""
        with self._lock:
            notes = self._notes + list(self._latest.values())
            self._notes, self._latest = [], {}
            for note in notes:
                note.data["total"] = round(self._fraction, 3)
            return notes, self._stage, self._fraction
