"""What a worker did becomes metrics. Oracle: the worker's own totals; every look adds only what came since the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_infer.cli import load_plan
from stream_infer.edge.health import Health
from stream_infer.edge.kafka import Watermarks
from stream_infer.edge.observing import Observer
from stream_infer.edge.telemetry import Telemetry
from stream_infer.edge.workers import load_models
from stream_infer.flow.transport import Partition
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.play import make_broker, send
from stream_infer.sim.transport import SimTransport
from tests.support_run import BEGIN_MS, FEEDBACK, OUTCOMES, event, score_case

SCORE = "score"


class Marked(SimTransport):
    """The simulated transport with the watermarks that a real one asks of its broker."""

    def __init__(self, broker: SimBroker, group: str, transactional_id: str) -> None:
        super().__init__(broker, group, transactional_id)
        self.marks: dict[Partition, Watermarks] = {}

    def watermarks(self) -> dict[Partition, Watermarks]:
        return self.marks

    def lag(self, partition: Partition) -> int:
        return self.marks[partition].high - self.marks[partition].position if partition in self.marks else 0


class Watched:
    """A worker on a simulated broker, its telemetry, and the events that it is given."""

    def __init__(self, folder: Path, *, deterministic: bool) -> None:
        case = score_case("", folder, "watched", topics=False, more_streams=OUTCOMES, feedback=FEEDBACK)
        self.plan = load_plan(case.path)
        models = load_models(self.plan, {})
        self.broker: SimBroker = make_broker(self.plan)
        self.send(range(10))
        outcome = {"user": "ann", "at_ms": BEGIN_MS + 9_500, "label": 1.0}
        rows = [("e1", "a"), ("e1", "a"), ("e2", "b"), ("e99", "c")]
        rows_of = [outcome | {"event_id": event_id, "outcome_id": name} for event_id, name in rows]
        send(self.broker, self.plan.streams["outcomes"], [*rows_of, outcome | {"event_id": "e9", "outcome_id": "d", "label": None}])
        self.transport = Marked(self.broker, "watched", "watched.0")
        self.worker = Worker(
            self.plan,
            statics(self.plan.models, models),
            self.transport,
            SimForwarder(models, self.broker.draw),
            lambda: self.broker.now_ms,
            deterministic=deterministic,
        )
        self.telemetry, self.health = Telemetry("watched"), Health()
        self.observer = Observer(self.worker, self.transport, self.telemetry, self.health)  # type: ignore[arg-type]
        self.worker.start()

    def send(self, numbers: range) -> None:
        rows = [event(number) for number in numbers]
        send(self.broker, self.plan.streams["events"], rows)

    def work(self, steps: int = 100) -> None:
        for _ in range(steps):
            self.worker.step(0)
            self.broker.advance(1)

    def value(self, name: str, **labels: str) -> Any:
        return self.telemetry.registry.get_sample_value(f"stream_infer_{name}", {"pipeline": "watched", **labels})


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, deterministic=True)


def test_totals_become_counters_and_a_second_look_adds_nothing(watched: Watched) -> None:
    watched.work()
    assert watched.worker.finished()
    for _ in range(2):
        watched.observer.look(last=True)
        assert watched.value("records_in_total", topic="watched") == 15
        assert watched.value("arm_pulls_total", stage=SCORE, arm="twice") == 10
        assert watched.value("records_out_total", topic="watched-predictions") == 10
        assert watched.value("transactions_total", outcome="committed") == watched.worker.pace.commits
        assert watched.value("rebalances_total", type="assigned") == 1
        assert watched.value("e2e_latency_seconds_count", to="committed") == 10
        assert watched.value("batch_rows_sum", model="twice") == 10
        left = [watched.value("batches_total", model="twice", why=why) or 0 for why in ("nothing_waits", "drain")]
        assert watched.value("forward_seconds_count", model="twice") == sum(left)


def test_feedback_is_counted_by_what_became_of_it(watched: Watched) -> None:
    watched.work()
    watched.observer.look(last=True)
    watched.observer.look(last=True)
    counted = {outcome: watched.value("feedback_total", outcome=outcome) for outcome in ("accepted", "duplicate", "unknown", "late")}
    assert counted == {"accepted": 2, "duplicate": 1, "unknown": 1, "late": None}
    assert watched.value("records_rejected_total", topic="watched-rejects", error_class="outcome") == 2  # unknown, incomplete
    assert watched.value("labelled_total", stage=SCORE, arm="twice") == 2
    assert watched.value("absolute_error_total", stage=SCORE, arm="twice") == abs(3 - 1) + abs(5 - 1)


def test_what_came_since_the_last_look_is_added(tmp_path: Path) -> None:
    watched = Watched(tmp_path, deterministic=False)
    watched.work()
    watched.observer.look(last=True)
    watched.send(range(10, 13))
    watched.work()
    assert watched.value("records_out_total", topic="watched-predictions") == 10
    watched.observer.look(last=True)
    assert watched.value("records_out_total", topic="watched-predictions") == 13
    assert watched.value("arm_pulls_total", stage=SCORE, arm="twice") == 13
    assert watched.value("e2e_latency_seconds_count", to="committed") == 13


def test_a_run_without_end_keeps_nothing_that_grows(tmp_path: Path) -> None:
    watched = Watched(tmp_path, deterministic=False)
    for number in range(20):
        watched.send(range(10 + number, 11 + number))
        watched.work(5)
        watched.observer.look(last=True)
    while not watched.worker.settled():
        watched.work(1)
    watched.observer.look(last=True)
    pace, stats = watched.worker.pace, watched.worker.stats
    kept = [watched.observer.samples, pace.latency_ms, pace.latency_rows, pace.commit_ms]
    assert kept == [[]] * 4
    assert [stats.answered_now, stats.joined_now, stats.batches_now] == [[]] * 3
    assert watched.value("e2e_latency_seconds_count", to="committed") == 30


def test_a_deterministic_run_keeps_its_samples_for_the_report(watched: Watched) -> None:
    watched.work()
    watched.observer.look(last=True)
    assert [(read, lag) for _, read, lag in watched.observer.samples] == [(15, 0)]
    assert sum(watched.worker.pace.latency_rows) == 10


def test_ready_when_a_partition_is_held_and_restored(watched: Watched) -> None:
    watched.health.holds("models loaded")
    watched.observer.look(last=True)
    assert watched.health.ready() == ["assignment held: no partition is assigned to this process", "state restored: not yet"]
    watched.work()
    watched.observer.look(last=True)
    assert watched.health.ready() == []


def test_state_is_told_in_bytes_and_keys(watched: Watched) -> None:
    watched.work()
    watched.observer.look(last=True)
    assert watched.value("state_bytes", stage="outcome") == sum(
        task.work.stores["outcome"].bytes_used() for task in watched.worker.flow.tasks.values()
    )


def test_lag_of_a_partition_that_went_away_is_forgotten(watched: Watched) -> None:
    watched.work()
    watched.transport.marks = {("watched-events", 0): Watermarks(3, 10, 12)}
    watched.observer._watermarks()
    assert watched.value("lag_records", topic="watched-events", partition="0") == 9
    assert watched.value("lso_gap_records", topic="watched-events", partition="0") == 2
    watched.transport.marks = {}
    watched.observer._watermarks()
    assert watched.value("lag_records", topic="watched-events", partition="0") is None


def test_the_status_is_a_copy_of_what_goes_on_changing(watched: Watched) -> None:
    watched.work()
    status = watched.observer.status()
    assert status["rows_answered"] == 10
    assert status["rows_rejected"] == {}
    assert status["feedback"]["outcome.feedback"] == 2
    assert status["rows_rejected"] is not watched.worker.stats.rows_rejected
    assert len(status["tasks"]) == 1
