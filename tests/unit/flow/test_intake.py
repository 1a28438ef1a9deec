"""Streams that two sections read, each in its own way. Oracle: sums written out by hand, and rejects counted."""

from __future__ import annotations

import numpy as np

from tests.support_flow import Pay, payment, plan_of

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
