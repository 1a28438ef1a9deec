"""One task: what it remembers, in what order it works, what it rejects and why.

Oracle: rows worked out by hand, or the run without a stop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.block import read_block, rows_of_block
from stream_infer.flow.commands import Command, Commit, Forward, Produce
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.notices import Committed, CommitWanted, ForwardDone, Read, Tick
from stream_infer.flow.task import Snapshot
from stream_infer.flow.versions import statics
from stream_infer.sim.reading import all_of, joined_of
from stream_infer.topology.plan import Plan
from tests.support import blobs
from tests.support_flow import SPENT, Pay, models_of, payment, plan_of

Made = list[tuple[str, bytes | None, bytes | None]]  # topic, key, value


def rows_of(block: bytes) -> list[dict[str, object]]:
    return rows_of_block(read_block(np.frombuffer(block, dtype=np.uint8)))


class Core:
    """A Flow with one task, by hand: what is read, answered and committed. made: records on the users' topics."""

    def __init__(self, plan: Plan, rows_max: int, ends: dict[tuple[str, int], int]) -> None:
        self.plan, self._models = plan, models_of(plan)
        self.flow = Flow(plan, statics(plan.models, self._models), Mode(True, ends, rows_max))
        self.made: Made = []
        self.changelog: tuple[list[bytes], list[bytes | None]] = ([], [])
        self.lows: dict[tuple[str, int], int] = {}

    def take_over(self, other: Core | None, snapshot: Snapshot | None = None) -> None:
        keys, values = other.changelog if other is not None and snapshot is None else ([], [])
        task = self.flow.make_task(("main", 0))
        if snapshot is not None:
            task.load(snapshot)
        task.apply(blobs(keys), blobs(values))
        self.flow.attach(task)
        self.changelog = (list(keys), list(values))

    def turn(self, *notices: Any) -> None:
        for notice in (*notices, Tick(1, frozenset())):
            self._carry_out(self.flow.handle(notice))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Forward):
                outputs = self._models[command.model].forward(command.matrix)
                self._carry_out(self.flow.handle(ForwardDone(command.job, outputs, 0.0)))
            elif isinstance(command, Produce) and command.topic.endswith(".state"):
                self.changelog[0].extend(key or b"" for key in command.keys.raw())
                self.changelog[1].extend(command.values.raw())
            elif isinstance(command, Produce):
                records = list(zip(command.keys.raw(), command.values.raw(), strict=True))
                if command.topic == "pay.joined":  # how many rows close at once depends on how much was read by then
                    records = [(None, repr(row).encode()) for _, value in records for row in rows_of(value or b"")]
                self.made += [(command.topic, key, value) for key, value in records]
            elif isinstance(command, Commit):
                self.lows |= command.offsets

    def commit(self) -> None:
        self.turn()
        self._carry_out(self.flow.handle(CommitWanted()))
        self.flow.handle(Committed())


WHOLE = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, limit]}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true, window_s: 20}, total: {sum: amount}}}
  known: {kind: lookup, from: spent, table: cards, key: card, take: {limit: -1}}
  score: {kind: model, from: known, model: probe}
  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 5, reward: {closeness: {scale: 9}}}
  out: {kind: emit, from: score, to: scores}
