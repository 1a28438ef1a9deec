"""Published versions in a running task. Oracle: which version's digest each answer names, offset by offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from stream_infer.errors import ModelError
from stream_infer.flow.commands import Install
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.manifest import Manifest
from stream_infer.models.rollout import FAILED, IN_EFFECT, PIN, PROMOTE, PUBLISH, ROLLBACK, Change, Told, read_record
from stream_infer.sim.forwarding import SimForwarder
from tests.support_flow import Pay, payment, plan_of

SWAPS = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount], versions_kept: 1}
stages:
  score: {kind: model, from: payments, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def sha(version: int) -> str:
    return f"{version:064x}"


def change(number: int, what: str, version: int, *, at_ms: int = 0) -> Change:
    manifest = Manifest("probe", version, f"{version}", sha(version), "linear") if version else None
    return Change("probe", number, what, version, "ann", "why", at_ms, f"w{number}", manifest)


class Swaps(Pay):
    """broken: versions that cannot be installed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(plan_of(SWAPS, **settings))
        self.broken: set[int] = set()
        self.loaded: list[int] = []
        self.number = 0

    def started(self, slot: str = "0", draw: Callable[[int], int] = lambda _: 0, **settings: Any) -> Worker:
        worker = self.worker(slot, **settings)
        worker._forwarder = self.forwarder = SimForwarder(self.models, draw, self.load)
        return worker

    def load(self, command: Install) -> Model:
        self.loaded.append(command.version)
        if command.version in self.broken:
            raise ModelError(f"probe v{command.version}: broken")
        return LinearModel(np.full((1, 1), float(command.version)), np.zeros(1), np.zeros(1), np.ones(1), "identity", ("amount",))

    def say(self, what: str, version: int, *, number: int | None = None, at_ms: int = 0) -> None:
        self.number += 1
        said = change(self.number if number is None else number, what, version, at_ms=at_ms)
        self.broker.append(self.plan.changes_topic, [b"probe"], [said.to_bytes()])

    def pay(self, *numbers: int, **more: Any) -> None:
        self.send("payments", *(payment(number, **more) for number in numbers))

    def by(self) -> list[int]:
        """Which version answered, payment by payment; the label and the answer agree."""
        found = []
        for row in sorted((read.row for read in self.predictions()), key=lambda row: int(str(row["prediction_id"])[1:])):
            label = str(row["model_version"])
            version = int(label[1:].split("-")[0]) if label.startswith("v") else 0
            assert not version or label == f"v{version}-{sha(version)[:12]}"
            answer = row["answer"]
            assert isinstance(answer, float)
            assert answer == float(str(row["prediction_id"])[1:]) * (version or 1)
            found.append(version)
        return found

    def told(self) -> list[tuple[str, int, int, int]]:
        """(what, version, partition, offset)."""
        records = [read_record(v) for fetched in self.broker.dump(self.plan.changes_topic) for v in fetched.values.raw() if v is not None]
        return [(r.what, r.version, r.partition, r.offset) for r in records if isinstance(r, Told)]


def test_nothing_is_read_for_it_where_no_model_has_versions() -> None:
    plan = plan_of(SWAPS.replace(", versions_kept: 1", ""))
    assert plan.changes_topic == ""
    assert [i.stream for i in plan.sections[0].inputs] == ["payments"]
    assert [topic for topic, _, _ in plan.topics if "changes" in topic] == []


def test_the_old_version_answers_until_the_new_one_is_there() -> None:
    pay = Swaps()
    worker = pay.started(draw=lambda n: n - 1)  # nothing is installed
    pay.pay(1, 2)
    pay.step(worker)
    pay.say(PUBLISH, 1)
    pay.say(PROMOTE, 1)
    pay.step(worker)
    pay.pay(3, 4)
    pay.step(worker)
    assert pay.by() == [0, 0, 0, 0]
    assert pay.told() == []
    pay.forwarder._draw = lambda _: 0
    pay.step(worker)
    pay.pay(5)
    pay.step(worker)
    assert pay.by() == [0, 0, 0, 0, 1]
    assert pay.told() == [(IN_EFFECT, 1, 0, 4)]
    assert worker.stats.in_effect == {"probe": {0: 1}}


