"""edge.stores: the store stages of a process, all of them or those that it was given. projecting → *stores* → host, telemetry."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Event
from types import TracebackType
from typing import Any

from stream_infer.edge.health import Health
from stream_infer.edge.progress import Progress
from stream_infer.edge.projecting import Projector
from stream_infer.edge.status_page import StatusPage
from stream_infer.edge.telemetry import Telemetry
from stream_infer.errors import EnvironmentMissing
from stream_infer.topology.plan import Plan

LOOK_EVERY_S = 1.0
WAKE_S = 0.2  # how soon a stop is heard
END_S = 15.0  # a projector at an end waits for one round trip to Redis and for the group at most


def stores_of(plan: Plan, stages: Sequence[str] | None) -> list[str]:
    """The store stages among these; all of them where no stages are named."""
    return [store.name for store in plan.stores if stages is None or store.name in stages]


class Stores:
    """Projectors that run while the block does. names: of their stages."""

    def __init__(
        self,
        plan: Plan,
        names: Sequence[str],
        bootstrap: str,
        telemetry: Telemetry,
        *,
        session_timeout_ms: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        wanted = [store for store in plan.stores if store.name in names]
        self.projectors = [Projector(plan, store, bootstrap, session_timeout_ms=session_timeout_ms) for store in wanted]
        self._telemetry, self._clock, self._looked_at = telemetry, clock, 0.0

    def __enter__(self) -> Stores:
        for projector in self.projectors:
            projector.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for projector in self.projectors:
            projector.stop()
        until = self._clock() + END_S
        for projector in self.projectors:
            projector.join(max(until - self._clock(), 0.0))
        self.look(last=True)

    def look(self, *, last: bool = False) -> bool:
        """What they did becomes metrics, once a second; whether that was now."""
        now = self._clock()
        if not last and now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        for projector in self.projectors:
            name, stats = projector.store.name, projector.stats
            for what, count in list(stats.rows.items()):
                self._telemetry.put("store_rows_total", count, name, what)
            for what, count in list(stats.faults.items()):
                self._telemetry.put("store_faults_total", count, name, what)
            self._telemetry.put("store_rebuilds_total", stats.rebuilt, name)
            self._telemetry.put("store_lag_records", sum(list(stats.lag.values())), name)
            self._telemetry.put("store_stopped", float(bool(stats.stopped)), name)
        return True

    def status(self) -> dict[str, Any]:
        """For /status: what became of the answers, by stage."""
        all_stats = {projector.store.name: projector.stats for projector in self.projectors}
        return {name: {"rows": dict(s.rows), "faults": dict(s.faults), "lag": dict(s.lag)} for name, s in all_stats.items()}

    def stopped(self) -> list[str]:
        """Why projectors have ended by themselves."""
        return [projector.stats.stopped for projector in self.projectors if projector.stats.stopped]


def run_stores(
    plan: Plan, stages: Sequence[str], bootstrap: str, port: int | None, progress: Progress, *, session_timeout_ms: int = 10_000
) -> None:
    """`stream-infer run --stages` with store stages alone, until SIGTERM or Ctrl-C. EnvironmentMissing when one cannot go on."""
    telemetry, health, over = Telemetry(plan.name), Health(()), Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    stores = Stores(plan, stores_of(plan, stages), bootstrap, telemetry, session_timeout_ms=session_timeout_ms)
    with ExitStack() as stack:
        if port is not None:
            page = stack.enter_context(StatusPage(health, telemetry, port=port, status=stores.status))
            host, at = page.address
            progress.say(f"status: http://{host}:{at}/status, metrics: http://{host}:{at}/metrics")
        stack.enter_context(stores)
        while not over.wait(WAKE_S):
            health.beat()
            stores.look()
            if stopped := stores.stopped():
                raise EnvironmentMissing("\n".join(stopped))
