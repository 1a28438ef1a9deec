"""What tests of the core share: small topologies as text, models, and a worker with its simulated broker in hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.play import make_broker, read, send
from stream_infer.sim.reading import Read, all_of, predictions_of, rejects_of
from stream_infer.sim.scenarios import probe, schema
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan

SCHEMAS = {
    "payment": schema("Payment", payment="string", card="string", shop="string", amount="double", due_ms="long", at_ms="long"),
    "card": schema("Card", card="string", limit="int", at_ms="long"),
    "told": schema("Told", payment="string", card="string", truth="double?", at_ms="long"),
}
HEAD = """
name: pay
format: 1
limits: {limits}
streams:
  payments: {{topic: payments, schema: payment, key: card, id: payment, event_time: at_ms, partitions: {partitions}{payments}}}
  cards: {{topic: cards, schema: card, key: card, event_time: at_ms, partitions: {partitions}, compacted: true}}
  told: {{topic: told, schema: told, key: card, event_time: at_ms, partitions: {partitions}}}
  scores: {{topic: scores, partitions: {partitions}}}
"""
SPENT = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}]}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true}, total: {sum: amount}}}
  score: {kind: model, from: spent, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def plan_of(stages: str = SPENT, *, partitions: int = 1, payments: str = "", limits: str = "{wait_ms_max: 20}") -> Plan:
    """A topology over payments, cards and what was told of payments."""
    head = HEAD.format(partitions=partitions, payments=payments, limits=limits)
    used = {"payments", "scores"} | {name for name in ("cards", "told") if re.search(f": {name}[,}}\n]", stages)}
    lines = [line for line in head.splitlines() if ": {topic:" not in line or line.split(":")[0].strip() in used]
    return load("\n".join(lines) + stages, "pay.yaml", SCHEMAS.get)


def payment(
    number: int, *, card: str = "a", shop: str = "s", at_ms: int | None = None, due_ms: int = 0, amount: float | None = None
) -> dict[str, Any]:
    """Payment p{number} at second `number`."""
    at = number * 1000 if at_ms is None else at_ms
    return {
        "payment": f"p{number}",
        "card": card,
        "shop": shop,
        "amount": float(number) if amount is None else amount,
        "due_ms": due_ms,
        "at_ms": at,
    }


def models_of(plan: Plan) -> dict[str, Model]:
    """Models that answer with their inputs; learners begin with zeros."""
    return {
        name: LinearModel.zeros(m.columns(), "identity") if m.learns is not None else probe(m.columns(), name)
        for name, m in plan.models.items()
    }


class Flawed:
    """A model that answers with its inputs, unless `flaw` of the first column says: raise | nan | shape."""

    def __init__(self, columns: tuple[str, ...], flaw: Callable[[float], str]) -> None:
        self.columns, self.outputs, self.digest, self._flaw = columns, len(columns), "f" * 64, flaw
        self.asked: list[int] = []

    def forward(self, x: Matrix) -> Floats:
        self.asked.append(len(x))
        flaws = [self._flaw(float(first)) for first in x[:, 0]]
        if "raise" in flaws:
            raise ValueError(f"amount {x[flaws.index('raise'), 0]:g} is odd\nsecond line")
        out = x.astype(np.float64)
        out[[flaw == "nan" for flaw in flaws]] = np.nan
        return out[:, :0] if "shape" in flaws and len(x) == 1 else out[:-1] if "shape" in flaws else out


class Pay:
    """The topology on a simulated broker, and workers by slot. Time passes only by step()."""

    def __init__(self, plan: Plan, models: Mapping[str, Model] | None = None, *, seed: int = 0) -> None:
        self.plan, self.models = plan, dict(models or models_of(plan))
        self.broker: SimBroker = make_broker(plan, seed)
        self.zero = 0

    def send(self, stream: str, *rows: Mapping[str, Any]) -> None:
        send(self.broker, self.plan.streams[stream], rows)

    def worker(
        self, slot: str = "0", *, transport: type[SimTransport] = SimTransport, kind: type[Worker] = Worker, **settings: Any
    ) -> Worker:
        made = transport(
            self.broker, self.plan.name, f"pay.{slot}", session_timeout_ms=500, transaction_timeout_ms=5_000, **settings.pop("link", {})
        )
        rows_max = settings.pop("chunk_rows_max", None)
        worker = kind(
            self.plan,
            statics(self.plan.models, self.models),
            made,
            SimForwarder(self.models, lambda _: 0),
            lambda: self.zero + self.broker.now_ms,
            **settings,
        )
        if rows_max is not None:
            mode = Mode(settings.get("deterministic", False), worker.flow.ends() or None, rows_max)
            worker.flow = Flow(self.plan, statics(self.plan.models, self.models), mode)
        worker.start()
        return worker

    def step(self, *workers: Worker, times: int = 10, ms: int = 10) -> None:
        for _ in range(times):
            for worker in workers:
                worker.step(0)
            self.broker.advance(ms)

    def settle(self, *workers: Worker, done: Callable[[], bool] | None = None) -> None:
        """Until it is done (deterministic: finished), within reason."""
        for _ in range(2000):
            self.step(*workers, times=1)
            if done() if done is not None else all(worker.finished() for worker in workers):
                return
        raise AssertionError("it was never done")

    def predictions(self) -> list[Read]:
        return all_of(self.broker, predictions_of(self.plan))

    def rejects(self) -> list[Read]:
        return all_of(self.broker, rejects_of(self.plan))

    def ids(self) -> list[str]:
        return [str(read.row["prediction_id"]) for read in self.predictions()]

    def reasons(self) -> list[tuple[int, str]]:
        return [(int(str(read.row["source_offset"])), str(read.row["reason"])) for read in self.rejects()]

    def outputs(self) -> dict[str, list[float]]:
        return {str(read.row["prediction_id"]): read.row["outputs"] for read in self.predictions()}  # type: ignore[misc]

    def values(self, stream: str) -> Sequence[dict[str, object]]:
        return read(self.broker, self.plan.streams[stream])


def explained(pay: Pay) -> dict[str, dict[str, Any]]:
    """Prediction id → its explanation in the stream `why`."""
    rows = pay.values("why")
    found = {str(row["prediction_id"]): row for row in rows}
    assert len(found) == len(rows), "an answer was explained twice"
    return found


def one_at_fault(pay: Pay, rows: Sequence[dict[str, Any]], fault: str) -> dict[str, dict[str, Any]]:
    """The explanations of these payments, all but one of which must be whole: that of the payment of 13 says why there is none."""
    pay.send("payments", *rows)
    worker = pay.worker(deterministic=True)
    pay.settle(worker)
    found = explained(pay)
    assert len(pay.ids()) == len(found) == len(rows)
    assert [name for name, row in found.items() if row["fault"] is not None] == ["p13"]
    bad = found["p13"]
    assert bad["fault"] == fault
    assert (bad["value"], bad["baseline"], bad["error"], bad["rest"]) == (None, None, None, None)
    assert (bad["inputs"], bad["values"], bad["attributions"]) == ("[]", [], [])
    assert worker.stats.explanations == {("reasons", "explained"): len(rows) - 1, ("reasons", "failed"): 1}
    return found
