"""How many workers a rate needs. Oracles: closed forms of a queue whose costs were given, and what more workers must bring."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from stream_infer.batching.curve import CostCurve
from stream_infer.batching.queueing import mean_latency_bound_s
from stream_infer.edge.costing import PARTS, SIZES, ClientCosts, Costs
from stream_infer.edge.planning import LOAD_MAX, capacity, forecast, turn, words
from stream_infer.topology.plan import Plan
from tests.support_flow import SPENT, plan_of

CLIENT = ClientCosts(0.0, 0.0, 0.0, fetch_s=2e-3, commit_s=10e-3)
NOTHING = CostCurve(SIZES, (0.0,) * len(SIZES))


def line(fixed_s: float, per_row_s: float) -> CostCurve:
    return CostCurve(SIZES, tuple(fixed_s + per_row_s * rows for rows in SIZES))


def costs(threaded: bool = False, **parts: CostCurve) -> Costs:
    return Costs(dict.fromkeys(PARTS, NOTHING) | parts, threaded, 2.0, 100.0)


@pytest.fixture
def plan() -> Plan:
    return plan_of(SPENT, partitions=8)


COSTS = costs(decode=line(1e-4, 2e-6), features=line(5e-4, 6e-6), encode=line(2e-4, 2e-6))  # 0.8 ms a turn, 10 µs a row


def test_a_turn_of_few_rows_is_one_of_few_tasks() -> None:
    one, many = turn(COSTS, 1), turn(COSTS, 8)
    assert one(1) == many(1) == pytest.approx(0.81e-3)
    assert many(4) == pytest.approx(4 * 0.81e-3)
    assert many(800) == pytest.approx(8 * 0.8e-3 + 800 * 10e-6)
    assert one(800) == pytest.approx(0.8e-3 + 800 * 10e-6)


def test_a_model_with_a_thread_of_its_own_works_beside() -> None:
    beside = costs(threaded=True, decode=line(0.0, 2e-6), model=line(0.0, 5e-6))
    assert turn(beside, 1)(100) == pytest.approx(100 * 5e-6)
    assert turn(costs(decode=line(0.0, 2e-6), model=line(0.0, 5e-6)), 1)(100) == pytest.approx(100 * 7e-6)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_the_forecast_stays_within_the_bound_and_near_it(plan: Plan, load: float) -> None:
    rate = load / 10e-6
    found = forecast(plan, COSTS, CLIENT, rate=8 * rate, workers=8, partitions=8)
    assert (found.tasks, found.rate) == (1, rate)
    bound = 1e3 * (mean_latency_bound_s(rate, 10e-6, 0.8e-3) + 2e-3) + found.commit_wait_ms
    assert found.mean_bound_ms == pytest.approx(bound, rel=0.01)
    assert found.mean_ms <= 1.03 * bound
    assert found.mean_ms >= 0.85 * bound
    assert found.p50_ms < found.p99_ms
    assert found.load == pytest.approx(load, rel=0.05)
    assert found.busy >= load, "what is fixed comes on top"


def test_the_fewest_workers_are_busy_but_not_too_busy_and_one_less_would_not_do(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, rate=300_000, slo_ms=200, cores=2)
    assert found.forecast is not None
    assert found.forecast.workers == 4, "3 cores of work; of 8 partitions, the busiest of 3 workers has 3"
    assert found.forecast.p99_ms <= 200
    assert 0.75 <= found.forecast.load <= LOAD_MAX
    fewer = forecast(plan, COSTS, CLIENT, rate=300_000, workers=3, partitions=8)
    assert fewer.load > 1
    assert "2 like this one, which has 2 cores" in words(found)


def test_what_costs_most_is_named_with_a_way_out(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, rate=1000, slo_ms=200)
    assert found.bottleneck == "features"
    assert "windows" in found.helps
    slow = capacity(plan, replace(COSTS, parts=COSTS.parts | {"model": line(0.0, 1e-3)}), CLIENT, rate=1000, slo_ms=200)
    assert slow.bottleneck == "model"
    assert sum(slow.us_per_row.values()) > sum(found.us_per_row.values())


def test_an_slo_below_what_a_single_row_takes_cannot_be_met_by_anybody(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, rate=1000, slo_ms=10)
    assert found.forecast is None
    assert found.least_ms == pytest.approx(2 + 0.81 + 10)
    assert found.why_not == (
        "no number of workers answers within 10 ms: even alone, with nothing to do, a row takes 12.8 ms "
        "(2.0 ms to reach us, 0.8 ms to be worked on, 10.0 ms to be committed); `guarantee: at_least_once` saves half of the commit"
    )
    assert "cannot be met" in words(found)


def test_a_rate_beyond_one_worker_for_each_partition_needs_more_partitions(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, rate=1_000_000, slo_ms=200)
    assert found.forecast is None
    assert found.why_not == "8 partitions are too few: each is one worker's; with 16 partitions and workers it can be done"


def test_at_full_load_the_commit_interval_is_waited_for(plan: Plan) -> None:
    slow = replace(plan, emit=replace(plan.emit, commit_interval_ms=100))
    found = forecast(slow, COSTS, CLIENT, rate=8 * 80_000, workers=8, partitions=8)
    assert found.commit_wait_ms == pytest.approx(100 / 2 + 10, rel=0.25)
    none = capacity(replace(plan, emit=replace(plan.emit, commit_interval_ms=100)), COSTS, CLIENT, rate=80_000 * 8, slo_ms=14)
    assert none.forecast is None or none.forecast.p99_ms <= 14


def test_json_holds_what_the_words_say(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, rate=300_000, slo_ms=200)
    told = found.json()
    assert isinstance(told["forecast"], dict)
    assert told["forecast"]["workers"] == 4
    assert not math.isnan(told["forecast"]["mean_ms"])
    assert Path(str(told["topology"])).name == "pay"
