"""Reading pauses at the bound and nothing is lost by it; what a task cannot go on without is read all the same."""

from __future__ import annotations

from typing import Any

from stream_infer.flow.room import SHUT_MS_MAX
from stream_infer.flow.transport import Partition
from stream_infer.flow.worker import Worker
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.transport import SimTransport
from tests.support_flow import Pay, payment, plan_of

ROOM = 1000  # of one partition, the least that flow gives
CARDS = "a", "d"  # of partitions 0 and 1 of two
TOLD = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, {name: known, missing: 0}]}
stages:
  spent: {kind: features, from: payments, kept_from: told, group_by: card, values: {known: {count: true}}}
  score: {kind: model, from: spent, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def stands_still(pay: Pay, **settings: Any) -> tuple[Worker, SimForwarder]:
    """A worker whose models do not answer until its forwarder is let go on."""
    worker, forwarder = pay.worker(**settings), SimForwarder(pay.models, lambda _: 0)
    worker._forwarder, forwarder.held = forwarder, True
    return worker, forwarder


def test_while_a_model_stands_still_no_more_is_read_than_there_is_room_for() -> None:
    pay = Pay(plan_of(limits="{wait_ms_max: 20, rows_in_flight_max: 1000}"))
    pay.send("payments", *(payment(number) for number in range(20_000)))
    worker, forwarder = stands_still(pay)
    pay.step(worker, times=40)

    assert worker.flow.room.waiting() <= ROOM
    assert len(worker.flow.room) == 0, "nobody else needs what comes after it: it may stay where it is"

    forwarder.held = False
    pay.settle(worker, done=lambda: worker.stats.rows_answered == 20_000 and worker.settled())
    assert pay.ids() == [f"p{number}" for number in range(20_000)]


def test_a_backlog_is_paused_for_the_sake_of_a_partition_behind_it() -> None:
    pay = Pay(plan_of(limits="{wait_ms_max: 20, rows_in_flight_max: 1000}", partitions=2))
    first, second = CARDS
    pay.send("payments", *(payment(number, card=first) for number in range(20_000)), payment(20_000, card=second))
    worker, forwarder = stands_still(pay)
    pay.step(worker, times=10)

    assert len(worker.flow.room) == 1
    assert worker.transport.lag(("payments", 1)) == 0, "the one row behind 20,000 is to be read"
    assert worker.flow.room.waiting() <= 2 * ROOM + 1  # what was there, one read of as many, and that row

    forwarder.held = False
    pay.settle(worker, done=lambda: worker.stats.rows_answered == 20_001 and worker.settled())
    assert sorted(pay.ids()) == sorted(f"p{number}" for number in range(20_001))


def test_a_partition_without_records_keeps_nobody_reading() -> None:
    """Its task has nothing to do, and never will: that is no reason to go on reading the other one."""
    pay = Pay(plan_of(limits="{wait_ms_max: 20, rows_in_flight_max: 1000}", partitions=2))
    pay.send("payments", *(payment(number, card=CARDS[0]) for number in range(20_000)))
    worker, _ = stands_still(pay)
    pay.step(worker, times=40)

    assert worker.flow.room.waiting() <= ROOM
    assert len(worker.flow.room) == 0


class Stale(SimTransport):
    """A client that is full of one partition: it fetches nothing of the others, and knows of nothing that came to them."""

    def lag(self, partition: Partition) -> int:
        return 0


def test_records_that_nobody_knows_of_do_not_wait_for_a_model_that_stands_still() -> None:
    pay = Pay(plan_of(limits="{wait_ms_max: 20, rows_in_flight_max: 1000}", partitions=2))
    pay.send("payments", *(payment(number, card=CARDS[0]) for number in range(20_000)), payment(20_000, card=CARDS[1]))
    worker, _ = stands_still(pay, transport=Stale)
    pay.step(worker, times=10)
    assert SimTransport.lag(worker.transport, ("payments", 1)) == 1
    pay.step(worker, times=3 * SHUT_MS_MAX // 10)

    assert SimTransport.lag(worker.transport, ("payments", 1)) == 0
    assert len(worker.flow.room) == 1
    assert worker.flow.room.waiting() <= 2 * ROOM + 1


def test_a_run_of_many_rows_with_little_room_comes_to_its_end() -> None:
    """A chunk of a deterministic run is larger than the room of a partition: the partition that is behind must be read on."""
    pay = Pay(plan_of(TOLD, limits="{wait_ms_max: 20, rows_in_flight_max: 1000}"))
    pay.send("payments", *(payment(2 * number) for number in range(6_000)))
    pay.send("told", *({"payment": f"p{n}", "card": "a", "truth": 1.0, "at_ms": (2 * n + 1) * 1000} for n in range(6_000)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert worker.finished()
    assert worker.stats.rows_answered == 6_000
