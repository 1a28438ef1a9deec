"""What tests of workers and their rivals share: calls with something to happen before them, what each payment is answered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Snapshot
from stream_infer.flow.transport import Outcome, Partition
from stream_infer.flow.worker import Worker
from stream_infer.records import Fetched
from stream_infer.sim.transport import SimTransport
from tests.support_flow import Pay


class Hooked(SimTransport):
    """A transport with something to happen before its n-th call of one kind. calls: counted by name."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.hook: Callable[[str], None] = lambda _: None

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self.hook("end_offsets")
        return super().end_offsets(partitions)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        self.hook("committed")
        return super().committed(partitions)

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        self.hook("read")
        return super().read(partition, offset)

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        self.hook("commit")
        return super().commit(offsets)


class Memory:
    """Snapshots of one host."""

    def __init__(self) -> None:
        self.kept: dict[TaskId, tuple[Snapshot, int]] = {}

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        found = self.kept.get(task)
        return found if found is not None and found[1] <= changelog_end else None

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        self.kept[task] = ({store: {n: a.copy() for n, a in arrays.items()} for store, arrays in snapshot.items()}, changelog_end)


def link(worker: Worker) -> Hooked:
    assert isinstance(worker.transport, Hooked)
    return worker.transport


def spent(*numbers: int) -> dict[str, list[float]]:
    """What each payment of one card is answered with: its amount, how many came before, their sum."""
    return {f"p{n}": [float(n), float(i), float(sum(numbers[:i]))] for i, n in enumerate(numbers)}


def seen(pay: Pay) -> dict[str, list[float]]:
    assert len(set(pay.ids())) == len(pay.ids()), "a payment was answered more than once"
    return {key: outputs[:3] for key, outputs in pay.outputs().items()}


def stalled(pay: Pay, worker: Worker, others: Sequence[Worker], ms: int = 700) -> None:
    """The worker stands still past its session; the others go on."""
    link(worker).stall()
    pay.step(*others, times=ms // 10)
    link(worker).wake()


LEARNS = """
models:
  near: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  online: {kind: linear, learns: {by: sgd, rate: 0.01}, inputs: [amount]}
stages:
  score: {kind: bandit, from: payments, arms: [near, online], policy: {maillard: {}}}
  outcome:
    kind: feedback
    predictions: score
    feedback: told
    on: payment
    label: truth
    wait_s_max: 3
    reward: {closeness: {scale: 9}}
    absent: 1
  teach: {kind: learn, from: outcome, every_s: 2}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
