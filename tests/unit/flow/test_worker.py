"""One worker and its rivals, step by step: each test is a moment in which something once went, or could go, wrong.

Oracle: rows are answered once, with what their key spent before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from stream_infer.flow.transport import Outcome, Partition
from stream_infer.records import Ints
from stream_infer.sim.forwarding import SimForwarder
from tests.support_flow import SPENT, Pay, payment, plan_of
from tests.support_worker import Hooked, link, seen, spent, stalled


def test_records_read_before_a_task_comes_back_are_not_taken_for_the_place_where_it_goes_on() -> None:
    pay = Pay(plan_of())
    pay.send("payments", *map(payment, range(3)))
    worker = pay.worker()
    pay.step(worker, times=2)
    assert worker.flow.in_flight()  # asked, not answered
    pay.broker.fail_next_commit("pay.0", "aborted")
    while worker.pace.aborts == 0:
        pay.step(worker, times=1)  # answered and aborted; what follows is read from the old place
    pay.send("payments", *map(payment, range(3, 6)))
    pay.step(worker)

    assert seen(pay) == spent(*range(6))


@pytest.mark.parametrize("how", ["aborted", "unknown_committed", "unknown_aborted"])
def test_however_a_commit_ends_rows_are_answered_once(how: str) -> None:
    pay = Pay(plan_of())
    worker = pay.worker()
    for first in range(0, 12, 3):
        pay.send("payments", *map(payment, range(first, first + 3)))
        pay.broker.fail_next_commit("pay.0", how)  # type: ignore[arg-type]
        pay.step(worker)

    assert seen(pay) == spent(*range(12))


@pytest.mark.parametrize("seed", range(5))
def test_while_models_are_at_a_chunk_the_next_one_is_prepared_and_answers_keep_their_order(seed: int) -> None:
    """Passes end in any order; features and answers are those of one chunk after the other."""
    pay = Pay(plan_of(SPENT.replace("commit_interval_ms: 1", "commit_interval_ms: 500")), seed=seed)
    pay.send("payments", *map(payment, range(40)))
    worker = pay.worker(chunk_rows_max=4)
    draw = np.random.default_rng(seed)
    forwarder = SimForwarder(pay.models, lambda below: int(draw.integers(below)))
    worker._forwarder = forwarder
    forwarder.held = True
    pay.step(worker)
    assert [len(task._begun) for task in worker.flow.tasks.values() if task.busy] == [2]
    assert len(forwarder._open) == 2
    assert worker.stats.rows_answered == 0
    forwarder.held = False
    pay.settle(worker, done=lambda: worker.stats.rows_answered == 40 and worker.settled())

    assert seen(pay) == spent(*range(40))
    assert pay.ids() == [f"p{number}" for number in range(40)]


def test_rows_that_come_while_a_commit_waits_for_a_pass_do_not_put_it_off() -> None:
    """Once no new chunk begins the commit is what everybody waits for, rows that came since included."""
    pay = Pay(plan_of(SPENT.replace("commit_interval_ms: 1", "commit_interval_ms: 5000")))
    pay.send("payments", payment(0), payment(1))
    worker = pay.worker(chunk_rows_max=1)
    forwarder = worker._forwarder
    assert isinstance(forwarder, SimForwarder)
    forwarder.held = True
    pay.step(worker)
    forwarder.held = False
    pay.step(worker, times=1)  # the first is answered, the second at work: the commit that is due at rest waits for it
    forwarder.held = True
    pay.step(worker, times=1)
    assert worker.flow.draining
    pay.send("payments", payment(2))
    pay.step(worker, times=3)
    forwarder.held = False
    pay.step(worker, times=20)

    assert pay.broker.now_ms < 1000
    assert seen(pay) == spent(0, 1, 2)


def test_an_answer_that_comes_after_the_task_was_lost_is_dropped() -> None:
    pay = Pay(plan_of())
    pay.send("payments", *map(payment, range(3)))
    one, two = pay.worker("1", transport=Hooked), pay.worker("2", transport=Hooked)
    pay.step(one, two)
    pay.send("payments", *map(payment, range(3, 6)))
    owner, other = (one, two) if one.flow.tasks else (two, one)
    owner.step(0)
    assert owner.flow.in_flight()
    stalled(pay, owner, [other])
    pay.step(owner, other, times=30)

    assert owner.stats.stale_dropped == 1
    assert seen(pay) == spent(*range(6))


def test_a_model_that_takes_too_long_when_partitions_go_is_not_waited_for() -> None:
    pay = Pay(plan_of())
    one = pay.worker("1")
    assert isinstance(one._forwarder, SimForwarder)
    forwarder = one._forwarder
    finished = forwarder.finished

    def slow(wait_ms: int) -> Any:
        pay.broker.advance(wait_ms)
        return finished(wait_ms)

    forwarder.finished = slow  # type: ignore[method-assign]
    pay.step(one)
    pay.send("payments", *map(payment, range(3)))
    forwarder.held = True
    pay.step(one, times=1)
    assert one.flow.in_flight()
    two = pay.worker("2")
    pay.step(one, two)
    forwarder.held = False
    pay.step(one, two, times=30)

    assert one.pace.aborts == 1
    assert seen(pay) == spent(*range(3))


def test_a_worker_is_killed_at_each_of_its_calls() -> None:
    """Wherever it dies, the next one goes on: the same slot, so that nobody waits for its open transaction."""

    class Dead(Exception):
        pass

    for deadly in range(60):
        pay = Pay(plan_of())
        pay.send("payments", *map(payment, range(4)))
        worker = pay.worker(transport=Hooked)
        left = [deadly]

        def burn(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Dead

        link(worker).hook = burn
        try:
            pay.step(worker, times=2)
            pay.send("payments", *map(payment, range(4, 8)))
            pay.step(worker, times=4)
            link(worker).hook = lambda _: None
        except Dead:
            link(worker).hook = lambda _: None
            link(worker).crash()
            pay.broker.advance(600)
            worker = pay.worker()
            pay.step(worker)
        if not any(row.get("payment") == "p4" for row in pay.values("payments")):
            pay.send("payments", *map(payment, range(4, 8)))
        pay.step(worker)

        assert seen(pay) == spent(*range(8)), deadly
        if left[0] >= 0:
            return
    raise AssertionError("it never got through")


def test_at_least_once_a_worker_that_dies_while_it_writes_loses_nothing() -> None:
    """Without transactions records become durable in any order: positions must not be written before what they stand for."""

    class Lazy(Hooked):
        """Records lie in a queue until commit() has them sent, those of state topics first."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.queue: list[tuple[Any, ...]] = []
            self.sends_left = 1 << 30

        def produce(
            self,
            topic: str,
            keys: Sequence[bytes | None],
            values: Sequence[bytes | None],
            partition: int | None = None,
            timestamps: Ints | None = None,
        ) -> None:
            self.queue.append((topic, keys, values, partition, timestamps))

        def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
            self.queue.sort(key=lambda record: not record[0].endswith(".state"))
            while self.queue:
                self.sends_left -= 1
                if self.sends_left < 0:
                    raise KeyboardInterrupt
                super().produce(*self.queue.pop(0))
            return super().commit(offsets)

    stages = SPENT.replace("to: scores", "to: scores, guarantee: at_least_once")
    for sends in range(8):
        pay = Pay(plan_of(stages))
        worker = pay.worker(transport=Lazy, link={"guarantee": "at_least_once"})
        pay.send("payments", *map(payment, range(3)))
        assert isinstance(worker.transport, Lazy)
        worker.transport.sends_left = sends
        try:
            pay.step(worker)
        except KeyboardInterrupt:
            worker.transport.crash()
            pay.broker.advance(600)
            worker = pay.worker(link={"guarantee": "at_least_once"})
            pay.step(worker)

        assert set(pay.ids()) == {"p0", "p1", "p2"}, sends


def test_reading_goes_on_after_an_abort_in_spite_of_a_pause() -> None:
    pay = Pay(plan_of(limits="{rows_in_flight_max: 1000, wait_ms_max: 20}", partitions=2))
    worker = pay.worker(chunk_rows_max=10)
    sent = 5_001
    pay.send("payments", *(payment(n, card="a", at_ms=n) for n in range(sent - 1)), payment(sent - 1, card="d"))  # of partitions 0 and 1
    while not len(worker.flow.room):
        pay.step(worker, times=1)
        assert pay.broker.now_ms < 10_000, "it never paused"
    pay.broker.fail_next_commit("pay.0", "aborted")
    pay.settle(worker, done=lambda: worker.pace.aborts == 1)
    pay.settle(worker, done=lambda: len(set(pay.ids())) == sent)

    assert len(pay.ids()) == sent
