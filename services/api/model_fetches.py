"""Downloads of models that users of this server have asked for, each in a thread of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.fetch import fetch
from understudy.services.api.problems import ApiError

_MOST = 2
"""Downloads at a time; of one owner one."""
_WORDS = {
    "model-offline": "This server can't reach the place where the model is published.",
    "disk-full": "There is no room for the model on this server.",
    "model-busy": "Somebody else is fetching this model to the server.",
}
"""What errors say to users: their own messages name folders and commands of the server's operator."""


@dataclass
class Fetch:
    """One download. `fraction`: 0..1 of it has arrived; `error`: why it ended without the model."""

    model: str
    owner: str
    fraction: float = 0.0
    error: UnderstudyError | None = None
    cancelled: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)

    def run(self) -> None:
        try:
            with scratch_context(self._progress, self.cancelled) as context:
                fetch(self.model, context)
        except Cancelled:
            self.error = None
        except UnderstudyError as error:
            text = _WORDS.get(error.code, "The model could not be fetched.")
            self.error = UnderstudyError(error.code, text, "Try again later: it goes on where it stopped.")
        finally:
            self.over.set()

    def _progress(self, fraction: float) -> None:
        self.fraction = fraction


class Fetches:
    """The downloads of one server process by model: those under way, and the last one of each that has ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._fetches: dict[str, Fetch] = {}

    def find(self, model: str) -> Fetch | None:
        return self._fetches.get(model)

    def begin(self, model: str, owner: str) -> Fetch:
        """Fetch `model`; one that is on its way is joined. Raises ``too-many-transfers``."""
        with self._lock:
            found = self._fetches.get(model)
            if found is not None and not found.over.is_set():
                return found
            running = [one for one in self._fetches.values() if not one.over.is_set()]
            if len(running) >= _MOST or any(one.owner == owner for one in running):
                text = "Another model is being fetched."
                raise ApiError("too-many-transfers", text, "Wait until it is there.", {"Retry-After": "10"})
            started = self._fetches[model] = Fetch(model, owner)
            Thread(target=started.run, name=f"fetch {model}", daemon=True).start()
            return started

    def stop(self) -> None:
        """End all downloads; what has arrived stays, and the next one goes on from there."""
        for one in list(self._fetches.values()):
            one.cancelled.set()
