"""Rows of a chunk pass the feature steps. Oracle: aggregates written out by hand."""

from __future__ import annotations

import numpy as np

from tests.support_flow import Pay, payment, plan_of


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
