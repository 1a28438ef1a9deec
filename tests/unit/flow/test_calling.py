"""Rows go outside and come back, in any order and with faults. Oracle: one row after the other, in the order of the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream_infer.features.settings import Input
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.flow.ports import Answerer
from stream_infer.flow.worker import Worker
from stream_infer.functions import FunctionSettings
from stream_infer.records import Numbers, Text
from stream_infer.sim.calling import SimCaller
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import CallStep, Plan
from tests.support_flow import SPENT, Pay, payment, plan_of

RISK = CallStep("risk", ("amount", "shop"), (("risk", "double"),), FunctionSettings("risk"))
NOTE = CallStep("note", ("answer", "risk", "arm"), (("note", "string"),), FunctionSettings("note"), of_answers=True)


def numbers(call: Call, name: str) -> list[float]:
    column = call.columns[name]
    assert isinstance(column, Numbers)
    return [float(value) for value in column.floats()]


def risk(call: Call) -> CallDone:
    """risk = 2 · amount; negative amounts may not go on."""
    amounts = numbers(call, "amount")
    return CallDone(
        call.job,
        {"risk": Numbers(np.array([2 * a for a in amounts]))},
        {i: f"amount {a:g} is negative" for i, a in enumerate(amounts) if a < 0},
    )


def note(call: Call) -> CallDone:
    """answer + risk in words; 12 in all may not leave."""
    total = [a + r for a, r in zip(numbers(call, "answer"), numbers(call, "risk"), strict=True)]
    assert call.columns["arm"].to_list() == ["probe"] * call.count
    return CallDone(call.job, {"note": Text.of(f"{t:g}" for t in total)}, {i: "12 is odd" for i, t in enumerate(total) if t == 12})


CALLS: dict[str, Answerer] = {"risk": risk, "note": note}


def calling_plan(commit_ms: int = 1) -> Plan:
    """risk before the features, note after the answers; the model reads the risk."""
    plan = plan_of(SPENT.replace("commit_interval_ms: 1", f"commit_interval_ms: {commit_ms}"))
    section = replace(plan.sections[0], steps=(RISK, *plan.sections[0].steps, NOTE))
    probe = plan.models["probe"]
    return replace(plan, sections=(section,), models={"probe": replace(probe, inputs=(*probe.inputs, Input("risk")))})


def made(pay: Pay, seed: int = 0, calls: dict[str, Answerer] | None = None, **settings: Any) -> tuple[Worker, SimCaller]:
    draw = np.random.default_rng(seed)
    caller = SimCaller(calls or CALLS, lambda below: int(draw.integers(below)))
    return pay.worker(caller=caller, **settings), caller


def oracle(amounts: list[float]) -> tuple[dict[str, list[float]], list[tuple[int, str]]]:
    """What each payment is answered with, and what is rejected."""
    outputs: dict[str, list[float]] = {}
    rejects: list[tuple[int, str]] = []
    before: list[float] = []
    for number, amount in enumerate(amounts):
        if amount < 0:
            rejects.append((number, f"amount {amount:g} is negative"))
            continue
        if 3 * amount == 12:
            rejects.append((number, "12 is odd"))
        else:
            outputs[f"p{number}"] = [amount, float(len(before)), float(sum(before)), 2 * amount]
        before.append(amount)
    return outputs, rejects


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("deterministic", [False, True])
def test_rows_come_back_in_any_order_and_go_on_in_that_of_the_log(seed: int, deterministic: bool) -> None:
    amounts = np.random.default_rng(seed).integers(-2, 8, 60).astype(float).tolist()
    pay = Pay(calling_plan(), seed=seed)
    pay.send("payments", *(payment(n, amount=a) for n, a in enumerate(amounts)))
    worker, _ = made(pay, seed, chunk_rows_max=4, deterministic=deterministic)
    answered, rejected = oracle(amounts)
    pay.settle(worker, done=None if deterministic else lambda: worker.settled() and len(pay.ids()) == len(answered))

    assert {key: row[:4] for key, row in pay.outputs().items()} == answered
    assert pay.ids() == list(answered)
    assert sorted(pay.reasons()) == rejected
    assert worker.stats.rows_rejected == {
        stage: count for stage, count in (("risk", sum(a < 0 for a in amounts)), ("note", sum(a == 4 for a in amounts))) if count
    }


def test_a_later_chunk_never_overtakes_one_that_waits() -> None:
    """While the first chunk is outside, the second stands beside it at most; the features of neither are read."""
    pay = Pay(calling_plan(commit_ms=500))
    pay.send("payments", *map(payment, range(8)))
    worker, caller = made(pay, chunk_rows_max=4)
    caller.held = True
    pay.step(worker)
    (task,) = worker.flow.tasks.values()
    forwarder = worker._forwarder
    assert isinstance(forwarder, SimForwarder)
    assert ([call.count for call in caller._open], len(forwarder._open), len(task._begun)) == ([4, 4], 0, 2)
    second = caller._open.pop()
    for command in worker.flow.handle(risk(second)):
        worker._carry_out([command])
    worker._calls_open -= 1
    pay.step(worker)
    assert not forwarder._open, "the second chunk came back first, and waits"
    caller.held = False
    pay.settle(worker, done=lambda: worker.settled() and len(pay.ids()) == 7)

    assert {key: row[:4] for key, row in pay.outputs().items()} == oracle([float(n) for n in range(8)])[0]


def test_what_comes_back_after_the_task_was_lost_is_dropped() -> None:
    pay = Pay(calling_plan())
    workers = [made(pay, slot=slot) for slot in ("1", "2")]
    pay.step(*(w for w, _ in workers))
    pay.send("payments", *map(payment, range(3)))
    (owner, caller), (other, _) = workers if workers[0][0].flow.tasks else workers[::-1]
    caller.held = True
    pay.step(owner)
    assert owner.flow.in_flight()
    assert isinstance(owner.transport, SimTransport)
    owner.transport.stall()
    pay.step(other, times=70)
    owner.transport.wake()
    caller.held = False
    pay.step(owner, other, times=30)

    assert owner.stats.stale_dropped == 1
    assert {key: row[:4] for key, row in pay.outputs().items()} == oracle([0.0, 1.0, 2.0])[0]
    assert pay.ids() == ["p0", "p1", "p2"]


def test_a_commit_waits_for_what_is_outside() -> None:
    pay = Pay(calling_plan())
    pay.send("payments", *map(payment, range(3)))
    worker, caller = made(pay)
    caller.held = True
    pay.step(worker, times=30)
    assert worker.pace.commits == 0
    caller.held = False
    pay.step(worker, times=30)

    assert worker.pace.commits > 0
    assert pay.ids() == ["p0", "p1", "p2"]


def test_a_call_that_takes_too_long_when_partitions_go_is_not_waited_for() -> None:
    pay = Pay(calling_plan())
    one, caller = made(pay, slot="1")
    finished = caller.finished

    def slow(wait_ms: int) -> list[CallDone]:
        pay.broker.advance(wait_ms)
        return finished(wait_ms)

    caller.finished = slow  # type: ignore[method-assign]
    pay.step(one)
    pay.send("payments", *map(payment, range(3)))
    caller.held = True
    pay.step(one, times=1)
    assert one.flow.in_flight()
    two, _ = made(pay, slot="2")
    pay.step(one, two)
    caller.held = False
    pay.step(one, two, times=30)

    assert one.pace.aborts == 1
    assert pay.ids() == ["p0", "p1", "p2"]


def test_all_rows_of_a_chunk_may_be_refused_and_nothing_but_rejects_leaves() -> None:
    pay = Pay(calling_plan())
    pay.send("payments", *(payment(n, amount=-1) for n in range(5)))
    worker, _ = made(pay, calls={"risk": lambda call: CallDone(call.job, {}, dict.fromkeys(range(call.count), "down")), "note": note})
    pay.step(worker, times=30)

    assert sorted(pay.reasons()) == [(n, "down") for n in range(5)]
    assert pay.ids() == []
    assert pay.broker.group("pay").committed == {("payments", 0): 5}
