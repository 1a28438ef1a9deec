"""edge.observing: what the worker did becomes metrics, health and the live view. worker → *observing* → telemetry.

Reads what the core counted; never speaks to it. Watermarks cost a request to the broker, so they are asked for every
ASK_EVERY_S only.
"""

from __future__ import annotations

import time
from collections.abc import Sized
from dataclasses import asdict
from typing import Any

import numpy as np

from stream_infer.edge.calls import Calls
from stream_infer.edge.health import Health
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.model_processes import ModelProcesses
from stream_infer.edge.telemetry import Telemetry
from stream_infer.feedback import Joined
from stream_infer.flow.transport import Partition
from stream_infer.flow.worker import Worker
from stream_infer.hashing import hash64
from stream_infer.records import Bools, Floats
from stream_infer.topology.plan import DecideStep, FeedbackStep

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 5.0
FEEDBACK_REJECTED = ("feedback_late", "feedback_unknown", "feedback_incomplete", "feedback_too_many")  # as the join counts them


class Observer:
    """Takes what changed since the last look."""

    def __init__(
        self,
        worker: Worker,
        transport: KafkaTransport,
        telemetry: Telemetry,
        health: Health,
        calls: Calls | None = None,
        processes: ModelProcesses | None = None,
    ) -> None:
        self._calls = calls
        self._worker, self._transport, self._telemetry, self._health = worker, transport, telemetry, health
        self._processes = processes
        steps = [step for section in worker.plan.sections for step in section.steps]
        self._decide = next((s for s in steps if isinstance(s, DecideStep)), None)
        self._feedback = [s for s in steps if isinstance(s, FeedbackStep)]
        self._seen: dict[str, int] = {}
        self._shadow: dict[int, float] = {}  # by hash of the prediction's id, until its outcome or the end of its wait
        self._looked_at = self._asked_at = 0.0
        self.batch_rows: dict[int, int] = {}
        self.samples: list[tuple[float, int, int]] = []  # of a deterministic run: (seconds, records read so far, lag)
        self._reported: set[Partition] = set()

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
        self._batching()
        self._lanes()
        if self._calls is not None:
            self._called(self._calls)
        if not last and now - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now
            self._watermarks()
        if self._worker.deterministic:
            self.samples.append((now, self._worker.stats.records_read, self._worker.lag()))

    def _lanes(self) -> None:
        """What the models' workers did."""
        if self._processes is None:
            return
        keepers, put = self._processes.keepers, self._telemetry.put
        lanes, known = keepers.status(), keepers.known
        for lane in lanes:
            put("worker_passes_total", lane.passes, lane.name)
            put("worker_rows_total", lane.rows, lane.name)
            put("worker_busy_seconds_total", lane.busy_s, lane.name)
            put("worker_restarts_total", lane.restarts, lane.name)
            put("worker_shared_bytes", lane.bytes_shared, lane.name)
        for model, rows in (dict.fromkeys((name for lane in lanes for name in lane.models), 0) | keepers.rows_waiting()).items():
            put("rows_waiting", rows, model)
            put("out_of_memory_total", known.no_memory.get(model, 0), model)
            if known.rows_fit(model):
                put("batch_rows_fit", known.rows_fit(model), model)
        put("artifact_shared_bytes", self._processes.bytes_used())

    def _delta(self, name: str, total: int) -> int:
        before = self._seen.get(name, 0)
        self._seen[name] = total
        return total - before

    def _totals(self) -> None:
        stats, pace, telemetry = self._worker.stats, self._worker.pace, self._telemetry
        telemetry.rows_read(self._worker.plan.name, self._delta("in", stats.records_read))
        for topic, count in pace.written.items():
            telemetry.rows_written(topic, self._delta(f"written {topic}", count))
        for stage, count in stats.rows_rejected.items():
            telemetry.rows_rejected(self._worker.plan.emit.rejects_topic, stage, self._delta(f"rejected {stage}", count))
        for (stage, outcome), count in stats.explanations.items():
            telemetry.explained(stage, outcome, self._delta(f"{outcome} {stage}", count))
        telemetry.stale_dropped(self._delta("stale", stats.stale_dropped))
        telemetry.in_flight(self._worker.flow.room.waiting())
        telemetry.paused(len(self._worker.flow.room))
        telemetry.restored(self._delta("restored", pace.restored_records), pace.take_restore_ms() / 1000)
        commit_ms, pace.commit_ms = pace.commit_ms, []
        for took in commit_ms:
            telemetry.transaction("committed", took / 1000)
        for _ in range(self._delta("aborts", pace.aborts)):
            telemetry.transaction("aborted", 0.0)
        for _ in range(self._delta("rebuilt", self._transport.producers_rebuilt)):
            telemetry.producer_rebuilt()
        for _ in range(self._delta("rebalances", pace.rebalances)):
            telemetry.rebalanced("assigned", len(self._worker.flow.tasks))
        for name, version in stats.versions.items():
            if name in self._worker.plan.models and self._delta(f"version {name}", version):
                telemetry.model_live(name, str(version))
        for name in {*stats.installs, *stats.install_failures}:
            installs, failures = stats.installs.get(name, 0), stats.install_failures.get(name, 0)
            telemetry.counted("model_installs_total", self._delta(f"installs {name}", installs), name)
            telemetry.counted("model_install_failures_total", self._delta(f"failures {name}", failures), name)
        for name, versions in stats.in_effect.items():
            if self._delta(f"in effect {name}", max(versions.values())):
                telemetry.model_live(name, str(max(versions.values())))
        self._latencies()
        for step in self._feedback:
            self._feedback_of(step.name)

    def _latencies(self) -> None:
        pace = self._worker.pace
        first = self._seen.get("latencies", 0)
        fresh = np.repeat(np.array(pace.latency_ms[first:], dtype=np.float64), np.array(pace.latency_rows[first:], dtype=np.int64))
        self._telemetry.committed(fresh / 1000)
        if not self._worker.deterministic:  # a run without end must not keep what only a report reads
            pace.latency_ms, pace.latency_rows = [], []
        self._seen["latencies"] = len(pace.latency_ms)

    def _feedback_of(self, step: str) -> None:
        counts = self._worker.stats.feedback
        words = ("feedback", "feedback_repeated", *FEEDBACK_REJECTED)
        fresh = {word: self._delta(f"{step}.{word}", counts.get(f"{step}.{word}", 0)) for word in words}
        self._telemetry.feedback(
            accepted=fresh["feedback"],
            late=fresh["feedback_late"],
            duplicate=fresh["feedback_repeated"],
            unknown=fresh["feedback_unknown"],
        )
        self._telemetry.rows_rejected(self._worker.plan.emit.rejects_topic, step, sum(fresh[word] for word in FEEDBACK_REJECTED))

    def _drained(self) -> None:
        answered, joined, batches = self._worker.stats.drain()
        for model in dict.fromkeys(name for name, _ in batches):
            self._telemetry.passes(model, [passed for name, passed in batches if name == model])
        for _, passed in batches:
            self.batch_rows[passed.rows] = self.batch_rows.get(passed.rows, 0) + 1
        decide = self._decide
        if decide is None:
            return
        for part in answered:
            pulls = np.bincount(part.arm, minlength=len(part.arms))
            self._telemetry.decided(decide.name, part.arms, pulls, part.shares, part.policy_version)
            if part.shadow is not None:
                self._shadow.update(zip(hash64(part.ids).tolist(), part.shadow.tolist(), strict=True))
        for rows_joined in joined:
            known = ~np.isnan(rows_joined.labels)
            error = np.abs(rows_joined.answer[known] - rows_joined.labels[known])
            self._telemetry.judged(decide.name, decide.arms, rows_joined.arm[known], error, rows_joined.rewards[known])
            self._judge_shadow(decide, rows_joined, known, error)

    def _judge_shadow(self, decide: DecideStep, rows_joined: Joined, known: Bools, error: Floats) -> None:
        """The first shadow on the rows that this process answered; others have its answers elsewhere."""
        if not self._shadow:
            return
        answers = np.array([self._shadow.pop(name, np.nan) for name in hash64(rows_joined.ids).tolist()])[known]
        here = ~np.isnan(answers)
        theirs = np.abs(answers[here] - rows_joined.labels[known][here])
        self._telemetry.judged_shadow(decide.name, decide.shadows[0], theirs, error[here])

    def _conditions(self) -> None:
        tasks = self._worker.flow.tasks.values()
        if tasks:
            self._health.holds("assignment held")
            self._health.holds("state restored")
        else:
            self._health.lacks("assignment held", "no partition is assigned to this process")
        used: dict[str, int] = {}
        keys: dict[str, int] = {}
        for task in tasks:
            for name, store in task.work.stores.items():
                used[name] = used.get(name, 0) + store.bytes_used()
                keys[name] = keys.get(name, 0) + (len(store) if isinstance(store, Sized) else 0)
        for name, count in used.items():
            self._telemetry.state(name, state_bytes=count, keys=keys[name])

    def _batching(self) -> None:
        """How much waits decides between small batches and large ones; asked of what was fetched last, at no cost."""
        flow = self._worker.flow
        owned = [p for task in flow.tasks.values() for p in task.inputs() if task.owned(p)]
        waiting = flow.room.waiting() + sum(self._transport.lag(p) for p in owned)
        flow.sizing.waiting(waiting if owned else None)
        for name in self._worker.plan.models:
            self._telemetry.sizing(name, rows_max=flow.sizing.rows(name), curve=flow.sizing.curve(name))
        self._telemetry.backlog(flow.sizing.backlog)
        for (step, what), rows in flow.sizing.late.items():
            self._telemetry.counted("rows_late_total", self._delta(f"late {step} {what}", rows), step, what)
        for (step, member, why), rows in flow.sizing.patience.left_out.items():
            fresh = self._delta(f"left out {step} {member} {why}", rows)
            self._telemetry.counted("members_left_out_total", fresh, step, member, why)

    def _called(self, calls: Calls) -> None:
        states = calls.breakers()
        for stage, tally in calls.take_figures().items():
            self._telemetry.called(stage, tally, states.get(stage))

    def _watermarks(self) -> None:
        """Lag of every owned partition: a request to the broker, so not at every look."""
        live = not self._worker.deterministic  # a replay is not late, it is long ago
        oldest = {p: t.oldest(p) if live else None for t in self._worker.flow.tasks.values() for p in t.inputs() if t.owned(p)}
        found = self._transport.watermarks()
        for (topic, number), marks in found.items():
            self._telemetry.watermarks(
                topic, number, position=marks.position, stable=marks.stable, high=marks.high, oldest_ms=oldest.get((topic, number))
            )
        for topic, number in self._reported - found.keys():
            self._telemetry.forget_partition(topic, number)
        self._reported = set(found)

    def status(self) -> dict[str, Any]:
        """For /status: tasks and totals. Called by the page's own threads, so what the worker changes is copied first."""
        stats, pace = self._worker.stats, self._worker.pace
        return {
            "topology": self._worker.plan.name,
            "tasks": [f"{section}[{partition}]" for section, partition in list(self._worker.flow.tasks)],
            "records_read": stats.records_read,
            "rows_in": stats.rows_in,
            "rows_answered": stats.rows_answered,
            "rows_rejected": dict(stats.rows_rejected),
            "feedback": dict(stats.feedback),
            "commits": pace.commits,
            "aborts": pace.aborts,
            "versions": dict(stats.versions),
            "in_effect": {name: dict(versions) for name, versions in stats.in_effect.items()},
            "install_failures": dict(stats.install_failures),
            "install_failed_last": dict(stats.install_failed_last),
            "rows_max": {name: self._worker.flow.sizing.rows(name) for name in self._worker.plan.models},
            "workers": [] if self._processes is None else [asdict(lane) for lane in self._processes.keepers.status()],
        }
