"""edge.beside: what works beside a worker's loop: models' lanes, functions' workers, whoever is asked outside. plan → *beside* → costing.

Each is a number of servers that share what one task asks at once. How long somebody outside takes to answer cannot be measured by asking
him for made-up rows: it is told, or left out, which is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stream_infer.batching.curve import ROWS_MAX, CostCurve
from stream_infer.decide.graph import Graph
from stream_infer.edge.call_functions import PART_ROWS_MIN
from stream_infer.edge.call_setup import calling_steps, function_settings, redis_steps
from stream_infer.edge.lanes import lanes_of
from stream_infer.flow.task import CHUNKS_MAX
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.topology.plan import DecideStep, Plan

SIZES = (1, 8, 64, 512, 4096)  # rows at once


@dataclass(frozen=True, slots=True)
class Servers:
    """So many servers. part_rows: rows of one task are shared out in parts of this size; processors: whether they compute here."""

    name: str
    count: int
    part_rows: int
    processors: bool = True
    helps: str = "more `workers`, a smaller model, or a device that computes it faster"


@dataclass(frozen=True, slots=True)
class Beside:
    """seconds: what rows of one task take one server, all parts one after the other."""

    servers: Servers
    seconds: CostCurve

    def takes(self, rows: float) -> float:
        """Seconds until so many rows of one task, asked at once, are answered, where nobody else asks."""
        parts = math.ceil(max(rows, 1) / self.servers.part_rows)
        return between(self.seconds, rows) / parts * math.ceil(parts / self.servers.count)

    def occupies(self, rows: float, tasks: float) -> float:
        """Seconds until the servers have done what so many tasks ask in a turn, of `rows` each; a task may ask ahead for one chunk."""
        parts = CHUNKS_MAX * max(tasks, 1.0) * math.ceil(max(rows, 1) / self.servers.part_rows)
        return tasks * between(self.seconds, rows) / min(float(self.servers.count), parts)


def between(curve: CostCurve, rows: float) -> float:
    """Of so many rows, between whole numbers too."""
    low = max(int(rows), 1)
    return curve.estimate(low) + (rows - low) * (curve.estimate(low + 1) - curve.estimate(low)) if rows > low else curve.estimate(low)


def lanes(plan: Plan, models: Mapping[str, Model]) -> dict[str, Servers]:
    """By model that answers: who runs its passes, where that is not the loop itself."""
    steps = [step for section in plan.sections for step in section.steps if isinstance(step, DecideStep)]
    asked = {name for step in steps for name in Graph.of(step.arms, plan.models, plan.composed).leaves}
    others = {name: plan.models[name] for name in sorted(asked) if not isinstance(models[name], LinearModel)}
    groups: dict[str, list[tuple[str, ...]]] = {}
    for lane in lanes_of(others):
        groups.setdefault(lane.name.rpartition("-")[0], []).append(lane.models)
    found: dict[str, Servers] = {}
    for served in groups.values():
        names = served[0]  # the first lane of a group serves all of its models
        most = [plan.models[name].batch for name in names]
        rows = [batch.rows_max or (batch.curve.best() if batch.curve is not None else ROWS_MAX) for batch in most]
        one = Servers(f"model{'s' if len(names) > 1 else ''} {', '.join(names)}", len(served), min(rows))
        found |= dict.fromkeys(names, one)
    return found


def workers_of_functions(plan: Plan) -> dict[str, Servers]:
    """By stage: the workers of its function, where it has some."""
    settings = {step.name: function_settings(step) for step in calling_steps(plan)}
    return {
        name: Servers(f"stage {name}", one.workers, PART_ROWS_MIN, helps="more `workers` of the stage, as processes")
        for name, one in settings.items()
        if one.workers and one.outside is None
    }


def outside(plan: Plan, told_ms: Mapping[str, float]) -> tuple[list[Beside], list[str]]:
    """Those who are asked outside, as far as it is told how long they take (ms by stage), and what is left out, in words."""
    found, left_out = [], []
    asked = {step.name: function_settings(step) for step in calling_steps(plan)}
    kinds = {name: (one.outside.concurrency_max, one.per == "row") for name, one in asked.items() if one.outside is not None}
    kinds |= {step.name: (1, False) for step, _ in redis_steps(plan)}  # one round trip for a chunk
    for name, (at_once, by_row) in kinds.items():
        if name not in told_ms:
            left_out.append(f"stage {name} asks outside, and how long an answer takes is left out: add --call-ms {name}=MS")
            continue
        seconds = told_ms[name] / 1e3
        curve = CostCurve(SIZES, tuple(seconds * (rows if by_row else 1) for rows in SIZES))
        helps = "a larger `concurrency_max`, `per: batch`, or answers that come sooner"
        found.append(Beside(Servers(f"stage {name}", at_once, 1 if by_row else ROWS_MAX, False, helps), curve))
    for name, one in asked.items():
        if one.workers > 1 and one.outside is None and one.workers_are == "threads":
            left_out.append(f"stage {name}: its {one.workers} threads are taken to work at once, which Python code does only in processes")
    return found, left_out
