"""edge.observing: what the worker did becomes metrics, health and the live view. worker → *observing* → telemetry.

Reads what the core counted; never speaks to it. Watermarks cost a request per partition, so they are asked for every
LOOK_EVERY_S only.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from stream_infer.edge.health import Health
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.telemetry import Telemetry
from stream_infer.flow.worker import Worker
from stream_infer.topology.plan import DecideStep, FeedbackStep

LOOK_EVERY_S = 1.0


class Observer:
    """Takes what changed since the last look."""

    def __init__(self, worker: Worker, transport: KafkaTransport, telemetry: Telemetry, health: Health) -> None:
        self._worker, self._transport, self._telemetry, self._health = worker, transport, telemetry, health
        steps = [step for section in worker.plan.sections for step in section.steps]
        self._decide = next((s for s in steps if isinstance(s, DecideStep)), None)
        self._feedback = [s for s in steps if isinstance(s, FeedbackStep)]
        self._seen: dict[str, int] = {}
        self._looked_at = 0.0
        self.batch_rows: dict[int, int] = {}
        self.samples: list[tuple[float, int, int]] = []  # (seconds, rows answered so far, lag)

    def look(self, *, last: bool = False) -> None:
        """Once per turn of the loop; cheap unless LOOK_EVERY_S has passed."""
        self._health.beat()
        now = time.monotonic()
        if not last and now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        self._totals()
        self._drained()
        self._conditions()
        self.samples.append((now, self._worker.stats.rows_answered, self._worker.lag()))

    def _delta(self, name: str, total: int) -> int:
        before = self._seen.get(name, 0)
        self._seen[name] = total
        return total - before

    def _totals(self) -> None:
        stats, pace, telemetry = self._worker.stats, self._worker.pace, self._telemetry
        telemetry.rows_read(self._worker.plan.name, self._delta("in", stats.rows_in))
        for stage, count in stats.rows_rejected.items():
            telemetry.rows_rejected(self._worker.plan.emit.rejects_topic, stage, self._delta(f"rejected {stage}", count))
        telemetry.stale_dropped(self._delta("stale", stats.stale_dropped))
        telemetry.restored(self._delta("restored", pace.restored_records), 0.0)
        commit_ms, pace.commit_ms = pace.commit_ms, []
        for took in commit_ms:
            telemetry.transaction("committed", took / 1000)
        for _ in range(self._delta("aborts", pace.aborts)):
            telemetry.transaction("aborted", 0.0)
        for _ in range(self._delta("rebalances", pace.rebalances)):
            telemetry.rebalanced("assigned", len(self._worker.flow.tasks))
        for name, version in stats.versions.items():
            if name in self._worker.plan.models:
                telemetry.model_live(name, str(version))

    def _drained(self) -> None:
        answered, joined, batches = self._worker.stats.drain()
        if batches:
            rows, counts = np.unique(np.array(batches), return_counts=True)
            for size, count in zip(rows.tolist(), counts.tolist(), strict=True):
                self.batch_rows[size] = self.batch_rows.get(size, 0) + count
        decide = self._decide
        if decide is None:
            return
        for part in answered:
            pulls = np.bincount(part.arm, minlength=len(part.arms))
            self._telemetry.decided(decide.name, part.arms, pulls, part.shares, part.policy_version)
        for rows_joined in joined:
            known = ~np.isnan(rows_joined.labels)
            error = np.abs(rows_joined.answer[known] - rows_joined.labels[known])
            self._telemetry.judged(decide.name, decide.arms, rows_joined.arm[known], error, rows_joined.rewards[known])
            self._telemetry.feedback(accepted=int(known.sum()), late=len(rows_joined.returned))

    def _conditions(self) -> None:
        if self._worker.flow.tasks:
            self._health.holds("assignment held")
            self._health.holds("state restored")
        else:
            self._health.lacks("assignment held", "no partition is assigned to this process")
        for name, store in ((f"{t.id[0]}.{n}", s) for t in self._worker.flow.tasks.values() for n, s in t.work.stores.items()):
            self._telemetry.state(name, state_bytes=store.bytes_used(), keys=0)

    def status(self) -> dict[str, Any]:
        """For /status: tasks and totals."""
        stats, pace = self._worker.stats, self._worker.pace
        return {
            "topology": self._worker.plan.name,
            "tasks": [f"{section}[{partition}]" for section, partition in self._worker.flow.tasks],
            "rows_in": stats.rows_in,
            "rows_answered": stats.rows_answered,
            "rows_rejected": stats.rows_rejected,
            "commits": pace.commits,
            "aborts": pace.aborts,
            "versions": stats.versions,
        }
