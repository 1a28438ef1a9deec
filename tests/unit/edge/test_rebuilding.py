"""Predictions are made again from the logs. Oracle: the records that a live run wrote, byte for byte, whatever cut its chunks."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.edge.enduring import Known
from stream_infer.edge.one_pass import nowhere, run_next
from stream_infer.edge.passes import Answer, PassQueue
from stream_infer.edge.rebuilding import Rebuilt, Sought, rebuild
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.rows import Intake
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.manifest import Manifest
from stream_infer.models.rollout import PROMOTE, PUBLISH, SHARE, Change
from stream_infer.records import Column, Floats, Lists, Matrix, Numbers, Text
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.log import fetched
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import StreamPlan
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
                        and len(self.pay.ids()) >= events)
        worker.close()

    def rebuilt(self, id_: str, models: Mapping[str, Model] | None = None, **more: Any) -> Rebuilt:
        logs = SimTransport(self.pay.broker, "someone", "someone", guarantee="at_least_once")
        return rebuild(self.pay.plan, logs, models or self.pay.models, Sought(id_, **more))


def live(seed: int, *, stages: str = STAGES, payments: str = "") -> Live:
    plan = plan_of(stages, partitions=2, payments=payments)
    models: dict[str, Model] = {**models_of(plan)}
    if "net" in plan.models:
        models["net"] = Net(plan.models["net"].columns())
    return Live(Pay(plan, models, seed=seed), np.random.default_rng(seed))


def sample(run: Live, count: int) -> Sequence[str]:
    ids = run.pay.ids()
    assert len(ids) == len(set(ids))
    return [ids[at] for at in np.linspace(0, len(ids) - 1, count).astype(int).tolist()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("payments", ["", HELD])
def test_a_prediction_of_a_live_run_is_made_again_to_the_bit(seed: int, payments: str) -> None:
    run = live(seed, payments=payments)
    run.run(60, deaths=2)
    for id_ in sample(run, 12):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason, found.fault)
        assert found.whole
        assert found.row is not None
        arm = str(found.row["arm"])
        assert set(found.features[arm]) == set(run.pay.plan.models[arm].columns())


BATCHES = {
    "sizes": "batch: {sizes: [4, 16]}",
    "buckets": "batch: {rows_max: 3, cost: amount, cost_max: 500, buckets: [20, 40]}",
    "cost": "batch: {cost: amount, cost_max: 60}",
}


@pytest.mark.parametrize("kind", BATCHES)
def test_passes_of_fixed_sizes_of_cost_and_of_buckets_are_made_again(kind: str) -> None:
    run = live(11, stages=STAGES.replace(", limit]}", f", limit], {BATCHES[kind]}}}"))
    run.run(60, deaths=1)
    for id_ in sample(run, 10):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


def test_rows_that_came_too_late_are_answered_by_the_fallback_again() -> None:
    bandit = "kind: bandit, from: known, arms: [net, plain], policy: {epsilon_greedy: {epsilon: 0.5}}"
    assert bandit in STAGES
    run = live(12, stages=STAGES.replace(bandit, "kind: model, from: known, model: net, deadline_ms: 700, late: fallback, fallback: plain"))
    run.deadline = True
    run.run(60)
    arms = {str(read.row["prediction_id"]): read.row["arm"] for read in run.pay.predictions()}
    assert set(arms.values()) == {"net", "plain"}, "some were late, others were not"
    for id_ in sample(run, 15):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


HOP = """
models:
  net: {kind: torch, artifact: none.safetensors, inputs: [amount, n, {name: total, missing: 0}, limit]}
stages:
  known: {kind: lookup, from: payments, table: cards, key: card, take: {limit: -1}}
  spent: {kind: features, from: known, group_by: shop, values: {n: {count: true}, total: {sum: amount}}}
  score: {kind: model, from: spent, model: net}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_rows_that_went_on_under_another_key_are_made_again_from_where_they_were_read() -> None:
    run = live(13, stages=HOP)
    assert len(run.pay.plan.sections) == 2
    run.run(60, deaths=1)
    for id_ in sample(run, 10):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


def test_at_least_once_each_of_two_answers_to_one_row_is_made_again() -> None:
    stages = STAGES.replace("commit_interval_ms: 1", "commit_interval_ms: 60, guarantee: at_least_once")
    run = live(14, stages=stages)
    run.link = {"guarantee": "at_least_once"}
    run.run(60, deaths=4)
    places: dict[str, list[tuple[int, int]]] = {}
    for read in run.pay.predictions():
        places.setdefault(str(read.row["prediction_id"]), []).append((read.partition, read.offset))
    twice = [id_ for id_, found in places.items() if len(found) > 1]
    assert twice, "a crash made some answers come twice"
    for id_ in [*twice, *list(places)[::7]]:
        for partition, offset in places[id_]:
            found = run.rebuilt(id_, partition=partition, offset=offset)
            assert found.identical, (id_, partition, offset, found.differences, found.reason)