def test_a_version_that_cannot_be_installed_never_answers_and_is_told() -> None:
    pay = Swaps()
    worker = pay.started()
    pay.broken = {2}
    for version in (1, 2):
        pay.say(PROMOTE, version)
        pay.step(worker)
        pay.pay(version)
        pay.step(worker)
    assert pay.by() == [1, 1]
    assert pay.told() == [(IN_EFFECT, 1, 0, 0), (FAILED, 2, 0, 1)]
    assert worker.stats.install_failures == {"probe": 1}
    assert worker.stats.install_failed_last == {"probe": "probe v2: broken"}


def test_a_rollback_needs_no_loading_and_memory_is_bounded() -> None:
    pay = Swaps()
    worker = pay.started()
    for number, (what, version) in enumerate([(PROMOTE, 1), (PROMOTE, 2), (ROLLBACK, 1), (PROMOTE, 3), (ROLLBACK, 0), (PIN, 3)]):
        pay.say(what, version)
        pay.step(worker)
        pay.pay(number)
        pay.step(worker)
        assert len(pay.forwarder._published) <= 3
    assert pay.by() == [1, 2, 1, 3, 0, 3]
    assert pay.loaded == [1, 2, 3]


def test_of_two_changes_written_at_once_the_first_holds() -> None:
    pay = Swaps()
    worker = pay.started()
    pay.say(PROMOTE, 1)
    pay.say(PROMOTE, 2, number=1)
    pay.say(PROMOTE, 3, number=3)
    pay.step(worker)
    pay.pay(1)
    pay.step(worker)
    assert pay.by() == [1]


def test_a_restart_answers_nothing_before_the_version_in_effect_is_there_again() -> None:
    pay = Swaps()
    worker = pay.started()
    pay.say(PROMOTE, 1)
    pay.step(worker)
    pay.pay(1)
    pay.step(worker)
    worker.close()
    worker = pay.started(draw=lambda n: n - 1)
    pay.pay(2)
    pay.step(worker, times=30)
    assert pay.by() == [1], "and v0 answers nothing meanwhile"
    pay.forwarder._draw = lambda _: 0
    pay.step(worker)
    assert pay.by() == [1, 1]


def test_a_version_that_is_gone_at_a_restart_gives_way_to_the_one_before() -> None:
    pay = Swaps()
    worker = pay.started()
    for version in (1, 2):
        pay.say(PROMOTE, version)
        pay.step(worker)
    pay.pay(1)
    pay.step(worker)
    worker.close()
    pay.broken = {2}
    worker = pay.started()
    pay.step(worker)
    pay.pay(2)
    pay.step(worker)
    assert pay.by() == [2, 1]
    assert pay.told()[-2:] == [(FAILED, 2, 0, 1), (IN_EFFECT, 1, 0, 1)]


def deterministic(seed: int, chunk: int) -> Iterator[Any]:
    pay = Swaps(partitions=2)
    pay.broken = {2}
    pay.send("payments", *(payment(n, card="abc"[n % 3]) for n in range(60)))
    for version, at_s in ((1, 10), (2, 20), (3, 30), (1, 45)):
        pay.say(PROMOTE, version, at_ms=at_s * 1000)
    draw = np.random.default_rng(seed)
    worker = pay.started(draw=lambda n: int(draw.integers(n)), deterministic=True, chunk_rows_max=chunk)
    pay.settle(worker)
    worker.close()
    yield pay


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_deterministic_run_flips_by_event_time_however_long_loading_takes(seed: int, chunk: int) -> None:
    (pay,) = deterministic(seed, chunk)
    # A version takes effect at its time: rows of that very time come before it, for the flowing stream has the lower rank.
    assert pay.by() == [0 if n <= 10 else 1 if n <= 30 else 3 if n <= 45 else 1 for n in range(60)]
    again = next(deterministic(seed + 7, chunk))
    assert [read.value for read in again.predictions()] == [read.value for read in pay.predictions()]
