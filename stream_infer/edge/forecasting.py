"""edge.forecasting: how busy a worker is at a rate of rows, and how late its answers are. costing, batching → *forecasting* → planning.

A worker takes whatever waits, works it through and sends it; the more waits, the less each row costs. That is a queue with batch
service, so what is measured of a turn tells mean and tail of the latency at any load: the mean is bounded by a closed form, both are
simulated with the measured curve and rows made at random (Poisson) that producers gather. The wait for the commit comes on top, for
readers see no answer earlier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_infer.batching.arrivals import Producers, drawn
from stream_infer.batching.queueing import Cost, mean_latency_bound_of, simulate, visible_at
from stream_infer.edge.beside import SIZES, Beside, between
from stream_infer.edge.costing import PARTS, ClientCosts, Costs
from stream_infer.flow.committing import SHARE
from stream_infer.flow.read_size import POLL_ROWS_MAX
from stream_infer.topology.plan import Plan

ROWS_SIMULATED = (20_000, 200_000)  # at least, at most; within these, 20 seconds of a worker
PARTITIONS_A_TASK = 3  # that a commit writes to: answers, where the rows were cut, and changed state
OF_A_TURN = [part for part in PARTS if part != "commit"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of the busiest of so many workers. tasks, rate: its own; ms: from a row's log time to its readable answer.

    load: share of what it can do at most. busy: share of the time that its loop is at work, more where turns are small. mean_bound_ms: what
    the mean would not exceed by theory if turns cost a·n + b, and batches of the mean size were sent at random. Parts of the mean:
    gathered_ms at the producer, commit_wait_ms for the commit, beside_ms on what works beside the loop. beside: share of the time that all
    servers of each are at work; cores: with all of them.
    """

    workers: int
    tasks: int
    rate: float
    load: float
    busy: float
    rows_per_turn: float
    tasks_per_turn: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    mean_bound_ms: float
    gathered_ms: float
    commit_wait_ms: float
    beside_ms: float
    beside: dict[str, float]
    cores: float


def forecast(
    plan: Plan, costs: Costs, client: ClientCosts, producers: Producers, *, rate: float, workers: int, partitions: int
) -> Forecast:
    """What the busiest of so many workers does: partitions are dealt out whole."""
    tasks = math.ceil(partitions / workers)
    mine = rate * tasks / partitions
    interval = plan.emit.commit_interval_ms / 1e3
    spare = max(1.0 - _committing(plan, costs, client, mine, tasks), 1e-3)

    def loop(rows: float, at_once: float) -> float:
        return _loop(costs, rows, at_once) / spare

    count = int(min(max(20 * mine, ROWS_SIMULATED[0]), ROWS_SIMULATED[1]))
    rows = drawn(mine, count, tasks, producers)
    done = simulate(rows.sent, loop, POLL_ROWS_MAX, [_beside(one) for one in costs.beside], tasks=rows.tasks)
    at_loop = np.array([loop(*size) for size in zip(done.rows.tolist(), done.tasks.tolist(), strict=True)])
    busy = float(at_loop.sum()) / max(float(done.ends[-1] - done.starts[0]), 1e-9)
    commit = commit_s(client, float(done.tasks.mean()))  # with little to do each turn is committed; else turns are of all tasks
    if plan.emit.guarantee == "exactly_once":
        seen = visible_at(done.starts, done.ends, interval_s=interval, commit_s=commit, rest_s=SHARE * commit * busy)
    else:
        seen = done.ends + commit  # sent as they are there, whatever is being committed
    wait, beside = np.repeat(seen - done.ends, done.rows), np.repeat(done.ends - done.starts - at_loop, done.rows)
    at_producer = rows.sent - rows.made
    latency = (at_producer + client.fetch_s + done.latency + wait)[count // 4 :]  # the first rows find an empty queue
    bound = _mean_bound_s(costs, mine, tasks, count / rows.batches, spare)
    bound += client.fetch_s + sum(float(part.mean()) for part in (at_producer, wait, beside))
    each = max(float((done.rows / done.tasks).mean()), 1.0)
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
        tasks_per_turn=float(done.tasks.mean()),
        mean_ms=1e3 * float(latency.mean()),
        p50_ms=1e3 * p50,
        p99_ms=1e3 * p99,
        mean_bound_ms=1e3 * bound,
        gathered_ms=1e3 * float(at_producer.mean()),
        commit_wait_ms=1e3 * float(wait.mean()),
        beside_ms=1e3 * float(beside.mean()),
        beside=at_work,
        cores=busy + computing,
    )


def load(plan: Plan, costs: Costs, client: ClientCosts, rate: float, tasks: int) -> float:
    """Share of the most rows per second that a worker with so many tasks can do: in turns as large as they get, less what commits take."""
    return rate * turn(costs, POLL_ROWS_MAX, tasks) / POLL_ROWS_MAX + _committing(plan, costs, client, rate, tasks)


def turn(costs: Costs, rows: float, tasks: float) -> float:
    """Seconds of one turn with so many rows of so many tasks, of fewer where rows are. What is slower beside holds it up."""
    at_once = min(float(tasks), rows)
    beside = max((one.occupies(rows / at_once, at_once) for one in costs.beside), default=0.0)
    return max(_loop(costs, rows, at_once), beside)


def alone_s(costs: Costs) -> float:
    """Seconds of work for a row that finds nothing to wait for."""
    return _loop(costs, 1, 1) + sum(one.takes(1) for one in costs.beside)


def commit_s(client: ClientCosts, tasks: float) -> float:
    """How long a commit takes, of what so many tasks wrote."""
    return client.commit_s + (PARTITIONS_A_TASK * tasks - 1) * client.commit_partition_s


def _loop(costs: Costs, rows: float, at_once: float) -> float:
    return at_once * costs.seconds(rows / at_once, OF_A_TURN)


def _committing(plan: Plan, costs: Costs, client: ClientCosts, rate: float, tasks: int) -> float:
    """Share of the time that writing changed state takes."""
    interval = plan.emit.commit_interval_ms / 1e3
    return tasks * costs.seconds(max(rate * interval / tasks, 1.0), ("commit",)) / (interval + commit_s(client, tasks))


def _mean_bound_s(costs: Costs, rate: float, tasks: int, batch_rows: float, spare: float) -> float:
    """Of a queue of batches, of one task each, for as many as are worked on in one turn."""
    counts = np.unique([float(size * count) for size in SIZES for count in (1, tasks) if size * count <= POLL_ROWS_MAX * tasks])
    seconds = np.array([turn(costs, count * batch_rows, min(count, float(tasks))) / spare for count in counts.tolist()])
    return mean_latency_bound_of(rate / batch_rows, counts, seconds)


def _beside(one: Beside) -> tuple[Cost, Cost]:
    """For how long a turn of a worker takes such servers, and how long its rows take there."""

    def occupies(rows: int, tasks: int) -> float:
        return one.occupies(rows / tasks, tasks)

    return occupies, lambda rows, tasks: max(one.takes(rows / tasks), occupies(rows, tasks))