def test_without_the_passes_on_record_the_last_bits_would_differ() -> None:
    """That the record of passes is needed: the net alone, asked one row at a time, gives other bits for some rows."""
    run = live(1)
    run.run(60)
    net = run.pay.models["net"]
    rows = [run.rebuilt(id_) for id_ in sample(run, 30)]
    mine = [found for found in rows if found.row is not None and found.row["arm"] == "net"]
    alone = [float(net.forward(np.array([list(found.features["net"].values())], dtype=np.float32))[0, 0]) for found in mine]
    answers = [found.recorded.row["answer"] for found in mine]
    assert all(found.identical for found in mine)
    assert any(struct.pack("<d", a) != struct.pack("<d", float(str(b))) for a, b in zip(alone, answers, strict=True))
    assert np.allclose(alone, [float(str(answer)) for answer in answers])


def tampered(run: Live, id_: str, **fields: Any) -> None:
    """The record of a prediction is given other values, as somebody with access to the broker's files might."""
    stream = run.pay.plan.streams["scores"]
    for partition in range(stream.partitions):
        log = run.pay.broker.log((stream.topic, partition))
        for at, record in enumerate(log._records):
            read = Intake(stream).rows(fetched(stream.topic, partition, [record]))
            row = {name: column.to_list()[0] for name, column in read.columns.items()}
            if row["prediction_id"] == id_:
                encoder = RowEncoder(parse_schema(stream.schema), stream.format, stream.framing)
                value = encoder.encode(_columns(stream, row | fields)).raw()[0]
                log._records[at] = record._replace(value=value)


def _columns(stream: StreamPlan, row: dict[str, Any]) -> dict[str, Column]:
    made = {}
    for one in parse_schema(stream.schema).fields:
        value = row[one.name]
        if isinstance(value, list):
            made[one.name] = Lists.of_matrix(np.array([value], dtype=np.int64 if one.item == "long" else np.float64))
        else:
            kinds = {"int": np.int32, "long": np.int64, "double": np.float64}
            made[one.name] = Text.of([value]) if one.kind == "string" else Numbers(np.array([value], dtype=kinds[one.kind]))
    return made


def test_a_record_that_was_changed_is_told_from_the_one_that_was_written() -> None:
    run = live(5)
    run.run(30)
    id_ = sample(run, 9)[5]
    answer = float(str(run.rebuilt(id_).recorded.row["answer"]))
    tampered(run, id_, answer=answer)
    assert run.rebuilt(id_).identical, "the same values are the same bytes"
    for changed, words in ((answer + 1.0, "changed after it was written"), (float(np.nextafter(answer, 2.0)), "last digits")):
        tampered(run, id_, answer=changed)
        found = run.rebuilt(id_)
        assert not found.identical
        assert found.differences == (("answer", changed, answer),)
        assert words in found.reason


def test_another_model_file_is_named_as_the_reason() -> None:
    run = live(6)
    run.run(30)
    id_ = next(str(r.row["prediction_id"]) for r in run.pay.predictions() if r.row["arm"] == "net")
    found = run.rebuilt(id_, {**run.pay.models, "net": Net(run.pay.plan.models["net"].columns(), digest="b" * 64)})
    assert not found.identical
    assert found.reason == "another model: aaaaaaaaaaaa answered, the file or version is bbbbbbbbbbbb now"


def test_what_is_not_there_any_more_is_named() -> None:
    run = live(7)
    run.run(30)
    with pytest.raises(EnvironmentMissing, match="no prediction 'nobody' on topic scores"):
        run.rebuilt("nobody")
    id_ = sample(run, 9)[5]
    place = run.rebuilt(id_).recorded
    assert run.rebuilt(id_, partition=place.partition, offset=place.offset).identical
    source = int(str(place.row["source_partition"]))
    run.pay.broker.log(("payments", source))._records.pop(0)
    with pytest.raises(StreamInferError, match=r"the chunk held \d+ rows, \d+ of them are still in the logs"):
        run.rebuilt(id_)


LEARNS = """
models:
  fit: {kind: linear, learns: {by: sgd, rate: 0.001}, inputs: [amount]}
stages:
  spent: {kind: features, from: payments, group_by: card, values: {n: {count: true}, total: {sum: amount}}}
  score: {kind: model, from: spent, model: fit}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 2, reward: {closeness: {scale: 10}}}
  teach: {kind: learn, from: outcome, every_s: 10}
"""


def test_each_answer_is_made_again_by_the_version_that_gave_it() -> None:
    plan = plan_of(LEARNS, partitions=2)
    run = Live(Pay(plan), np.random.default_rng(8))
    worker = run.worker()
    for number in range(120):
        at = 1_000_000 + number * 1000
        run.pay.send("payments", payment(number, card=f"c{number % 5}", at_ms=at))
        run.pay.send("told", {"payment": f"p{number}", "card": f"c{number % 5}", "truth": 3.0 * number, "at_ms": at + 300})
        run.pay.step(worker, times=int(run.draw.integers(1, 4)))
    run.pay.settle(worker, done=lambda: len(run.pay.ids()) == 120 and worker.settled())
    used = {str(read.row["model_version"]) for read in run.pay.predictions()}
    assert len(used) > 4, "several versions answered"
    for id_ in sample(run, 15):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)