"""


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 40), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_a_task_goes_on_from_its_checkpoint_as_if_nothing_had_happened(
    rows_max: int, reads: int, stop: int, waits: bool, from_snapshot: bool, random: Any
) -> None:
    plan = plan_of(WHOLE, payments=", decide_at: {field: due_ms}" if waits else "")
    pay = Pay(plan)
    at = [random.randrange(0, 30_000) for _ in range(40)]
    pay.send("payments", *(payment(n, card=random.choice("ab"), at_ms=at[n], due_ms=at[n] + random.randrange(9_000)) for n in range(40)))
    pay.send("cards", *({"card": random.choice("ab"), "limit": n, "at_ms": 3000 * n} for n in range(9)))
    pay.send("told", *({"payment": f"p{random.randrange(40)}", "card": "a", "truth": 1.0 * n, "at_ms": 1000 * n} for n in range(30)))
    logs = [pay.broker.dump(topic)[0] for topic in ("payments", "cards", "told")]
    ends = {(log.topic, 0): len(log) for log in logs}

    def read(core: Core, first: dict[str, int], upto: float) -> None:
        for log in logs:
            begin, end = first.get(log.topic, 0), int(len(log) * upto)
            for place in range(begin, end, reads):
                core.turn(Read(log.take(slice(place, min(place + reads, end)))))

    whole = Core(plan, rows_max, ends)
    whole.take_over(None)
    read(whole, {}, 1.0)
    for _ in range(200):
        whole.turn()
    whole.commit()  # chunks are told of with it

    one = Core(plan, rows_max, ends)
    one.take_over(None)
    read(one, {}, stop / 40)
    for _ in range(random.randrange(12)):
        one.turn()
    one.commit()
    two = Core(plan, rows_max, ends)
    two.take_over(one, one.flow.tasks["main", 0].snapshot() if from_snapshot else None)
    read(two, {topic: low for (topic, _), low in one.lows.items()}, 1.0)
    for _ in range(200):
        two.turn()
    two.commit()

    assert len(whole.made) > 80
    assert of_users(one.made + two.made, plan) == of_users(whole.made, plan)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_answers_that_can_be_seen_are_never_without_their_cut(guarantee: str) -> None:
    """Exactly once they are seen with their commit; at least once at once, and for good even if no checkpoint follows."""
    plan = plan_of(WHOLE.replace("to: scores}", f"to: scores, guarantee: {guarantee}}}"))
    pay = Pay(plan)
    pay.send("payments", *(payment(n, card="a", at_ms=1000 * n, due_ms=1000 * n) for n in range(12)))
    log = pay.broker.dump("payments")[0]
    core = Core(plan, 4, {("payments", 0): 12, ("cards", 0): 0, ("told", 0): 0})
    core.take_over(None)
    core.turn(Read(log))

    def made(topic: str) -> int:
        return sum(record[0] == f"pay.{topic}" or record[0] == topic for record in core.made)

    for _ in range(10):
        core.turn()
    assert made("scores") == 12
    assert made("cuts") == (0 if guarantee == "exactly_once" else 3)
    core.commit()
    assert made("cuts") == 3


def of_users(made: Made, plan: Plan) -> dict[str, Made]:
    """By topic, in order; without the marks that say how far a task has come."""
    return {topic: [record for record in made if record[0] == topic] for topic, _, _ in plan.topics}


def test_rejected_rows_of_every_kind_are_told_in_the_order_of_the_log() -> None:
    pay = Pay(plan_of())
    pay.send("payments", payment(0))
    good = pay.broker.dump("payments")[0].values.raw()[0]
    assert good is not None
    for value in (good[:-1], b"", b"\x01" + good[1:], None, good + b"x"):
        pay.broker.append("payments", [b"a"], [value], timestamps=np.array([500]))
    pay.send("payments", payment(9))
    pay.settle(pay.worker(deterministic=True))

    assert pay.ids() == ["p0", "p9"]
    assert [offset for offset, _ in pay.reasons()] == [1, 2, 3, 4, 5]
    assert pay.reasons()[3][1] == "value: got null, expected a row (only compacted streams have tombstones)"
    assert all(reason and "\n" not in reason for _, reason in pay.reasons())
    assert [read.row["value"] for read in pay.rejects()][:2] == [good[:-1], b""]


@pytest.mark.parametrize("deterministic", [True, False])
def test_feedback_that_counts_for_nothing_is_returned_with_its_reason(deterministic: bool) -> None:
    pay = Pay(plan_of(WHOLE))
    pay.send("payments", payment(0), payment(1), payment(40))
    told = [("p0", 3.0, 2_000), ("p0", 4.0, 2_500), ("nobody", 1.0, 3_000), ("p1", 1.0, 6_900), ("p1", None, 7_000), ("p1", 9.0, 9_000)]
    pay.send("told", *({"payment": key, "card": "a", "truth": truth, "at_ms": at} for key, truth, at in told))
    worker = pay.worker(deterministic=deterministic)
    pay.settle(worker, done=None if deterministic else lambda: len(pay.reasons()) == 4)

    assert {offset: reason.split(":")[0] for offset, reason in pay.reasons()} == {2: "unknown", 3: "late", 4: "incomplete", 5: "late"}
    pay.settle(worker, done=lambda: worker.finished() if deterministic else len(joined(pay)) == 3)
    assert joined(pay) == {"p0": 3.0, "p1": None, "p40": None}


def joined(pay: Pay) -> dict[str, Any]:
    return {str(read.row["prediction_id"]): read.row["label"] for read in all_of(pay.broker, joined_of(pay.plan))}


def test_rows_too_late_for_their_partition_are_rejected() -> None:
    pay = Pay(plan_of(payments=", late_after_ms: 3000"))
    pay.send("payments", payment(10), payment(11, at_ms=8_000), payment(12, at_ms=6_900), payment(13))
    pay.settle(pay.worker(deterministic=True))

    assert pay.ids() == ["p10", "p11", "p13"]
    ((offset, reason),) = pay.reasons()
    assert offset == 2
    assert "3100 ms behind" in reason


def test_a_global_stream_reaches_every_task_and_is_rejected_once() -> None:
    stages = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n]}
stages:
  known: {kind: features, from: payments, kept_from: cards, group_by: card, global: true, values: {n: {count: true}}}
  score: {kind: model, from: known, model: probe}
  out: {kind: emit, from: score, to: scores}
"""
    pay = Pay(plan_of(stages, partitions=3))
    pay.send("cards", *({"card": "shared", "limit": n, "at_ms": n} for n in range(5)))
    pay.broker.append("cards", [b"x"] * 3, [b"junk"] * 3, timestamps=np.array([5, 6, 7]))
    for partition in range(3):
        value = pay_value(pay, payment(partition, card="shared", at_ms=9_000))
        pay.broker.append("payments", [b"shared"], [value], partition, timestamps=np.array([9_000]))
    workers = [pay.worker(str(slot), deterministic=True) for slot in range(3)]
    pay.settle(*workers)

    assert {key: outputs[1] for key, outputs in pay.outputs().items()} == {"p0": 5.0, "p1": 5.0, "p2": 5.0}
    assert len(pay.reasons()) == 3


