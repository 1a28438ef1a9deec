"""Which versions and shares answered then, and answer again. Oracle: the records of a live run, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_infer.edge.rebuilding import Sought, rebuild
from stream_infer.flow.commands import Install
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.manifest import Manifest
from stream_infer.models.rollout import PROMOTE, PUBLISH, SHARE, Change
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.transport import SimTransport
from tests.support_flow import Pay, payment, plan_of
from tests.unit.edge.support_rebuilding import Live, Net, live, sample


def test_another_model_file_is_named_as_the_reason() -> None:
    run = live(6)
    run.run(30)
    id_ = next(str(r.row["prediction_id"]) for r in run.pay.predictions() if r.row["arm"] == "net")
    found = run.rebuilt(id_, {**run.pay.models, "net": Net(run.pay.plan.models["net"].columns(), digest="b" * 64)})
    assert not found.identical
    assert found.reason == "another model: aaaaaaaaaaaa answered, the file or version is bbbbbbbbbbbb now"


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
