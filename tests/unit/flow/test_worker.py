"""One worker and its rivals, step by step: each test is a moment in which something once went, or could go, wrong.

Oracle: rows are answered once, with what their key spent before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Snapshot
from stream_infer.flow.transport import Outcome, Partition
from stream_infer.flow.worker import Worker
from stream_infer.records import Fetched, Ints
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.log import PartitionLog
from stream_infer.sim.reading import all_of, joined_of
from stream_infer.sim.transport import SimTransport
from tests.support_flow import SPENT, Flawed, Pay, payment, plan_of


class Hooked(SimTransport):
    """A transport with something to happen before its n-th call of one kind. calls: counted by name."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.hook: Callable[[str], None] = lambda _: None

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self.hook("end_offsets")
        return super().end_offsets(partitions)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        self.hook("committed")
        return super().committed(partitions)

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        self.hook("read")
        return super().read(partition, offset)

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        self.hook("commit")
        return super().commit(offsets)


class Memory:
    """Snapshots of one host."""

    def __init__(self) -> None:
        self.kept: dict[TaskId, tuple[Snapshot, int]] = {}

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        found = self.kept.get(task)
        return found if found is not None and found[1] <= changelog_end else None

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        self.kept[task] = ({store: {n: a.copy() for n, a in arrays.items()} for store, arrays in snapshot.items()}, changelog_end)


def link(worker: Worker) -> Hooked:
    assert isinstance(worker.transport, Hooked)
    return worker.transport


def spent(*numbers: int) -> dict[str, list[float]]:
    """What each payment of one card is answered with: its amount, how many came before, their sum."""
    return {f"p{n}": [float(n), float(i), float(sum(numbers[:i]))] for i, n in enumerate(numbers)}


def seen(pay: Pay) -> dict[str, list[float]]:
    assert len(set(pay.ids())) == len(pay.ids()), "a payment was answered more than once"
    return {key: outputs[:3] for key, outputs in pay.outputs().items()}


