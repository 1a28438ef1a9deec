"""Deterministic runs over logs that grow: each goes on where the one before ended, and a live run goes on from there too.

Oracle: what each card spent before, sums of a ledger, and what one run over the whole log answers.
"""

from __future__ import annotations

import pytest

from stream_infer.flow.channel import END
from stream_infer.flow.worker import Worker
from stream_infer.models.version import ModelVersion
from stream_infer.sim.reading import all_of, joined_of
from tests.support_flow import SPENT, Pay, payment, plan_of
from tests.support_worker import LEARNS, seen, spent

HOPS = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, m]}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true}, total: {sum: amount}}}
  sold: {kind: features, from: spent, group_by: shop, values: {m: {count: true}}}
  score: {kind: model, from: sold, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def to_the_end(pay: Pay, slot: str) -> Worker:
    worker = pay.worker(slot, deterministic=True)
    pay.settle(worker)
    worker.close()
    return worker


@pytest.mark.parametrize("stages", [SPENT, HOPS])
def test_a_second_run_works_through_what_came_since(stages: str) -> None:
    pay = Pay(plan_of(stages))
    for first in range(0, 12, 4):
        pay.send("payments", *map(payment, range(first, first + 4)))
        worker = to_the_end(pay, str(first))
        assert worker.stats.records_read == 4

    assert seen(pay) == spent(*range(12))
    assert to_the_end(pay, "again").stats.records_read == 0


def told(number: int, at_ms: int) -> dict[str, object]:
    return {"payment": f"p{number}", "card": "a", "truth": float(number), "at_ms": at_ms}


def send(pay: Pay, first: int, after: int) -> None:
    """Payments, each told of after a second."""
    pay.send("payments", *map(payment, range(first, after)))
    pay.send("told", *(told(n, n * 1000 + 1000) for n in range(first, after)))


def labels(pay: Pay) -> dict[str, object]:
    rows = [read.row for read in all_of(pay.broker, joined_of(pay.plan))]
    assert all(isinstance(row["closed_at"], int) and row["closed_at"] < END for row in rows)
    return {str(row["prediction_id"]): row["label"] for row in rows}


def versions(pay: Pay) -> list[tuple[bytes | None, int]]:
    """(name, number) of every version, as they were published."""
    records, _ = pay.broker.log((pay.plan.models_topic, 0)).fetch(0, 1 << 60)
    return [(r.key, ModelVersion.from_bytes(r.value).version) for r in records if r.key != b"\x00mark" and r.value is not None]


def test_learning_goes_on_in_a_second_run() -> None:
    pay = Pay(plan_of(LEARNS))
    send(pay, 0, 30)
    to_the_end(pay, "0")
    before = len(versions(pay))
    send(pay, 30, 60)
    to_the_end(pay, "1")

    assert labels(pay) == {f"p{n}": float(n) for n in range(60)}
    assert pay.ids() == [f"p{n}" for n in range(60)]
    found = versions(pay)
    assert len(found) >= 2 * before - 4
    assert len(set(found)) == len(found), "a version was published twice"
    used = {str(read.row["policy_version"]) for read in pay.predictions()[30:]}
    assert len(used) > 8  # of 15 epochs


def test_a_live_run_goes_on_where_a_deterministic_one_ended() -> None:
    pay = Pay(plan_of(LEARNS))
    send(pay, 0, 30)
    to_the_end(pay, "0")
    before = len(versions(pay))
    worker = pay.worker("1")
    for first in range(30, 60, 2):
        send(pay, first, first + 2)
        pay.step(worker, times=20, ms=100)
    pay.step(worker, times=60, ms=100)

    assert labels(pay) == {f"p{n}": float(n) for n in range(60)}
    assert pay.ids() == [f"p{n}" for n in range(60)]
    found = versions(pay)
    assert len(found) > before + 8
    assert len(set(found)) == len(found), "a version was published twice"


def test_an_end_that_was_promised_in_a_run_that_was_killed_is_no_time() -> None:
    """The first section came to its end and told so; the second had not read it when all was killed, and more was sent."""
    pay = Pay(plan_of(HOPS))
    pay.send("payments", *map(payment, range(4)))
    upstream = pay.worker("0", deterministic=True, sections=[pay.plan.sections[0].name])
    pay.settle(upstream)
    upstream.close()
    pay.send("payments", *map(payment, range(4, 8)))
    to_the_end(pay, "1")

    assert seen(pay) == spent(*range(8))
    assert [read.row["event_time"] for read in pay.predictions()] == [1000 * n for n in range(8)]
