"""edge.planning: how many workers a rate of rows needs, and how late their answers will be. costing, batching.queueing → *planning* → cli.

A worker takes whatever waits, works it through and sends it; the more waits, the less each row costs. That is a queue with batch
service, so what is measured of a turn tells mean and tail of the latency at any load: the mean is bounded by a closed form, both are
simulated with the measured curve and random (Poisson) arrivals. The wait for the commit comes on top, for readers see no answer earlier.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from stream_infer.batching.queueing import mean_latency_bound_of, simulate, visible_at
from stream_infer.edge.beside import SIZES, Beside, between, outside
from stream_infer.edge.call_setup import stand_ins
from stream_infer.edge.costing import PARTS, ClientCosts, Costs, answering, measure
from stream_infer.edge.costing_client import ask
from stream_infer.edge.measuring import measured
from stream_infer.edge.workers import load_models
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.committing import SHARE
from stream_infer.flow.read_size import POLL_ROWS_MAX
from stream_infer.functions import Function
from stream_infer.models.base import Registry
from stream_infer.topology.plan import Plan

LOAD_MAX = 0.85  # of what a worker can do with the largest turns; beyond, a burst of seconds becomes a backlog of minutes
ROWS_SIMULATED = (20_000, 200_000)  # at least, at most; within these, 20 seconds of a worker
PARTITIONS_THOUGHT_OF = 4096
HELPS = {
    "read": "larger batches of the producers (their linger.ms), fewer and longer records",
    "decode": "format: avro, or a schema with fewer fields",
    "features": "fewer windows and aggregates, or smaller `hops`",
    "model": "a smaller model, or a device that computes it faster",
    "encode": "`fields` in the emit stage: only what is read; format: avro",
    "produce": "`fields` in the emit stage: shorter predictions",
    "commit": "a longer `commit_interval_ms`: the keys that changed are written once per commit",
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of the busiest of so many workers. tasks, rate: its own; ms: from a row's log time to its readable answer.

    load: share of what it can do at most. busy: share of the time that its loop is at work, more where turns are small. mean_bound_ms: what
    the mean cannot exceed by theory, where turns cost a·n + b. commit_wait_ms: the part of the mean that is spent on the commit;
    beside_ms: on what works beside the loop. beside: share of the time that all servers of each are at work; cores: with all of them.
    """

    workers: int
    tasks: int
    rate: float
    load: float
    busy: float
    rows_per_turn: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    mean_bound_ms: float
    commit_wait_ms: float
    beside_ms: float
    beside: dict[str, float]
    cores: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer. forecast: None where no number of workers will do, and `why_not` says so. us_per_row: of each part at that batch size."""

    topology: str
    rate: float
    slo_ms: float
    partitions: int
    cores: int
    forecast: Forecast | None
    why_not: str
    least_ms: float
    us_per_row: dict[str, float]
    bottleneck: str
    helps: str
    batch_rows: dict[str, int]
    left_out: tuple[str, ...]

    def json(self) -> dict[str, object]:
        """As JSON can hold it."""
        return asdict(self)


def planned(
    plan: Plan,
    registry: Registry,
    functions: Mapping[str, Function],
    bootstrap: str | None,
    *,
    rate: float,
    slo_ms: float,
    calls_ms: Mapping[str, float],
) -> Capacity:
    """Measure on this machine, and at the broker if there is one, and answer. ModelError where a model cannot be loaded.

    calls_ms: by stage, how long those outside take to answer. EnvironmentMissing for a stage that asks nobody.
    """
    asked, left_out = outside(plan, calls_ms)
    strangers = set(calls_ms) - {one.servers.name.removeprefix("stage ") for one in asked}
    if strangers:
        raise EnvironmentMissing("--call-ms names what asks nobody outside", got=", ".join(sorted(strangers)), expected="such a stage")
    models = load_models(plan, registry)
    plan = measured(plan, models, time.perf_counter)
    client = ClientCosts() if bootstrap is None else ask(plan, bootstrap)
    costs = measure(plan, models, client, stand_ins(plan, functions), rate=rate)
    costs = replace(costs, beside=(*costs.beside, *asked))
    return capacity(plan, costs, client, rate=rate, slo_ms=slo_ms, left_out=tuple(left_out))


def capacity(
    plan: Plan,
    costs: Costs,
    client: ClientCosts,
    *,
    rate: float,
    slo_ms: float,
    cores: int | None = None,
    left_out: tuple[str, ...] = (),
) -> Capacity:
    """The fewest workers whose 99th percentile stays within slo_ms, and what to expect of them. rate: rows per second."""
    partitions = min(plan.streams[section.flowing].partitions for section in answering(plan))
    least = 1e3 * (client.fetch_s + _alone(costs) + commit_s(plan, client))
    found, why_not = None, ""
    if least > slo_ms:
        why_not = _too_fast(plan, costs, client, least, slo_ms)
    else:
        found = _fewest(plan, costs, client, rate, slo_ms, partitions, partitions)
        if found is None:
            why_not = _too_few_partitions(plan, costs, client, rate, slo_ms, partitions)
    shown = found or forecast(plan, costs, client, rate=rate, workers=partitions, partitions=partitions)
    each = max(shown.rows_per_turn / shown.tasks, 1.0)
    us = {part: 1e6 * costs.seconds(each, (part,)) / each for part in PARTS}
    beside = {one.servers.name: 1e6 * one.occupies(each, shown.tasks) / (each * shown.tasks) for one in costs.beside}
    slowest = max(beside, key=beside.__getitem__, default="")
    if slowest and beside[slowest] > sum(us.values()):
        bottleneck, helps = slowest, next(one.servers.helps for one in costs.beside if one.servers.name == slowest)
    else:
        bottleneck = max(us, key=us.__getitem__)
        helps = HELPS[bottleneck]
    best = {name: model.batch.curve.best() for name, model in plan.models.items() if model.batch.curve is not None}
    stated = {name: model.batch.rows_max for name, model in plan.models.items() if model.batch.rows_max is not None}
    return Capacity(
        plan.name,
        rate,
        slo_ms,
        partitions,
        cores or os.cpu_count() or 1,
        found,
        why_not,
        least,
        us | beside,
        bottleneck,
        helps,
        best | stated,
        left_out,
    )


def commit_s(plan: Plan, client: ClientCosts) -> float:
    """How long a commit takes; without transactions it is a flush, about half of it."""
    return client.commit_s if plan.emit.guarantee == "exactly_once" else client.commit_s / 2


def turn(costs: Costs, tasks: int) -> Callable[[float], float]:
    """Seconds by rows of one turn of a worker with so many tasks: few rows are of few tasks. What is slower beside holds it up."""
    own = [part for part in PARTS if part != "commit"]

    def seconds(rows: float) -> float:
        at_once = min(float(tasks), rows)
        beside = max((one.occupies(rows / at_once, at_once) for one in costs.beside), default=0.0)
        return max(at_once * costs.seconds(rows / at_once, own), beside)

    return seconds


def _alone(costs: Costs) -> float:
    """Seconds of work for a row that finds nothing to wait for."""
    return costs.seconds(1, [part for part in PARTS if part != "commit"]) + sum(one.takes(1) for one in costs.beside)


def load(plan: Plan, costs: Costs, client: ClientCosts, rate: float, tasks: int) -> float:
    """Share of the most rows per second that a worker with so many tasks can do: in turns as large as they get, less what commits take."""
    return rate * turn(costs, tasks)(POLL_ROWS_MAX) / POLL_ROWS_MAX + _committing(plan, costs, client, rate, tasks)


def _committing(plan: Plan, costs: Costs, client: ClientCosts, rate: float, tasks: int) -> float:
    """Share of the time that writing changed state takes."""
    interval = plan.emit.commit_interval_ms / 1e3
    return tasks * costs.seconds(max(rate * interval / tasks, 1.0), ("commit",)) / (interval + commit_s(plan, client))


def forecast(plan: Plan, costs: Costs, client: ClientCosts, *, rate: float, workers: int, partitions: int) -> Forecast:
    """What the busiest of so many workers does: partitions are dealt out whole."""
    tasks = math.ceil(partitions / workers)
    mine = rate * tasks / partitions
    interval, commit = plan.emit.commit_interval_ms / 1e3, commit_s(plan, client)
    raw = turn(costs, tasks)
    spare = max(1.0 - _committing(plan, costs, client, mine, tasks), 1e-3)

    def seconds(rows: float) -> float:
        return raw(rows) / spare

    count = int(min(max(20 * mine, ROWS_SIMULATED[0]), ROWS_SIMULATED[1]))
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / mine, count))
    loop = turn(replace(costs, beside=()), tasks)
    done = simulate(arrivals, lambda rows: loop(rows) / spare, POLL_ROWS_MAX, [_beside(one, tasks) for one in costs.beside])
    busy = sum(map(loop, done.rows.tolist())) / spare / max(float(done.ends[-1] - done.starts[0]), 1e-9)
    if plan.emit.guarantee == "exactly_once":
        seen = visible_at(done.starts, done.ends, interval_s=interval, commit_s=commit, rest_s=SHARE * commit * busy)
    else:
        seen = done.ends + commit  # sent as they are there, whatever is being committed
    wait = np.repeat(seen - done.ends, done.rows)
    latency = (client.fetch_s + done.latency + wait)[count // 4 :]  # the first rows find an empty queue
    beside = np.repeat(done.ends - done.starts - [loop(rows) / spare for rows in done.rows.tolist()], done.rows)
    sizes = np.unique([float(size * count) for size in SIZES for count in (1, tasks) if size * count <= POLL_ROWS_MAX * tasks])
    bound = mean_latency_bound_of(mine, sizes, np.array([seconds(rows) for rows in sizes.tolist()]))
    bound += client.fetch_s + float(wait.mean()) + float(beside.mean())
    each = max(float(done.rows.mean()) / tasks, 1.0)
    at_work = {one.servers.name: mine * between(one.seconds, each) / each / one.servers.count for one in costs.beside}
    computing = sum(at_work[one.servers.name] * one.servers.count for one in costs.beside if one.servers.processors)
    p50, p99 = np.quantile(latency, [0.5, 0.99]).tolist()
    return Forecast(
        workers=workers,
        tasks=tasks,
        rate=mine,
        load=load(plan, costs, client, mine, tasks),
        busy=busy,
        rows_per_turn=float(done.rows.mean()),
        mean_ms=1e3 * float(latency.mean()),
        p50_ms=1e3 * p50,
        p99_ms=1e3 * p99,
        mean_bound_ms=1e3 * bound,
        commit_wait_ms=1e3 * float(wait.mean()),
        beside_ms=1e3 * float(beside.mean()),
        beside=at_work,
        cores=busy + computing,
    )


def _beside(one: Beside, tasks: int) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """For how long a turn of a worker takes such servers, and how long its rows take there."""

    def each(rows: int) -> tuple[float, float]:
        at_once = min(float(tasks), rows)
        return rows / at_once, at_once

    return lambda rows: one.occupies(*each(rows)), lambda rows: max(one.takes(each(rows)[0]), one.occupies(*each(rows)))


def _fewest(plan: Plan, costs: Costs, client: ClientCosts, rate: float, slo_ms: float, partitions: int, most: int) -> Forecast | None:
    for workers in range(1, most + 1):
        tasks = math.ceil(partitions / workers)
        if workers > 1 and tasks == math.ceil(partitions / (workers - 1)):
            continue  # the busiest has as many partitions as with one worker less
        if load(plan, costs, client, rate * tasks / partitions, tasks) > LOAD_MAX:
            continue
        found = forecast(plan, costs, client, rate=rate, workers=workers, partitions=partitions)
        if found.p99_ms <= slo_ms:
            return found
    return None


def _too_fast(plan: Plan, costs: Costs, client: ClientCosts, least_ms: float, slo_ms: float) -> str:
    parts = {"to reach us": client.fetch_s, "to be worked on": _alone(costs), "to be committed": commit_s(plan, client)}
    told = ", ".join(f"{1e3 * seconds:.1f} ms {what}" for what, seconds in parts.items())
    other = "; `guarantee: at_least_once` saves half of the commit" if plan.emit.guarantee == "exactly_once" else ""
    return (
        f"no number of workers answers within {slo_ms:g} ms: even alone, with nothing to do, a row takes {least_ms:.1f} ms ({told}){other}"
    )


def _too_few_partitions(plan: Plan, costs: Costs, client: ClientCosts, rate: float, slo_ms: float, partitions: int) -> str:
    more = partitions
    while (more := 2 * more) <= PARTITIONS_THOUGHT_OF:
        if load(plan, costs, client, rate / more, 1) > LOAD_MAX:
            continue
        if forecast(plan, costs, client, rate=rate, workers=more, partitions=more).p99_ms <= slo_ms:
            return f"{partitions} partitions are too few: each is one worker's; with {more} partitions and workers it can be done"
    return (
        f"no number of workers answers 99 of 100 rows within {slo_ms:g} ms; "
        f"answers wait up to {plan.emit.commit_interval_ms} ms for a commit: shorten `commit_interval_ms`"
    )


def words(found: Capacity) -> str:
    """The plan as text for a terminal."""
    lines = [f"{found.topology}: {found.rate:,.0f} rows/s, 99 of 100 answers within {found.slo_ms:g} ms", ""]
    best = found.forecast
    if best is None:
        lines += ["cannot be met", f"  {found.why_not}"]
    else:
        lines += [
            f"  workers            {best.workers} (of at most {found.partitions}: one per partition), {best.tasks} tasks each",
            f"  load               {100 * best.load:.0f} % of what the busiest can do, which has {best.rate:,.0f} rows/s",
            f"  processor          {100 * best.cores:.0f} % of a core each",
            f"  rows per turn      {best.rows_per_turn:,.0f} on average",
            f"  latency            mean {best.mean_ms:.1f} ms, half within {best.p50_ms:.1f}, 99 of 100 within {best.p99_ms:.1f}",
            f"  of the mean        {best.commit_wait_ms:.1f} ms wait for the commit; theory bounds it by {best.mean_bound_ms:.1f} ms",
        ]
        if best.beside:
            lines.append(f"  beside the loop    {best.beside_ms:.1f} ms of the mean; at work " + _shares(best.beside))
        if (wanted := max(best.workers, best.workers * best.cores)) > found.cores:
            lines.append(f"  machines           {math.ceil(wanted / found.cores)} like this one, which has {found.cores} cores")
    total = sum(found.us_per_row.values())
    lines += [
        "",
        "  µs per row         " + ", ".join(f"{part} {us:.2f}" for part, us in found.us_per_row.items()) + f"; together {total:.2f}",
    ]
    lines += [f"  most goes into     {found.bottleneck} ({100 * found.us_per_row[found.bottleneck] / total:.0f} %)"]
    lines += [f"  what would help    {found.helps}"]
    lines += [f"  batches            {name}: at most {rows} rows" for name, rows in found.batch_rows.items()]
    lines += [f"  left out           {line}" for line in found.left_out]
    return "\n".join(lines) + "\n"


def _shares(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.items())
