"""edge.breaker: stop asking who does not answer. function settings → *breaker* → edge.calls_outside.

Closed, everything passes. After `failures` failures in a row it opens: nothing passes for open_ms. Then it is half open: one call may try
the other side, and what becomes of it closes or opens again. A call that began before the last change of state says nothing about it.
"""

from __future__ import annotations

from stream_infer.functions import BreakerSettings

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Breaker:
    """Of one stage in one process. Times are ms, monotone, and come from the caller; not to be shared by threads."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._state, self._failures, self._opened_at, self._epoch = CLOSED, 0, 0, 0
        self._trying = False
        self.opened = 0  # how often, since the start

    def state(self, now: int) -> str:
        """CLOSED, OPEN or HALF_OPEN."""
        if self._state == OPEN and now - self._opened_at >= self._settings.open_ms:
            self._turn(HALF_OPEN)
        return self._state

    def state_at(self, now: int) -> str:
        """As state(), for onlookers in other threads: changes nothing."""
        return HALF_OPEN if self._state == OPEN and now - self._opened_at >= self._settings.open_ms else self._state

    def ask(self, now: int) -> int | None:
        """A ticket for one call, to be given back with what became of it; None: it must not be made."""
        state = self.state(now)
        if state == OPEN or (state == HALF_OPEN and self._trying):
            return None
        self._trying = state == HALF_OPEN
        return self._epoch

    def went_well(self, ticket: int, now: int) -> None:
        """The other side answered."""
        self.state(now)
        if ticket != self._epoch:
            return
        self._failures = 0
        if self._state == HALF_OPEN:
            self._turn(CLOSED)

    def failed(self, ticket: int, now: int) -> None:
        """It did not."""
        self.state(now)
        if ticket != self._epoch:
            return
        self._failures += 1
        if self._state == HALF_OPEN or self._failures >= self._settings.failures:
            self._turn(OPEN)
            self._opened_at = now
            self.opened += 1

    def _turn(self, state: str) -> None:
        self._state, self._failures, self._trying = state, 0, False
        self._epoch += 1
