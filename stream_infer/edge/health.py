"""edge.health: is this worker alive, has it started, is it ready, and if not, what is missing? host → *health* → status page.

Alive means: the thread that polls Kafka goes round, and nothing fatal has happened. Whether Kafka answers is no part of it: to
restart a worker because the broker is down only adds a storm of restarts to the outage.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

CONDITIONS = ("assignment held", "state restored", "models loaded")
# Above the 60 s after which a transactional call that hangs ends the process by itself: while the broker is away, a worker is alive.
BEAT_AGE_S_MAX = 90.0


class Health:
    """What the host knows about itself. Any thread may write or read."""

    def __init__(
        self,
        conditions: tuple[str, ...] = CONDITIONS,
        *,
        beat_age_s_max: float = BEAT_AGE_S_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """conditions: what must hold to be ready; beat_age_s_max: seconds without a beat after which the worker counts as stuck."""
        self._clock = clock
        self._lock = Lock()
        self._beat_at = clock()
        self._beat_age_s_max = beat_age_s_max
        self._missing = dict.fromkeys(conditions, "not yet")
        self._never_held = dict.fromkeys(conditions, True)
        self._draining = False
        self._fatal = ""

    def beat(self) -> None:
        """The poll thread went round once."""
        self._beat_at = self._clock()

    def holds(self, condition: str) -> None:
        """A condition is met from now on."""
        with self._lock:
            self._known(condition)
            self._missing[condition] = ""
            self._never_held[condition] = False

    def lacks(self, condition: str, why: str) -> None:
        """A condition is not met; why: one line for the operator."""
        with self._lock:
            self._known(condition)
            self._missing[condition] = why

    def drain(self) -> None:
        """The worker finishes what it has and takes nothing new."""
        self._draining = True

    def fail(self, why: str) -> None:
        """Something after which this process cannot go on; the first reason stays."""
        self._fatal = self._fatal or why

    def alive(self) -> list[str]:
        """What is wrong; empty when alive."""
        wrong = [f"fatal: {self._fatal}"] if self._fatal else []
        age = self._clock() - self._beat_at
        if age > self._beat_age_s_max:
            wrong.append(f"the poll thread has not gone round for {age:.1f} s (limit {self._beat_age_s_max:g} s)")
        return wrong

    def ready(self) -> list[str]:
        """What is missing; empty when ready to answer."""
        with self._lock:
            missing = [f"{condition}: {why}" for condition, why in self._missing.items() if why]
        return ["draining"] * self._draining + self.alive() + missing

    def started(self) -> list[str]:
        """Which conditions have not held even once; empty after the start."""
        with self._lock:
            return [f"{condition}: {self._missing[condition]}" for condition, never in self._never_held.items() if never]

    def _known(self, condition: str) -> None:
        if condition not in self._missing:
            known = ", ".join(self._missing)
            raise KeyError(f"health: no condition {condition!r}; known: {known}")
