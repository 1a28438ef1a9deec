"""edge.planning: how many workers a rate of rows needs, and what limits them. forecasting → *planning* → cli."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from stream_infer.batching.arrivals import Producers
from stream_infer.edge.beside import outside
from stream_infer.edge.call_setup import stand_ins
from stream_infer.edge.costing import PARTS, ClientCosts, Costs, answering, measure
from stream_infer.edge.costing_client import ask
from stream_infer.edge.forecasting import Forecast, alone_s, commit_s, forecast, load
from stream_infer.edge.measuring import measured
from stream_infer.edge.workers import load_models
from stream_infer.errors import EnvironmentMissing
from stream_infer.functions import Function
from stream_infer.models.base import Registry
from stream_infer.topology.plan import Plan

LOAD_MAX = 0.85  # of what a worker can do with the largest turns; beyond, a burst of seconds becomes a backlog of minutes
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
    producers: Producers,
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
    return capacity(plan, costs, client, producers, rate=rate, slo_ms=slo_ms, left_out=tuple(left_out))


def capacity(
    plan: Plan,
    costs: Costs,
    client: ClientCosts,
    producers: Producers,
    *,
    rate: float,
    slo_ms: float,
    cores: int | None = None,
    left_out: tuple[str, ...] = (),
) -> Capacity:
    """The fewest workers whose 99th percentile stays within slo_ms, and what to expect of them. rate: rows per second."""
    partitions = min(plan.streams[section.flowing].partitions for section in answering(plan))
    parts = _least(costs, client, producers)
    least = 1e3 * sum(parts.values())
    found, why_not = None, ""
    if least > slo_ms:
        why_not = _too_fast(plan, parts, slo_ms)
    else:
        found = _fewest(plan, costs, client, producers, rate, slo_ms, partitions)
        if found is None:
            why_not = _too_few_partitions(plan, costs, client, producers, rate, slo_ms, partitions)
    shown = found or forecast(plan, costs, client, producers, rate=rate, workers=partitions, partitions=partitions)
    each = max(shown.rows_per_turn / shown.tasks_per_turn, 1.0)
    us = {part: 1e6 * costs.seconds(each, (part,)) / each for part in PARTS}
    beside = {one.servers.name: 1e6 * one.occupies(each, shown.tasks_per_turn) / (each * shown.tasks_per_turn) for one in costs.beside}
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


def _fewest(
    plan: Plan, costs: Costs, client: ClientCosts, producers: Producers, rate: float, slo_ms: float, partitions: int
) -> Forecast | None:
    for workers in range(1, partitions + 1):
        tasks = math.ceil(partitions / workers)
        if workers > 1 and tasks == math.ceil(partitions / (workers - 1)):
            continue  # the busiest has as many partitions as with one worker less
        if load(plan, costs, client, rate * tasks / partitions, tasks) > LOAD_MAX:
            continue
        found = forecast(plan, costs, client, producers, rate=rate, workers=workers, partitions=partitions)
        if found.p99_ms <= slo_ms:
            return found
    return None


def _least(costs: Costs, client: ClientCosts, producers: Producers) -> dict[str, float]:
    """Seconds by what a row goes through that comes alone and finds nothing to wait for."""
    return {
        "to be sent": producers.linger_s,
        "to reach us": client.fetch_s,
        "to be worked on": alone_s(costs),
        "to be committed": commit_s(client, 1),
    }


def _too_fast(plan: Plan, parts: Mapping[str, float], slo_ms: float) -> str:
    least_ms = 1e3 * sum(parts.values())
    told = ", ".join(f"{1e3 * seconds:.1f} ms {what}" for what, seconds in parts.items())
    other = "; `guarantee: at_least_once` takes about half as long to commit" if plan.emit.guarantee == "exactly_once" else ""
    return (
        f"no number of workers answers within {slo_ms:g} ms: even alone, with nothing to do, a row takes {least_ms:.1f} ms ({told}){other}"
    )


def _too_few_partitions(
    plan: Plan, costs: Costs, client: ClientCosts, producers: Producers, rate: float, slo_ms: float, partitions: int
) -> str:
    more = partitions
    while (more := 2 * more) <= PARTITIONS_THOUGHT_OF:
        if load(plan, costs, client, rate / more, 1) > LOAD_MAX:
            continue
        if forecast(plan, costs, client, producers, rate=rate, workers=more, partitions=more).p99_ms <= slo_ms:
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
            f"  of the mean        {best.gathered_ms:.1f} ms with the producer, {best.commit_wait_ms:.1f} ms until the commit",
            f"  bound of the mean  {best.mean_bound_ms:.1f} ms by theory",
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
