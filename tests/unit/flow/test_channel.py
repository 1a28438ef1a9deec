"""Rows that wait for their time. Oracle: the order and the times in which they are due."""

from __future__ import annotations

import pytest

from tests.support_flow import Pay, payment, plan_of
from tests.support_worker import Hooked, link


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