def pay_value(pay: Pay, row: dict[str, Any]) -> bytes:
    other = Pay(pay.plan)
    other.send("payments", row)
    return next(value for log in other.broker.dump("payments") for value in log.values.raw() if value is not None)


def test_rows_meet_the_features_of_another_key_in_the_order_of_time() -> None:
    stages = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}]}
stages:
  busy: {kind: features, from: payments, group_by: shop, values: {n: {count: true}, total: {sum: amount}}}
  score: {kind: model, from: busy, model: probe}
  out: {kind: emit, from: score, to: scores}
"""
    sent = [payment(n, card=f"card-{n * 7 % 5}", shop=f"shop-{n % 3}") for n in range(60)]
    before: dict[str, list[float]] = {}
    expected = {}
    for row in sent:
        known = before.setdefault(row["shop"], [])
        expected[row["payment"]] = [row["amount"], float(len(known)), sum(known)]
        known.append(row["amount"])
    for seed in range(4):
        pay = Pay(plan_of(stages, partitions=3), seed=seed)
        pay.send("payments", *sent)
        pay.broker.slow_fetch_share = 0.5
        pay.settle(*(pay.worker(str(slot), deterministic=True, chunk_rows_max=4) for slot in range(2)))

        assert {key: outputs[:3] for key, outputs in pay.outputs().items()} == expected, seed
        assert len(pay.ids()) == len(sent)


def test_the_group_s_offset_stays_below_every_row_that_waits() -> None:
    pay = Pay(plan_of(SPENT, payments=", decide_at: {field: due_ms}"))
    pay.send("payments", payment(0), payment(1, due_ms=60_000), payment(2), payment(3))
    worker = pay.worker()
    pay.step(worker)

    assert pay.ids() == ["p0", "p2", "p3"]
    assert pay.broker.group("pay").committed["payments", 0] == 1
