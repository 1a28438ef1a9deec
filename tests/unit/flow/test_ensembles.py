"""Ensembles through the real worker loop, with members that stall, fail and come back. Oracle: the mean of those who answered, by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from stream_infer.batching import BatchSettings, CostCurve
from stream_infer.edge.workers import InProcess
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.records import Floats, Matrix
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.scenarios import probe
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import Plan
from tests.support_flow import Flawed, Pay, payment, plan_of

STAGES = """
models:
  quick: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  net: {kind: linear, artifact: none.safetensors, inputs: [at_ms]}
  cheap: {kind: linear, artifact: none.safetensors, inputs: [due_ms]}
  both: {kind: ensemble, members: [quick, net]%s}
stages:
  score: {kind: model, from: payments, model: both%s}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def plan(ensemble: str = ", quorum: 1, wait_ms_max: 50, fallback: cheap", stage: str = "") -> Plan:
    stages = STAGES % (ensemble, stage)
    return plan_of(stages if "cheap" in ensemble + stage else "\n".join(line for line in stages.splitlines() if "cheap" not in line))


class One:
    """Answers with its one input, as `forward` lets it."""

    def __init__(self, columns: tuple[str, ...], opened: Event | None = None) -> None:
        self.columns, self.outputs, self.digest, self.opened = columns, 1, "0" * 64, opened
        self.asked = 0

    def forward(self, x: Matrix) -> Floats:
        self.asked += 1
        if self.opened is not None:
            self.opened.wait()
        return x.astype(np.float64)


def ones(made: Plan) -> dict[str, Model]:
    return {name: One(settings.columns()) for name, settings in made.models.items()}


def rows_of(pay: Pay) -> dict[str, dict[str, object]]:
    return {str(read.row["prediction_id"]): dict(read.row) for read in pay.predictions()}


def forwarder(worker: Worker) -> SimForwarder:
    made = worker._forwarder
    assert isinstance(made, SimForwarder)
    return made