def test_a_prediction_that_says_little_is_completed_by_the_decision_log() -> None:
    little = STAGES.replace("to: scores,", "to: scores, fields: [prediction_id, answer],")
    run = live(9, stages=little)
    run.run(40, deaths=1)
    for id_ in sample(run, 6):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)
        assert found.recorded.row.keys() >= {"answer", "arm", "propensities", "cut"}


def test_a_warm_up_as_long_as_the_windows_is_enough_for_them_and_said_to_be_less_than_all() -> None:
    windows = "values: {n: {count: true, window_s: 8}, total: {sum: amount, window_s: 8}}"
    run = live(15, stages=STAGES.replace("values: {n: {count: true}, total: {sum: amount}}", windows))
    run.run(90)
    ids = [f"p{number}" for number in range(70, 88, 4)]
    for id_ in ids:
        found, all_read = run.rebuilt(id_, warm_up_ms=20_000), run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)
        assert all_read.identical
        assert (found.whole, all_read.whole) == (False, True)
    lifetime = live(15)
    lifetime.run(90)
    short = [lifetime.rebuilt(id_, warm_up_ms=2_000) for id_ in ids]
    assert not all(found.identical for found in short)
    assert {found.reason for found in short if not found.identical} == {
        "the inputs were not read from their beginning, so older rows may be missing in the state"
    }


def test_what_each_input_added_adds_up_to_the_answer() -> None:
    run = live(16)
    run.run(30)
    id_ = next(str(read.row["prediction_id"]) for read in run.pay.predictions() if read.row["arm"] == "plain")
    found = run.rebuilt(id_)
    assert found.parts.keys() == found.features["plain"].keys()
    assert found.baseline + sum(found.parts.values()) == pytest.approx(float(str(found.recorded.row["answer"])))


SWAPS = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount], versions_kept: 1}
  plain: {kind: linear, artifact: none.safetensors, inputs: [amount]}
stages:
  score: {kind: split, from: payments, arms: [probe, plain], shares: [0.5, 0.5]}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def published(command: Install) -> Model:
    """Version v answers v · amount."""
    return LinearModel(np.full((1, 1), float(command.version)), np.zeros(1), np.zeros(1), np.ones(1), "identity", ("amount",))


def test_published_versions_and_shares_set_by_hand_are_those_of_then() -> None:
    run = Live(Pay(plan_of(SWAPS, partitions=2)), np.random.default_rng(17))
    plan, worker = run.pay.plan, run.worker()
    worker._forwarder = SimForwarder(run.pay.models, lambda _: 0, published)
    said = {"probe": 0, "score": 0}

    def say(name: str, what: str, **more: Any) -> None:
        said[name] += 1
        change = Change(name, said[name], what, who="ann", why="why", writer=f"w{name}{said[name]}", **more)
        run.pay.broker.append(plan.changes_topic, [name.encode()], [change.to_bytes()])

    for number in range(120):
        if number % 20 == 10:
            version = number // 20 + 1
            manifest = Manifest("probe", version, f"{version}", f"{version:064x}", "linear")
            say("probe", PUBLISH, version=version, manifest=manifest)
            say("probe", PROMOTE, version=version, manifest=manifest)
        if number in (50, 90):
            say("score", SHARE, shares=(("probe", 0.8), ("plain", 0.2)) if number == 50 else (("probe", 0.1), ("plain", 0.9)))
        run.pay.send("payments", payment(number, card=f"c{number % 5}", at_ms=1_000_000 + number * 1000))
        run.pay.step(worker, times=int(run.draw.integers(1, 4)))
    run.pay.settle(worker, done=lambda: len(run.pay.ids()) == 120 and worker.settled())
    assert len({str(read.row["model_version"]) for read in run.pay.predictions()}) >= 5
    assert len({str(read.row["propensities"]) for read in run.pay.predictions()}) == 3
    logs = SimTransport(run.pay.broker, "someone", "someone", guarantee="at_least_once")
    for id_ in sample(run, 20):
        found = rebuild(plan, logs, run.pay.models, Sought(id_), load=published)
        assert found.identical, (id_, found.differences, found.reason)


CANARY = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  plain: {kind: linear, artifact: none.safetensors, inputs: [amount]}
stages:
  score: {kind: canary, from: payments, champion: probe, challenger: plain, steps: [0.2, 0.6], every_s: 20, rows_min: 3}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_a_canary_has_the_share_again_that_it_had() -> None:
    run = Live(Pay(plan_of(CANARY, partitions=2)), np.random.default_rng(18))
    worker = run.worker()
    for number in range(120):
        run.pay.send("payments", payment(number, card=f"c{number % 5}", at_ms=1_000_000 + number * 1000))
        run.pay.step(worker, times=int(run.draw.integers(1, 4)))
    run.pay.settle(worker, done=lambda: len(run.pay.ids()) == 120 and worker.settled())
    assert len({str(read.row["propensities"]) for read in run.pay.predictions()}) == 3, "two steps, then all"
    for id_ in sample(run, 20):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)
