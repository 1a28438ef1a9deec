"""Predictions are made again from the logs. Oracle: the records that a live run wrote, byte for byte, whatever cut its chunks."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.unit.edge.support_rebuilding import HELD, STAGES, live, sample


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("payments", ["", HELD])
def test_a_prediction_of_a_live_run_is_made_again_to_the_bit(seed: int, payments: str) -> None:
    run = live(seed, payments=payments)
    run.run(60, deaths=2)
    for id_ in sample(run, 12):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason, found.fault)
        assert found.whole
        assert found.row is not None
        arm = str(found.row["arm"])
        assert set(found.features[arm]) == set(run.pay.plan.models[arm].columns())


BATCHES = {
    "sizes": "batch: {sizes: [4, 16]}",
    "buckets": "batch: {rows_max: 3, cost: amount, cost_max: 500, buckets: [20, 40]}",
    "cost": "batch: {cost: amount, cost_max: 60}",
}


@pytest.mark.parametrize("kind", BATCHES)
def test_passes_of_fixed_sizes_of_cost_and_of_buckets_are_made_again(kind: str) -> None:
    run = live(11, stages=STAGES.replace(", limit]}", f", limit], {BATCHES[kind]}}}"))
    run.run(60, deaths=1)
    for id_ in sample(run, 10):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


def test_rows_that_came_too_late_are_answered_by_the_fallback_again() -> None:
    bandit = "kind: bandit, from: known, arms: [net, plain], policy: {epsilon_greedy: {epsilon: 0.5}}"
    assert bandit in STAGES
    run = live(12, stages=STAGES.replace(bandit, "kind: model, from: known, model: net, deadline_ms: 700, late: fallback, fallback: plain"))
    run.deadline = True
    run.run(60)
    arms = {str(read.row["prediction_id"]): read.row["arm"] for read in run.pay.predictions()}
    assert set(arms.values()) == {"net", "plain"}, "some were late, others were not"
    for id_ in sample(run, 15):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


HOP = """
models:
  net: {kind: torch, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, limit]}
stages:
  known: {kind: lookup, from: payments, table: cards, key: card, take: {limit: -1}}
  spent: {kind: features, from: known, group_by: shop, values: {n: {count: true}, total: {sum: amount}}}
  score: {kind: model, from: spent, model: net}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_rows_that_went_on_under_another_key_are_made_again_from_where_they_were_read() -> None:
    run = live(13, stages=HOP)
    assert len(run.pay.plan.sections) == 2
    run.run(60, deaths=1)
    for id_ in sample(run, 10):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


def test_at_least_once_each_of_two_answers_to_one_row_is_made_again() -> None:
    stages = STAGES.replace("commit_interval_ms: 1", "commit_interval_ms: 60, guarantee: at_least_once")
    run = live(14, stages=stages)
    run.link = {"guarantee": "at_least_once"}
    run.run(60, deaths=4)
    places: dict[str, list[tuple[int, int]]] = {}
    for read in run.pay.predictions():
        places.setdefault(str(read.row["prediction_id"]), []).append((read.partition, read.offset))
    twice = [id_ for id_, found in places.items() if len(found) > 1]
    assert twice, "a crash made some answers come twice"
    for id_ in [*twice, *list(places)[::7]]:
        for partition, offset in places[id_]:
            found = run.rebuilt(id_, partition=partition, offset=offset)
            assert found.identical, (id_, partition, offset, found.differences, found.reason)


def test_without_the_passes_on_record_the_last_bits_would_differ() -> None:
    """That the record of passes is needed: the net alone, asked one row at a time, gives other bits for some rows."""
    run = live(1)
    run.run(60)
    net = run.pay.models["net"]
    rows = [run.rebuilt(id_) for id_ in sample(run, 30)]
    mine = [found for found in rows if found.row is not None and found.row["arm"] == "net"]
    alone = [float(net.forward(np.array([list(found.features["net"].values())], dtype=np.float32))[0, 0]) for found in mine]
    answers = [found.recorded.row["answer"] for found in mine]
    assert all(found.identical for found in mine)
    assert any(struct.pack("<d", a) != struct.pack("<d", float(str(b))) for a, b in zip(alone, answers, strict=True))
    assert np.allclose(alone, [float(str(answer)) for answer in answers])


def test_what_each_input_added_adds_up_to_the_answer() -> None:
    run = live(16)
    run.run(30)
    id_ = next(str(read.row["prediction_id"]) for read in run.pay.predictions() if read.row["arm"] == "plain")
    found = run.rebuilt(id_)
    assert found.parts.keys() == found.features["plain"].keys()
    assert found.baseline + sum(found.parts.values()) == pytest.approx(float(str(found.recorded.row["answer"])))
