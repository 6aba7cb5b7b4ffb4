"""Who makes which artifact: one maker for each key in a cluster, however many programs use it.

An actor on the cluster's head holds the claims. A program renews its own all the time; those of one that was killed
end by themselves. When the actor dies, Ray starts it again without any claim: each comes back with the next
renewal; in the seconds between, the worst is that an artifact is made twice, with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

LEASE = 15.0  # seconds that a claim holds without being renewed
RENEWAL = 4.0  # seconds between two renewals


class Claims:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}

    def claim(self, key: str, holder: str) -> bool:
        """Claim `key` for `holder`; False while another one holds it."""
        now = self._clock()
        owner, until = self._held.get(key, (holder, now))
        if owner != holder and until > now:
            return False
        self._held[key] = (holder, now + LEASE)
        return True

    def renew(self, keys: Iterable[str], holder: str) -> None:
        """`holder` is alive and holds these."""
        for key in keys:
            self.claim(key, holder)

    def release(self, key: str, holder: str) -> None:
        if self._held.get(key, ("", 0.0))[0] == holder:
            del self._held[key]
