"""How many workers a rate needs. Oracles: closed forms of a queue whose costs were given, and what more workers must bring."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from pathlib import Path

import pytest

from stream_infer.batching.arrivals import Producers
from stream_infer.batching.curve import CostCurve
from stream_infer.batching.queueing import mean_latency_bound_s
from stream_infer.edge.beside import SIZES, Beside, Servers, lanes, outside, workers_of_functions
from stream_infer.edge.costing import PARTS, ClientCosts, Costs
from stream_infer.edge.forecasting import commit_s, forecast, turn
from stream_infer.edge.forecasting import load as load_of
from stream_infer.edge.planning import LOAD_MAX, capacity, words
from stream_infer.models.linear import LinearModel
from stream_infer.topology.plan import Plan
from tests.support_flow import SPENT, Flawed, plan_of

CLIENT = ClientCosts(0.0, 0.0, 0.0, fetch_s=2e-3, commit_s=10e-3, commit_partition_s=0.0)
AT_ONCE = Producers(1, 0.0)  # who gather nothing
NOTHING = CostCurve(SIZES, (0.0,) * len(SIZES))


def line(fixed_s: float, per_row_s: float) -> CostCurve:
    return CostCurve(SIZES, tuple(fixed_s + per_row_s * rows for rows in SIZES))


def costs(*beside: Beside, **parts: CostCurve) -> Costs:
    return Costs(dict.fromkeys(PARTS, NOTHING) | parts, beside, 2.0, 100.0)


def beside(curve: CostCurve, count: int = 1, part_rows: int = 4096, *, processors: bool = True) -> Beside:
    return Beside(Servers("model net", count, part_rows, processors), curve)


@pytest.fixture
def plan() -> Plan:
    return plan_of(SPENT, partitions=8)


COSTS = costs(decode=line(1e-4, 2e-6), features=line(5e-4, 6e-6), encode=line(2e-4, 2e-6))  # 0.8 ms a turn, 10 µs a row


def test_a_turn_of_few_rows_is_one_of_few_tasks() -> None:
    assert turn(COSTS, 1, 1) == turn(COSTS, 1, 8) == pytest.approx(0.81e-3)
    assert turn(COSTS, 4, 8) == pytest.approx(4 * 0.81e-3)
    assert turn(COSTS, 800, 8) == pytest.approx(8 * 0.8e-3 + 800 * 10e-6)
    assert turn(COSTS, 800, 1) == pytest.approx(0.8e-3 + 800 * 10e-6)


def test_a_model_with_a_thread_of_its_own_works_beside() -> None:
    found = costs(beside(line(0.0, 5e-6)), decode=line(0.0, 2e-6))
    assert turn(found, 100, 1) == pytest.approx(100 * 5e-6)
    assert turn(costs(decode=line(0.0, 2e-6), model=line(0.0, 5e-6)), 100, 1) == pytest.approx(100 * 7e-6)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_the_forecast_stays_within_the_bound_and_near_it(plan: Plan, load: float) -> None:
    rate = load / 10e-6
    found = forecast(plan, COSTS, CLIENT, AT_ONCE, rate=8 * rate, workers=8, partitions=8)
    assert (found.tasks, found.rate) == (1, rate)
    bound = 1e3 * (mean_latency_bound_s(rate, 10e-6, 0.8e-3) + 2e-3) + found.commit_wait_ms
    assert found.mean_bound_ms == pytest.approx(bound, rel=0.01)
    assert found.mean_ms <= 1.03 * bound
    assert found.mean_ms >= 0.85 * bound
    assert found.p50_ms < found.p99_ms
    assert found.load == pytest.approx(load, rel=0.05)
    assert found.busy >= load, "what is fixed comes on top"


@pytest.mark.parametrize("rate", [50.0, 2_000.0])
def test_what_producers_gather_is_worked_on_at_once(plan: Plan, rate: float) -> None:
    """Oracle: where turns and commits are nearly free, a row waits for its producer alone; a batch of m rows is one turn instead of m."""
    producers = Producers(1, 20e-3)
    quick = costs(decode=line(1e-5, 1e-7))
    client = ClientCosts(0.0, 0.0, 0.0, fetch_s=1e-3, commit_s=1e-5, commit_partition_s=0.0)
    found, alone = (forecast(plan, quick, client, one, rate=rate, workers=1, partitions=2) for one in (producers, AT_ONCE))
    more = rate / 2 * 20e-3
    assert found.gathered_ms == pytest.approx(20 * (1 + more / 2) / (1 + more), rel=0.03)
    assert found.mean_ms == pytest.approx(found.gathered_ms + 1, abs=0.1)
    assert found.busy == pytest.approx(alone.busy * (1e-5 / (1 + more) + 1e-7) / (1e-5 + 1e-7), rel=0.1)
    assert found.mean_ms <= found.mean_bound_ms * 1.03
    many = forecast(plan, quick, client, Producers(1000, 20e-3), rate=rate, workers=1, partitions=2)
    assert many.busy > 0.9 * alone.busy, "of so many producers each has a row at a time"
    assert many.gathered_ms == pytest.approx(20, rel=0.03)


def test_a_commit_takes_longer_for_each_partition_that_it_writes_to(plan: Plan) -> None:
    client = replace(CLIENT, commit_partition_s=1e-3)
    assert [commit_s(client, tasks) for tasks in (1, 4)] == pytest.approx([12e-3, 21e-3])
    slow, fast = (forecast(plan, COSTS, one, AT_ONCE, rate=1, workers=1, partitions=8) for one in (client, CLIENT))
    assert slow.commit_wait_ms - fast.commit_wait_ms == pytest.approx(2, abs=0.2), "a row is of one task"


def test_the_least_that_a_row_takes_holds_the_linger_of_who_sends_it(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, Producers(1, 5e-3), rate=1000, slo_ms=10)
    assert found.least_ms == pytest.approx(5 + 2 + 0.81 + 10)
    assert "(5.0 ms to be sent, 2.0 ms to reach us" in found.why_not


def test_the_fewest_workers_are_busy_but_not_too_busy_and_one_less_would_not_do(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, AT_ONCE, rate=300_000, slo_ms=200, cores=2)
    assert found.forecast is not None
    assert found.forecast.workers == 4, "3 cores of work; of 8 partitions, the busiest of 3 workers has 3"
    assert found.forecast.p99_ms <= 200
    assert 0.75 <= found.forecast.load <= LOAD_MAX
    fewer = forecast(plan, COSTS, CLIENT, AT_ONCE, rate=300_000, workers=3, partitions=8)
    assert fewer.load > 1
    assert "2 like this one, which has 2 cores" in words(found)


def test_what_costs_most_is_named_with_a_way_out(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, AT_ONCE, rate=1000, slo_ms=200)
    assert found.bottleneck == "features"
    assert "windows" in found.helps
    slow = capacity(plan, replace(COSTS, parts=COSTS.parts | {"model": line(0.0, 1e-3)}), CLIENT, AT_ONCE, rate=1000, slo_ms=200)
    assert slow.bottleneck == "model"
    assert sum(slow.us_per_row.values()) > sum(found.us_per_row.values())


def test_an_slo_below_what_a_single_row_takes_cannot_be_met_by_anybody(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, AT_ONCE, rate=1000, slo_ms=10)
    assert found.forecast is None
    assert found.least_ms == pytest.approx(2 + 0.81 + 10)
    assert found.why_not == (
        "no number of workers answers within 10 ms: even alone, with nothing to do, a row takes 12.8 ms "
        "(0.0 ms to be sent, 2.0 ms to reach us, 0.8 ms to be worked on, 10.0 ms to be committed); "
        "`guarantee: at_least_once` takes about half as long to commit"
    )
    assert "cannot be met" in words(found)


def test_a_rate_beyond_one_worker_for_each_partition_needs_more_partitions(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, AT_ONCE, rate=1_000_000, slo_ms=200)
    assert found.forecast is None
    assert found.why_not == "8 partitions are too few: each is one worker's; with 16 partitions and workers it can be done"


def test_at_full_load_the_commit_interval_is_waited_for(plan: Plan) -> None:
    slow = replace(plan, emit=replace(plan.emit, commit_interval_ms=100))
    found = forecast(slow, COSTS, CLIENT, AT_ONCE, rate=8 * 80_000, workers=8, partitions=8)
    assert found.commit_wait_ms == pytest.approx(100 / 2 + 10, rel=0.25)
    none = capacity(replace(plan, emit=replace(plan.emit, commit_interval_ms=100)), COSTS, CLIENT, AT_ONCE, rate=80_000 * 8, slo_ms=14)
    assert none.forecast is None or none.forecast.p99_ms <= 14


def test_json_holds_what_the_words_say(plan: Plan) -> None:
    found = capacity(plan, COSTS, CLIENT, AT_ONCE, rate=300_000, slo_ms=200)
    told = found.json()
    assert isinstance(told["forecast"], dict)
    assert told["forecast"]["workers"] == 4
    assert not math.isnan(told["forecast"]["mean_ms"])
    assert Path(str(told["topology"])).name == "pay"


# -- what works beside the loop ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 64, 65, 200, 4096])
def test_what_is_asked_at_once_takes_as_long_as_a_queue_of_its_parts(servers: int, rows: int) -> None:
    """Oracle: so many servers that take one part after the other."""
    found = beside(line(0.0, 1e-3), servers, 64)
    parts = -(-rows // 64)
    free = [0.0] * servers
    for _ in range(parts):
        heapq.heapreplace(free, free[0] + 1e-3 * rows / parts)
    assert found.takes(rows) == pytest.approx(max(free))


def test_servers_bound_the_rate_that_can_be_done(plan: Plan) -> None:
    """Oracle: n servers of 1 ms a row do n rows in a ms, and no worker does more than its loop."""
    for count in (1, 2, 4):
        each = costs(beside(line(0.0, 1e-3), count, 16), decode=line(0.0, 1e-6))
        rate = 0.8 * count / 1e-3
        assert load_of(plan, each, CLIENT, rate, 1) == pytest.approx(0.8)
        found = forecast(plan, each, CLIENT, AT_ONCE, rate=rate, workers=1, partitions=1)
        assert found.beside == {"model net": pytest.approx(0.8, rel=0.05)}
        assert found.cores == pytest.approx(0.8 * count, rel=0.05)
    alone = costs(beside(line(0.0, 1e-3), 1000, 16), decode=line(0.0, 1e-5))
    assert load_of(plan, alone, CLIENT, 80_000, 1) == pytest.approx(0.8)


def test_a_call_is_a_delay_that_takes_no_processor(plan: Plan) -> None:
    """Oracle: at little load a row takes what it takes alone."""
    quick = costs(decode=line(1e-4, 1e-6))
    called = costs(beside(line(20e-3, 0.0), 64, processors=False), decode=line(1e-4, 1e-6))
    without, found = (forecast(plan, one, CLIENT, AT_ONCE, rate=5, workers=1, partitions=8) for one in (quick, called))
    assert found.p50_ms - without.p50_ms == pytest.approx(20, abs=2)
    assert found.beside_ms == pytest.approx(20, rel=0.03)
    assert found.cores == pytest.approx(without.cores, rel=0.1)
    least = capacity(plan, called, CLIENT, AT_ONCE, rate=5, slo_ms=30)
    assert least.why_not.startswith("no number of workers answers within 30 ms")
    assert least.least_ms == pytest.approx(2 + 0.101 + 20 + 10)


def test_rows_that_are_called_for_one_by_one_share_what_may_be_under_way() -> None:
    found = beside(line(0.0, 10e-3), 64, 1, processors=False)
    assert found.takes(64) == pytest.approx(10e-3)
    assert found.takes(65) == pytest.approx(20e-3)
    assert found.occupies(4096, 1.0) == pytest.approx(4096 * 10e-3 / 64)


def test_what_works_beside_is_named_when_it_is_what_limits(plan: Plan) -> None:
    found = capacity(plan, costs(beside(line(0.0, 1e-3), 2, 16), decode=line(0.0, 1e-6)), CLIENT, AT_ONCE, rate=1000, slo_ms=200)
    assert found.bottleneck == "model net"
    assert "more `workers`" in words(found)
    assert "beside the loop" in words(found)


STAGES = """
models:
  net: {kind: torch, artifact: none.safetensors, inputs: [amount], batch: {rows_max: 32}, workers: {where: process, count: 3}}
  own: {kind: torch, artifact: none.safetensors, inputs: [amount], workers: {count: 2}}
  plain: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  all: {kind: ensemble, members: [net, own, plain]}
