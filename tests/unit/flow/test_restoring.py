"""Tasks on their way to a worker, and copies of those of others. Oracle: the changelog itself, counted; rows answered once, in order."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.flow.commands import Seek
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.keeping import ANEW_MS, Keeping
from stream_infer.flow.notices import TaskId
from stream_infer.flow.ports import Pace
from stream_infer.flow.restoring import Restoring
from stream_infer.flow.standby import Standby
from stream_infer.flow.task import Snapshot, Task
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.sim.transport import SimTransport
from tests.support import blobs
from tests.support_flow import Pay, payment, plan_of

TASK: TaskId = ("main", 0)
CARDS = "abcdefghij"
GB = 1 << 30


class Few(SimTransport):
    """Reads changelogs three records at a time."""

    read_rows = 3


def paid(pay: Pay, first: int, after: int) -> None:
    pay.send("payments", *(payment(n, card=CARDS[n % len(CARDS)]) for n in range(first, after)))


def written(pay: Pay, rounds: int = 3) -> int:
    """A changelog of several commits; gives how many records it holds."""
    worker = pay.worker()
    for turn in range(rounds):
        paid(pay, 10 * turn, 10 * turn + 10)
        pay.step(worker, times=8)
    worker.close()
    return records(pay)


def records(pay: Pay) -> int:
    reader = SimTransport(pay.broker, "reader", "count")
    return sum(map(len, reader.read((pay.plan.sections[0].state_topic, 0), 0)))


def parts(pay: Pay) -> tuple[Flow, Restoring, Standby, Pace]:
    transport = Few(pay.broker, "reader", "reader.0")
    standby, pace = Standby(transport, None, bytes_max=0, slot="0"), Pace(1)
    flow = Flow(pay.plan, statics(pay.plan.models, pay.models), Mode())
    return flow, Restoring(transport, lambda: 0, pace, None, standby), standby, pace


def state(task: Task) -> dict[str, dict[str, bytes]]:
    return {store: {name: array.tobytes() for name, array in arrays.items()} for store, arrays in task.snapshot().items()}


def test_a_task_is_read_back_a_little_per_turn() -> None:
    pay = Pay(plan_of())
    count = written(pay)
    flow, restoring, _, pace = parts(pay)
    restoring.want([TASK])
    seen, commands = [], []
    while restoring:
        commands += restoring.turn(flow, 0)
        seen.append(pace.restored_records)

    assert count > 30
    assert np.diff([0, *seen]).max() <= Few.read_rows
    assert seen[-1] == count
    assert [type(command) for command in commands] == [Seek]


@pytest.mark.parametrize("turns", [1, 2, 7])
def test_what_a_rebalance_interrupts_goes_on_where_it_stopped(turns: int) -> None:
    """Faust and Quix begin again, and a group that rebalances often never ends."""
    pay = Pay(plan_of())
    count = written(pay)
    calm, restoring, _, _ = parts(pay)
    restoring.want([TASK])
    while restoring:
        restoring.turn(calm, 0)

    flow, restoring, _, pace = parts(pay)
    while TASK not in flow.tasks:
        restoring.want([TASK])
        for _ in range(turns):
            restoring.turn(flow, 0)
        restoring.drop([TASK])

    assert pace.restored_records == count
    assert state(flow.tasks[TASK]) == state(calm.tasks[TASK])


def test_others_answer_while_one_is_read_back() -> None:
    pay = Pay(plan_of(partitions=2))
    written(pay, rounds=20)
    worker = pay.worker("1", transport=Few, restore_ms=0)
    paid(pay, 200, 220)
    pay.settle(worker, done=lambda: len(worker.flow.tasks) == 1)
    before = len(pay.ids())
    pay.settle(worker, done=lambda: len(pay.ids()) > before)

    assert len(worker.flow.tasks) == 1
    pay.step(worker, times=200)
    assert sorted(pay.ids()) == sorted(f"p{n}" for n in range(220))


def test_an_open_transaction_on_one_changelog_holds_nobody_else_back() -> None:
    """Whoever was killed in the middle of a transaction holds its changelog open until the timeout."""
    pay = Pay(plan_of(partitions=2))
    one, two = pay.worker("1"), pay.worker("2")
    pay.step(one, two, times=20)
    owned = list(two.flow.tasks)
    paid(pay, 0, 40)
    pay.step(one, two, times=20)
    two.transport.produce(pay.plan.sections[0].state_topic, blobs([b"k"]), blobs([b"v"]), partition=owned[0][1])
    dead(pay, two)
    paid(pay, 40, 80)
    before = len(pay.ids())
    pay.step(one, times=30)

    assert owned[0] not in one.flow.tasks
    assert len(pay.ids()) > before
    pay.step(one, times=100, ms=100)
    assert sorted(pay.ids()) == sorted(f"p{n}" for n in range(80))


def owner_and_other(*workers: Worker) -> tuple[Worker, Worker]:
    one, two = workers
    return (one, two) if one.flow.tasks else (two, one)


def dead(pay: Pay, worker: Worker) -> None:
    assert isinstance(worker.transport, SimTransport)
    worker.transport.crash()
    pay.broker.advance(600)


def test_a_warm_copy_takes_over_with_the_tail_alone() -> None:
    pay = Pay(plan_of())
    one, two = pay.worker("1", standby_bytes_max=GB), pay.worker("2", standby_bytes_max=GB)
    pay.step(one, two)
    owner, other = owner_and_other(one, two)
    for turn in range(5):
        paid(pay, 10 * turn, 10 * turn + 10)
        pay.step(owner, other)
    before = other.pace.restored_records
    assert len(other.standby) == 1
    dead(pay, owner)
    pay.step(other, times=5)

    assert list(other.flow.tasks) == [TASK]
    assert len(other.standby) == 0
    assert other.pace.restored_records == before  # nothing was left to read
    paid(pay, 50, 60)
    pay.step(other)
    sums = {key: outputs[2] for key, outputs in pay.outputs().items()}
    assert len(pay.ids()) == 60
    assert sums == {f"p{n}": float(sum(range(n % 10, n, 10))) for n in range(60)}


def test_copies_are_dropped_when_they_take_more_memory_than_they_may() -> None:
    pay = Pay(plan_of())
    one, two = pay.worker("1", standby_bytes_max=100), pay.worker("2", standby_bytes_max=100)
    pay.step(one, two)
    owner, other = owner_and_other(one, two)
    paid(pay, 0, 20)
    pay.step(owner, other)
    assert len(other.standby) == 0
    dead(pay, owner)
    paid(pay, 20, 40)
    pay.step(other, times=20)
    assert sorted(pay.ids()) == sorted(f"p{n}" for n in range(40))


def test_without_memory_for_copies_none_is_kept() -> None:
    pay = Pay(plan_of())
    one, two = pay.worker("1"), pay.worker("2")
    pay.step(one, two)
    owner, other = owner_and_other(one, two)
    paid(pay, 0, 20)
    pay.step(owner, other)
    dead(pay, owner)
    pay.step(other, times=5)
    assert other.pace.restored_records == records(pay)


class Kept:
    def __init__(self) -> None:
        self.saved: list[tuple[TaskId, int]] = []

    def load(self, task: TaskId, changelog_end: int) -> None:
        return None

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        self.saved.append((task, changelog_end))


def test_tasks_take_turns_with_their_snapshots_and_those_that_did_not_change_wait() -> None:
    pay = Pay(plan_of())
    flow = Flow(pay.plan, statics(pay.plan.models, pay.models), Mode())
    tasks = {("main", n): flow.make_task(("main", n)) for n in range(4)}
    now, host = [0], Kept()
    keeping = Keeping(host, 100, lambda: now[0])
    for moment in range(0, 400, 5):
        now[0] = moment
        for number, task in enumerate(tasks.values()):
            task.saved = b"%d" % (moment if number else 0)
        due = keeping.due(tasks)
        if due is not None:
            keeping.keep(due, moment)

    when = {n: [end for (_, number), end in host.saved if number == n] for n in range(4)}
    assert when == {0: [25], 1: [50, 150, 250, 350], 2: [75, 175, 275, 375], 3: [100, 200, 300]}
    now[0] += ANEW_MS
    for _ in tasks:
        due = keeping.due(tasks)
        assert due is not None
        keeping.keep(due, 1000)
    assert (("main", 0), 1000) in host.saved
    assert Keeping(None, 0, lambda: 0).due(tasks) is None