def test_all_answer_and_the_prediction_says_so() -> None:
    pay = Pay(plan(), ones(plan()))
    pay.send("payments", *(payment(number) for number in range(3)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)
    found = rows_of(pay)
    assert [found[f"p{n}"]["answer"] for n in range(3)] == [(n + 1000 * n) / 2 for n in range(3)]
    assert {(row["missing"], row["answered_by"], row["model"]) for row in found.values()} == {(None, "both", "both")}
    assert len({row["model_version"] for row in found.values()}) == 1


def test_at_the_deadline_the_others_answer_and_the_prediction_names_the_missing_member() -> None:
    pay = Pay(plan(), ones(plan()))
    worker = pay.worker()
    forwarder(worker).stalled.add("net")
    pay.send("payments", *(payment(number) for number in range(3)))
    pay.step(worker, times=5)  # 50 ms from being asked are not over yet
    assert rows_of(pay) == {}
    pay.settle(worker, done=lambda: len(pay.ids()) == 3)
    found = rows_of(pay)
    assert {name: row["answer"] for name, row in found.items()} == {"p0": 0.0, "p1": 1.0, "p2": 2.0}
    assert {(row["missing"], row["confidence"]) for row in found.values()} == {("net", 0.5)}

    forwarder(worker).stalled.clear()  # its answer comes at last, to nobody; the next rows have both again
    pay.step(worker, times=5)
    pay.send("payments", payment(4))
    pay.settle(worker, done=lambda: len(pay.ids()) == 4)
    assert rows_of(pay)["p4"]["missing"] is None
    assert pay.reasons() == []
    assert worker.flow.sizing.patience.out("net") == 0
    assert worker.flow.sizing.patience.left_out == {("score", "net", "late"): 3}


def test_without_a_quorum_the_fallback_answers_or_the_row_is_rejected_with_the_reason() -> None:
    for ensemble, stage in ((", quorum: 2, wait_ms_max: 50, fallback: cheap", ""), (", wait_ms_max: 50", "")):
        pay = Pay(plan(ensemble, stage), ones(plan(ensemble, stage)))
        worker = pay.worker()
        forwarder(worker).stalled.add("net")
        pay.send("payments", payment(1, due_ms=7))
        pay.settle(worker, done=lambda pay=pay: bool(pay.ids() or pay.reasons()))
        if "fallback" in ensemble:
            row = rows_of(pay)["p1"]
            assert (row["answer"], row["answered_by"], row["missing"], row["confidence"]) == (7.0, "cheap", "net", 0.0)
        else:
            assert pay.reasons() == [(0, "model both: 1 of 2 members answered, expected 2 (model net: no answer in time)")]


def test_a_member_that_never_comes_back_costs_a_few_waits_and_then_none() -> None:
    pay = Pay(plan(), ones(plan()))
    worker = pay.worker()
    forwarder(worker).stalled.add("net")
    for number in range(12):
        pay.send("payments", payment(number))
        pay.settle(worker, done=lambda number=number: len(pay.ids()) == number + 1)
    assert len(forwarder(worker)._open) == 4, "what it was asked and never answered is bounded"
    assert worker.flow.sizing.patience.left_out == {("score", "net", "late"): 4, ("score", "net", "stalled"): 8}


def test_a_worker_that_must_let_go_waits_no_longer_than_the_ensemble() -> None:
    pay = Pay(plan(), ones(plan()))
    worker = pay.worker()
    forwarder(worker).stalled.add("net")
    pay.send("payments", payment(0))
    while not worker.flow.in_flight():
        pay.step(worker, times=1)
    clock = iter(range(pay.broker.now_ms, pay.broker.now_ms + 10_000, 10))
    worker._clock = lambda: next(clock)
    worker.close()
    assert pay.ids() == ["p0"]


def test_what_was_under_way_when_a_task_left_counts_as_late_and_is_dropped() -> None:
    pay = Pay(plan(", quorum: 1, wait_ms_max: 5000"), ones(plan(", quorum: 1, wait_ms_max: 5000")))
    one, held = pay.worker("1"), "net"
    forwarder(one).stalled.add(held)
    pay.send("payments", payment(0))
    while not one.flow.in_flight():
        pay.step(one, times=1)
    one.lost(next(iter(one.flow.tasks.values())).inputs())
    assert one.flow.sizing.patience.out("net") == 1
    forwarder(one).stalled.clear()
    pay.step(one, times=5)
    assert one.flow.sizing.patience.out("net") == 0


def test_a_member_of_a_registry_that_blocks_is_left_out_in_the_worker_s_own_thread() -> None:
    """The model blocks its thread until the test lets it go; linear ones answer beside it."""
    made, opened = plan(), Event()
    models: dict[str, Model] = {name: probe(settings.columns(), name) for name, settings in made.models.items()}
    models["net"] = One(made.models["net"].columns(), opened)
    models["net"].outputs = models["quick"].outputs  # type: ignore[misc]
    pay = Pay(made, models)
    transport = SimTransport(pay.broker, made.name, "pay.0", session_timeout_ms=500, transaction_timeout_ms=5_000)
    running = InProcess(models)
    worker = Worker(made, statics(made.models, models), transport, running, lambda: pay.broker.now_ms)
    worker.start()
    try:
        pay.send("payments", payment(1), payment(2))
        pay.settle(worker, done=lambda: len(pay.ids()) == 2)
        assert {(row["missing"], row["confidence"]) for row in rows_of(pay).values()} == {("net", 0.5)}
        assert [rows_of(pay)[name]["outputs"][0] for name in ("p1", "p2")] == [1.0, 2.0]  # type: ignore[index]
    finally:
        opened.set()
        running.close()


def test_chunks_are_no_larger_than_members_can_answer_within_the_wait() -> None:
    """A row of `net` takes 5 ms: within 50 ms, and a tenth of it to spare, nine of them, however many wait."""
    made = plan()
    slow = BatchSettings(curve=CostCurve((1, 4096), (0.005, 0.005 * 4096)))
    made = replace(made, models=made.models | {"net": replace(made.models["net"], batch=slow)})
    pay = Pay(made, ones(made))
    pay.send("payments", *(payment(number) for number in range(30)))
    worker = pay.worker()
    worker.flow.sizing.backlog = True
    pay.settle(worker, done=lambda: len(pay.ids()) == 30)
    cuts = [read.row["cut"] for read in pay.predictions()]
    assert max(Counter(cuts).values()) == 9


POISON = {3.0: "raise", 5.0: "nan", 6.0: "shape"}


@pytest.mark.parametrize("stage", ["", ", shadow: [net]"])
def test_a_poisoned_batch_rejects_the_rows_at_fault_and_answers_all_others(stage: str) -> None:
    stages = """
models:
  net: {kind: linear, artifact: none.safetensors, inputs: [amount]}
stages:
  score: {kind: model, from: payments, model: net%s}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
    made = plan_of(stages % stage)
    pay = Pay(made, {"net": Flawed(made.models["net"].columns(), lambda amount: POISON.get(amount, ""))})
    pay.send("payments", *(payment(number) for number in range(10)))
    pay.settle(pay.worker(deterministic=True))
    assert sorted(pay.ids()) == [f"p{number}" for number in range(10) if float(number) not in POISON]
    assert [offset for offset, _ in sorted(pay.reasons())] == [3, 5, 6]