stages:
  prepare: {kind: function, from: payments, function: prepare, per: batch, reads: [amount], gives: {more: number}, workers: 4}
  ask:
    kind: function
    from: prepare
    function: ask
    per: row
    reads: [amount]
    gives: {rank: number}
    outside: {timeout_ms: 200, concurrency_max: 16}
  score: {kind: model, from: ask, model: all}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_who_works_beside_follows_from_the_topology() -> None:
    plan = plan_of(STAGES)
    models = {name: Flawed(plan.models[name].columns(), lambda _: "") for name in ("net", "own")} | {
        "plain": LinearModel.zeros(("amount",), "identity")
    }
    found = {name: (one.name, one.count, one.part_rows) for name, one in lanes(plan, models).items()}
    assert found == {"net": ("model net", 3, 32), "own": ("model own", 2, 4096)}
    assert {name: one.count for name, one in workers_of_functions(plan).items()} == {"prepare": 4}
    nobody, said = outside(plan, {})
    assert nobody == []
    assert any("stage ask asks outside" in line and "--call-ms ask=MS" in line for line in said)
    assert any("its 4 threads" in line for line in said)
    (told,), _ = outside(plan, {"ask": 20.0})
    assert (told.servers.count, told.servers.part_rows, told.servers.processors) == (16, 1, False)
    assert told.takes(17) == pytest.approx(40e-3)
