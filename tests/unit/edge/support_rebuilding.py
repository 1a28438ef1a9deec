"""What tests of predictions that are made again share: a live run in which all is chance, and a net whose last bits hang on its passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream_infer.edge.enduring import Known
from stream_infer.edge.one_pass import nowhere, run_next
from stream_infer.edge.passes import Answer, PassQueue
from stream_infer.edge.rebuilding import Rebuilt, Sought, rebuild
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix
from stream_infer.sim.transport import SimTransport
from tests.support_flow import Pay, models_of, payment, plan_of

STAGES = """
models:
  net: {kind: torch, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, limit]}
  plain: {kind: linear, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}]}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true}, total: {sum: amount}}}
  known: {kind: lookup, from: spent, table: cards, key: card, take: {limit: -1}}
  score: {kind: bandit, from: known, arms: [net, plain], policy: {epsilon_greedy: {epsilon: 0.5}}}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
HELD = ", decide_at: {field: due_ms}"


@dataclass
class Net:
    """Two layers in float32, whose last bits hang on the number of rows of the pass."""

    columns: tuple[str, ...]
    outputs: int = 1
    digest: str = "a" * 64
    weights: list[Matrix] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(5)
        shapes = [(len(self.columns), 64), (64, 64), (64, 1)]
        self.weights = [draw.normal(size=shape).astype(np.float32) for shape in shapes]

    def forward(self, x: Matrix) -> Floats:
        for weights in self.weights:
            x = np.tanh(x @ weights)
        return x.astype(np.float64)


class Shared:
    """A forwarder whose passes hold rows of several tasks, as many as chance lets come together."""

    def __init__(self, models: Mapping[str, Model], draw: np.random.Generator) -> None:
        self._models, self._queue, self._draw = models, PassQueue(), draw
        self._learned: dict[tuple[str, int], Model] = {}
        self._known = Known()

    def install(self, command: Install) -> None:
        self._learned[command.model, command.version] = LinearModel.from_bytes(command.payload)

    def submit(self, command: Forward) -> None:
        model = self._models[command.model] if command.version == 0 else self._learned[command.model, command.version]
        self._queue.put(command, model, nowhere)

    def finished(self, wait_ms: int) -> list[Answer]:
        return run_next(self._queue, self._known) if self._draw.random() < 0.4 or wait_ms else []


@dataclass
class Live:
    """A live run: what is sent when, how chunks are cut and when the worker dies are all chance."""

    pay: Pay
    draw: np.random.Generator
    slots: int = 0
    deadline: bool = False
    link: dict[str, Any] = field(default_factory=dict)

    def worker(self) -> Worker:
        rows, begun = int(self.draw.integers(3, 9)), self.pay.broker.now_ms
        # Event time is told to pass ten times as fast as the world's, so that some rows are late and others are not.
        wall = (lambda: 1_000_000 + 10 * (self.pay.broker.now_ms - begun)) if self.deadline else None
        worker = self.pay.worker(str(self.slots), chunk_rows_max=rows, wall=wall, link=self.link)
        worker._forwarder = Shared(self.pay.models, self.draw)  # type: ignore[assignment]
        self.slots += 1
        return worker

    def run(self, events: int, *, deaths: int = 0) -> None:
        worker, number, late = self.worker(), 0, self.draw.integers(0, 4000, size=events)
        die = set(self.draw.choice(np.arange(1, events), size=deaths, replace=False).tolist())
        while number < events:
            for _ in range(int(self.draw.integers(1, 5))):
                card, at = f"c{self.draw.integers(6)}", 1_000_000 + number * 1000 - int(late[number % events])
                due = at + int(self.draw.integers(0, 9000))
                self.pay.send("payments", payment(number, card=card, shop=f"s{number % 3}", at_ms=at, due_ms=due))
                if self.draw.random() < 0.4:
                    self.pay.send("cards", {"card": card, "limit": int(self.draw.integers(99)), "at_ms": at + 500})
                number += 1
                if number in die:
                    assert isinstance(worker.transport, SimTransport)
                    worker.transport.crash()
                    self.pay.step(times=70)
                    worker = self.worker()
            self.pay.step(worker, times=int(self.draw.integers(1, 4)))
        self.pay.send("payments", *(payment(events + 10 + n, card=f"c{n}", at_ms=2_000_000_000, due_ms=2_000_000_000) for n in range(6)))
        self.pay.settle(worker, done=lambda: worker.stats.rows_answered > 0 and worker.settled() and not worker.flow.ready()
                        and len(self.pay.ids()) + len(self.pay.reasons()) >= events)
        worker.close()

    def rebuilt(self, id_: str, models: Mapping[str, Model] | None = None, **more: Any) -> Rebuilt:
        logs = SimTransport(self.pay.broker, "someone", "someone", guarantee="at_least_once")
        return rebuild(self.pay.plan, logs, models or self.pay.models, Sought(id_, **more))


def live(seed: int, *, stages: str = STAGES, payments: str = "") -> Live:
    plan = plan_of(stages, partitions=2, payments=payments)
    models: dict[str, Model] = {**models_of(plan)}
    models |= {name: Net(settings.columns()) for name, settings in plan.models.items() if settings.kind == "torch"}
    return Live(Pay(plan, models, seed=seed), np.random.default_rng(seed))


def sample(run: Live, count: int) -> Sequence[str]:
    ids = run.pay.ids()
    assert len(ids) == len(set(ids))
    return [ids[at] for at in np.linspace(0, len(ids) - 1, count).astype(int).tolist()]