def stalled(pay: Pay, worker: Worker, others: Sequence[Worker], ms: int = 700) -> None:
    """The worker stands still past its session; the others go on."""
    link(worker).stall()
    pay.step(*others, times=ms // 10)
    link(worker).wake()


# -- what was read, what was taken away ----------------------------------------------------------------------------------------


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


# -- state -----------------------------------------------------------------------------------------------------------------------


def test_a_snapshot_does_not_cover_what_a_new_owner_wrote() -> None:
    """The worker stands still between its commit and whatever it does for its snapshot."""
    pay = Pay(plan_of())
    host = Memory()
    one = pay.worker("1", transport=Hooked, snapshots=host, snapshot_every_ms=0)
    pay.send("payments", *map(payment, range(3)))
    pay.step(one, times=2)
    two = pay.worker("2", transport=Hooked)
    committed = [False]

    def stand_still(call: str) -> None:
        if committed[0]:
            link(one).hook = lambda _: None
            pay.send("payments", *map(payment, range(3, 6)))
            stalled(pay, one, [two])
        committed[0] = committed[0] or call == "commit"

    link(one).hook = stand_still
    pay.step(one, times=3)
    pay.step(one, two, times=20)
    two.close()
    pay.step(one, times=5)
    pay.send("payments", *map(payment, range(6, 9)))
    pay.step(one, times=20)

    assert committed[0]
    assert seen(pay) == spent(*range(9))


def test_a_changelog_that_is_just_being_written_is_not_a_lost_one() -> None:
    pay = Pay(plan_of())
    one = pay.worker("1", transport=Hooked)
    two = pay.worker("2", transport=Hooked)

    def stand_still(call: str) -> None:
        if call == "read":
            link(one).hook = lambda _: None
            link(one).stall()
            pay.broker.advance(600)
            pay.send("payments", *map(payment, range(3)))
            pay.step(two, times=20)
            link(one).wake()

    link(one).hook = stand_still
    pay.step(one, two, times=40)

    assert seen(pay) == spent(*range(3))


def test_offsets_without_state_mean_that_the_changelog_is_lost() -> None:
    pay = Pay(plan_of())
    pay.send("payments", *map(payment, range(3)))
    worker = pay.worker()
    pay.step(worker)
    worker.close()
    pay.broker._logs[pay.plan.sections[0].state_topic] = [PartitionLog()]

    with pytest.raises(EnvironmentMissing, match=r"the state topic pay\.main\.state is empty"):
        pay.step(pay.worker("1"))


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_task_that_comes_back_is_the_newest_there_is(comes_back: bool) -> None:
    """p0 waits; meanwhile the task goes to another worker, which answers p1 and p2, and comes back: the group's offset is still p0's."""
    stages = SPENT.replace("n: {count: true}, ", "n: {count: true}, ")
    pay = Pay(plan_of(stages, payments=", decide_at: {field: due_ms}"))
    one = pay.worker("1", transport=Hooked)
    pay.step(one, times=2)
    pay.send("payments", payment(0, due_ms=90_000), payment(1, due_ms=1_500))
    pay.step(one, times=5)
    parked = dict(one.flow.tasks)
    two = pay.worker("0", transport=Hooked)
    pay.step(one, two, times=5)
    owner, other = (one, two) if one.flow.tasks else (two, one)
    pay.send("payments", payment(2, at_ms=3_000, due_ms=3_000), payment(3, at_ms=4_000, due_ms=4_000))
    pay.step(owner, other, times=20)
    owner.close()
    if not comes_back:
        other.close()
        other = pay.worker("3")
    pay.step(other, times=5)
    pay.send("payments", payment(4, at_ms=100_000, due_ms=100_000))
    pay.step(other, times=20)

    assert parked
    assert sorted(seen(pay)) == ["p0", "p1", "p2", "p3", "p4"]


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


# -- streams that are read in two ways ---------------------------------------------------------------------------------------------

TWO_WAYS = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, here, there]}
stages:
  near: {kind: lookup, from: payments, table: cards, key: card, take: {limit: -1}}
  shop_n: {kind: features, from: near, group_by: shop, values: {here: {count: true}}}
  far: {kind: features, from: shop_n, kept_from: cards, group_by: card, global: true, values: {there: {sum: limit}}}
  score: {kind: model, from: far, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_a_stream_that_one_section_reads_by_partition_and_another_whole_reaches_both_in_order() -> None:
    for seed in range(8):
        pay = Pay(plan_of(TWO_WAYS), seed=seed)
        pay.send("cards", *({"card": "a", "limit": 1 << i, "at_ms": 100 * i} for i in range(23)))
        pay.send("payments", *(payment(n, at_ms=100 * n + 50) for n in range(23)))
        pay.broker.slow_fetch_share = 0.8
        worker = pay.worker(deterministic=True, chunk_rows_max=4)
        for turn in range(400):
            if turn % 9 == 0:
                pay.broker.fail_next_commit("pay.0", "aborted")
            pay.step(worker, times=1)
        pay.settle(worker)

        assert {key: outputs[2] for key, outputs in pay.outputs().items()} == {f"p{n}": (1 << n + 1) - 1 for n in range(23)}, seed


def test_a_record_that_two_sections_cannot_read_is_rejected_once() -> None:
    pay = Pay(plan_of(TWO_WAYS))
    pay.broker.append("cards", [b"a"], [b"junk"], timestamps=np.array([1500]))
    pay.send("payments", payment(2))
    pay.settle(pay.worker(deterministic=True))

    assert pay.ids() == ["p2"]
    assert len(pay.reasons()) == 1


# -- models that fail -----------------------------------------------------------------------------------------------------------


def flaw_of(amount: float) -> str:
    return {3.0: "raise", 5.0: "nan", 11.0: "raise"}.get(amount, "")


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_model_that_fails_on_some_rows_answers_all_others(deterministic: bool) -> None:
    plan = plan_of()
    pay = Pay(plan, {"probe": (flawed := Flawed(("amount", "n", "total"), flaw_of))})
    pay.send("payments", *map(payment, range(16)))
    worker = pay.worker(deterministic=deterministic)
    pay.settle(worker, done=lambda: len(pay.ids()) + len(pay.reasons()) == 16)

    assert {key: outputs for key, outputs in spent(*range(16)).items() if key not in ("p3", "p5", "p11")} == pay.outputs()
    assert pay.reasons() == [
        (3, "model probe: ValueError: amount 3 is odd"),
        (5, "model probe gave nan in output 0"),
        (11, "model probe: ValueError: amount 11 is odd"),
    ]
    assert flawed.asked[0] == 16
    assert flawed.asked.count(1) >= 2


def test_a_model_that_answers_in_another_shape_spoils_no_neighbour() -> None:
    pay = Pay(plan_of(), {"probe": Flawed(("amount", "n", "total"), lambda amount: "shape" if amount == 2.0 else "")})
    pay.send("payments", *map(payment, range(6)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert sorted(pay.ids()) == ["p0", "p1", "p3", "p4", "p5"]
    ((offset, reason),) = pay.reasons()
    assert offset == 2
    assert reason.startswith("model probe: got ")


def test_an_input_that_is_absent_is_named() -> None:
    stages = SPENT.replace("{name: total, missing: 0}", "mean").replace("total: {sum: amount}", "mean: {mean: amount}")
    pay = Pay(plan_of(stages))
    pay.send("payments", payment(0), payment(1))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert pay.ids() == ["p1"]
    assert pay.reasons() == [(0, "model probe: input `mean` is absent; give it a value with `{name: mean, missing: 0}`")]


# -- time ------------------------------------------------------------------------------------------------------------------------


def held_pay(limits: str = "{wait_ms_max: 20}") -> Pay:
    return Pay(plan_of(payments=", decide_at: {field: due_ms, lead_s: 1}", limits=limits))


def test_rows_that_wait_are_answered_at_their_time_and_not_before() -> None:
    pay = held_pay()
    worker = pay.worker()
    pay.send("payments", payment(0, due_ms=9_000), payment(1, due_ms=3_000))
    pay.step(worker)
    assert pay.ids() == []
    pay.send("payments", payment(2, at_ms=2_500, due_ms=2_500))
    pay.step(worker)
    assert pay.ids() == ["p1", "p2"]
    pay.step(worker, times=15, ms=1000)

    assert pay.ids() == ["p1", "p2", "p0"]
    assert [read.row["event_time"] for read in pay.predictions()] == [2_000, 2_500, 8_000]
    assert [outputs[1] for outputs in pay.outputs().values()] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("deterministic", [True, False])
def test_waiting_rows_outlive_their_worker(deterministic: bool) -> None:
    """The second worker commits before it has read them again."""
    pay = held_pay()
    pay.send("payments", *(payment(n, due_ms=50_000 + n) for n in range(5)), payment(5, due_ms=0))
    worker = pay.worker(transport=Hooked, deterministic=deterministic, chunk_rows_max=2)
    pay.step(worker, times=6)
    link(worker).crash()
    pay.broker.advance(600)
    pay.send("payments", payment(6, at_ms=60_000))
    pay.broker.slow_fetch_share = 0.8
    worker = pay.worker(transport=Hooked, deterministic=deterministic, chunk_rows_max=2)
    pay.settle(worker, done=lambda: len(pay.ids()) == 7)

    assert sorted(pay.ids()) == [f"p{n}" for n in range(7)]


def test_nothing_passes_rows_that_wait_while_they_are_read_again() -> None:
    """The card is known at 60 s only; the rows were due before."""
    stages = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, limit]}
stages:
  known: {kind: lookup, from: payments, table: cards, key: card, take: {limit: -1}}
  score: {kind: model, from: known, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
    for seed in range(8):
        pay = Pay(plan_of(stages, payments=", decide_at: {field: due_ms}"), seed=seed)
        pay.send("payments", *(payment(n, due_ms=50_000 + n) for n in range(5)), payment(5, due_ms=0))
        worker = pay.worker(transport=Hooked)
        pay.step(worker, times=6)
        link(worker).crash()
        pay.broker.advance(600)
        pay.broker.slow_fetch_share = 0.8
        pay.send("cards", {"card": "a", "limit": 7, "at_ms": 60_000})
        worker = pay.worker()
        pay.settle(worker, done=lambda: len(pay.ids()) == 6)  # noqa: B023

        assert [outputs[1] for outputs in pay.outputs().values()] == [-1.0] * 6, seed


def test_more_waiting_rows_than_fit_in_flight_do_not_stop_the_reading() -> None:
    for deterministic in (True, False):
        pay = held_pay(limits="{rows_in_flight_max: 1000, wait_ms_max: 20}")
        pay.send("payments", *(payment(n, at_ms=n, due_ms=10_000_000 + n) for n in range(3000)), payment(3000, at_ms=20_000_000))
        pay.broker.slow_fetch_share = 0.1
        worker = pay.worker(deterministic=deterministic)
        pay.settle(worker, done=lambda: len(pay.ids()) == 3001)  # noqa: B023

        assert len(set(pay.ids())) == 3001


def test_the_clock_of_another_process_has_another_zero() -> None:
    """A decision that waits for feedback does not close because a process with a larger clock takes over."""
    pay = Pay(plan_of(LEARNS))
    pay.send("payments", payment(0))
    worker = pay.worker()
    pay.step(worker)
    worker.close()
    pay.zero = 10**9
    worker = pay.worker("1")
    pay.step(worker)
    pay.send("told", {"payment": "p0", "card": "a", "truth": 4.0, "at_ms": 2_000})
    pay.step(worker, times=60, ms=200)

    assert [read.row["label"] for read in all_of(pay.broker, joined_of(pay.plan))] == [4.0]


LEARNS = """
models:
  near: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  online: {kind: linear, learns: {by: sgd, rate: 0.01}, inputs: [amount]}
stages:
  score: {kind: bandit, from: payments, arms: [near, online], policy: {maillard: {}}}
  outcome:
    kind: feedback
    predictions: score
    feedback: told
    on: payment
    label: truth
    wait_s_max: 3
    reward: {closeness: {scale: 9}}
    absent: 1
  teach: {kind: learn, from: outcome, every_s: 2}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_a_version_that_comes_while_nothing_else_does_does_not_turn_time_back() -> None:
    pay = Pay(plan_of(LEARNS, payments=", decide_at: {field: due_ms}"))
    pay.send("payments", *map(payment, range(8)), payment(8, due_ms=40_000))
    worker = pay.worker()
    pay.step(worker, times=315, ms=100)
    assert "p8" not in pay.ids()  # event time began at 8 s, and has come to 39.5 s
    assert worker.stats.versions["score"] > 0
    pay.step(worker, times=15, ms=100)

    assert "p8" in pay.ids()


def test_a_run_that_learns_starts_when_its_first_record_cannot_be_read() -> None:
    pay = Pay(plan_of(LEARNS))
    pay.broker.append("payments", [b"a"], [b"junk"], timestamps=np.array([500]))
    pay.send("payments", *map(payment, range(12)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert pay.ids() == [f"p{n}" for n in range(12)]
    assert [offset for offset, _ in pay.reasons()] == [0]


def test_versions_do_not_depend_on_how_many_epochs_are_read_at_once() -> None:
    def versions(slow: float, seed: int) -> list[tuple[bytes | None, bytes | None]]:
        pay = Pay(plan_of(LEARNS), seed=seed)
        pay.send("payments", payment(0), payment(1), payment(20), payment(21), payment(60))
        pay.send("told", *({"payment": "other", "card": "a", "truth": 1.0, "at_ms": 1000 * second} for second in range(5, 60, 5)))
        pay.broker.slow_fetch_share = slow
        worker = pay.worker(deterministic=True)
        pay.settle(worker)
        records, _ = pay.broker.log(("pay.models", 0)).fetch(0, 1 << 60)
        return [(record.key, record.value) for record in records if record.key != b"\x00mark"]

    calm = versions(0.0, 0)
    assert calm
    assert all(versions(0.9, seed) == calm for seed in range(8))


# -- odds and ends ------------------------------------------------------------------------------------------------------------------


def test_a_tombstone_is_no_event_of_its_key() -> None:
    stages = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: top, missing: 0}]}
stages:
  known: {kind: features, from: payments, kept_from: cards, group_by: card, values: {n: {count: true}, top: {max: limit}}}
  score: {kind: model, from: known, model: probe}
  out: {kind: emit, from: score, to: scores}
"""
    pay = Pay(plan_of(stages))
    pay.send("cards", {"card": "a", "limit": 9, "at_ms": 1000})
    pay.broker.append("cards", [b"a", b"b"], [None, None], timestamps=np.array([1500, 1600]))
    pay.send("payments", payment(2), payment(3, card="b"))
    pay.settle(pay.worker(deterministic=True))

    assert {key: outputs[:3] for key, outputs in pay.outputs().items()} == {"p2": [2.0, 1.0, 9.0], "p3": [3.0, 0.0, 0.0]}


def test_topics_with_other_numbers_of_partitions_are_refused() -> None:
    pay = Pay(plan_of())
    pay.plan = replace(pay.plan, topics=tuple((topic, count + 1, compacted) for topic, count, compacted in pay.plan.topics))

    with pytest.raises(EnvironmentMissing, match="another number of partitions"):
        pay.worker()


def test_reading_goes_on_after_an_abort_in_spite_of_a_pause() -> None:
    pay = Pay(plan_of(limits="{rows_in_flight_max: 1000, wait_ms_max: 20}"))
    worker = pay.worker(chunk_rows_max=10)
    sent = 0
    while not worker.flow._paused:
        pay.send("payments", *(payment(n, at_ms=n) for n in range(sent, sent + 100)))
        pay.step(worker, times=1)
        sent += 100
        assert sent < 10_000, "it never paused"
    pay.broker.fail_next_commit("pay.0", "aborted")
    pay.settle(worker, done=lambda: worker.pace.aborts == 1)
    pay.settle(worker, done=lambda: len(set(pay.ids())) == sent)

    assert len(pay.ids()) == sent
