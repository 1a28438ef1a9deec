"""Which answers are explained, once each, by the version that answered. Oracle: attribution_of() on the inputs as they were sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.flow.explaining import DRAW_SEED
from stream_infer.hashing import hash64, uniform
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix, Text
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan
from tests.support_flow import HEAD, SCHEMAS, Pay, explained, one_at_fault, payment

STAGES = """
  why: {{topic: why, partitions: {partitions}{stream}}}
models:
  one: {{kind: linear, artifact: none.safetensors, inputs: [amount, {{name: due_ms, missing: 0}}]}}
  two: {{kind: torch, artifact: none.safetensors, inputs: [amount, {{one_hot: shop, values: [s, t, u]}}, due_ms]}}
stages:
  score: {score}
  reasons: {{kind: explain, from: score, to: why, {explain}}}
  out: {{kind: emit, from: score, to: scores, commit_interval_ms: 1}}
"""
MODEL = "{kind: model, from: payments, model: one, shadow: [two]}"
BANDIT = "{kind: bandit, from: payments, arms: [one, two], policy: {epsilon_greedy: {epsilon: 1}}}"


def plan(explain: str, *, score: str = MODEL, partitions: int = 1, stream: str = "") -> Plan:
    head = HEAD.format(partitions=partitions, payments="", limits="{wait_ms_max: 20}").rstrip()
    lines = [line for line in head.splitlines() if not line.startswith(("  cards", "  told"))]
    text = "\n".join(lines) + STAGES.format(score=score, explain=explain, partitions=partitions, stream=stream)
    return load(text, "pay.yaml", SCHEMAS.get)


class Curved:
    """Not linear, without gradients. refuses: rows, perturbed or not, for which it raises."""

    def __init__(self, refuses: Callable[[Matrix], bool] = lambda _: False) -> None:
        self.columns, self.outputs, self.digest, self._refuses = ("amount", "shop=s", "shop=t", "shop=u", "due_ms"), 1, "c" * 64, refuses

    def forward(self, x: Matrix) -> Floats:
        if self._refuses(x):
            raise ValueError("no such row")
        wide = x.astype(np.float64)
        return (wide[:, 0] * (1.0 + wide[:, 1] + 2.0 * wide[:, 2]) + wide[:, 4] / 7.0)[:, None]


def models(link: str = "identity", two: Model | None = None) -> dict[str, Model]:
    one = LinearModel(np.array([[2.0], [0.5]]), np.array([1.0]), np.array([3.0, 0.0]), np.array([2.0, 1.0]), link, ("amount", "due_ms"))
    return {"one": one, "two": two or Curved()}


def sent(count: int) -> list[dict[str, Any]]:
    return [payment(i, card=f"c{i % 7}", shop="stuv"[i % 4], due_ms=i * 3 % 11, at_ms=i * 10) for i in range(count)]


def picked(count: int, share: float) -> set[str]:
    ids = [f"p{i}" for i in range(count)]
    return {name for name, draw in zip(ids, uniform(hash64(Text.of(ids)), DRAW_SEED), strict=True) if draw < share}


def run(made: Plan, count: int, models_: Mapping[str, Model], **settings: Any) -> Pay:
    pay = Pay(made, models_)
    pay.send("payments", *sent(count))
    worker = pay.worker(deterministic=True, **settings)
    pay.settle(worker)
    return pay


@pytest.mark.parametrize("link", ["identity", "logistic"])
def test_every_sampled_answer_is_explained_once_and_no_other(link: str) -> None:
    pay = run(plan("share: 0.3, rows_max: 1000"), 200, models(link))
    found, answers = explained(pay), {str(read.row["prediction_id"]): read.row for read in pay.predictions()}
    assert found.keys() == picked(200, 0.3)
    for name, row in found.items():
        number = int(name[1:])
        x = np.array([[number, number * 3 % 11]], dtype=np.float32)
        expected = attribution_of(models(link)["one"], x, AttributionSettings(), hash64(Text.of([name])))
        assert row["attributions"] == expected.parts[0].tolist()
        assert (row["value"], row["baseline"]) == (expected.value[0], expected.baseline[0])
        assert abs(row["error"]) < 1e-9
        assert json.loads(row["inputs"]) == ["amount", "due_ms"]
        assert row["values"] == x[0].tolist()
        assert (row["method"], row["unit"]) == ("linear", "log_odds" if link == "logistic" else "answer")
        assert (row["rest"], row["fault"], row["output"], row["stage"]) == (0.0, None, 0, "score")
        assert all(row[same] == answers[name][same] for same in ("answer", "model", "model_version", "event_time"))


def test_each_answer_is_explained_by_the_arm_that_gave_it() -> None:
    pay = run(plan("share: 1, method: shap, rows_max: 1000", score=BANDIT), 120, models())
    found, answers = explained(pay), {str(read.row["prediction_id"]): read.row for read in pay.predictions()}
    assert found.keys() == answers.keys() == {f"p{i}" for i in range(120)}
    assert {row["model"] for row in found.values()} == {"one", "two"}
    for name, row in found.items():
        number, shop = int(name[1:]), "stuv"[int(name[1:]) % 4]
        if row["model"] == "one":
            assert json.loads(row["inputs"]) == ["amount", "due_ms"]
            continue
        x = np.array([[number, shop == "s", shop == "t", shop == "u", number * 3 % 11]], dtype=np.float32)
        expected = attribution_of(Curved(), x, AttributionSettings("shap"), hash64(Text.of([name])), np.array([0, 1, 4]))
        assert row["attributions"] == expected.parts[0].tolist()
        assert json.loads(row["inputs"]) == ["amount", f"shop={shop}" if shop != "v" else "shop", "due_ms"]
        assert row["values"] == [number, float(shop != "v"), number * 3 % 11]
        assert row["answer"] == answers[name]["answer"] == pytest.approx(row["value"])
        assert abs(row["error"]) < 1e-9


def test_only_the_inputs_that_count_most_are_told_and_the_rest_as_one_number() -> None:
    pay = run(plan("share: 1, top_k: 1"), 30, models())
    for name, row in explained(pay).items():
        number = int(name[1:])
        parts = {"amount": float(number), "due_ms": 0.5 * (number * 3 % 11)}
        first = max(parts, key=lambda key: abs(parts[key]))
        assert json.loads(row["inputs"]) == [first]
        assert row["attributions"] == pytest.approx([parts[first]])
        assert row["rest"] == pytest.approx(sum(parts.values()) - parts[first])


@pytest.mark.parametrize("method", ["shap", "lime", "integrated_gradients"])
def test_chunks_partitions_and_batches_change_no_byte(method: str) -> None:
    said = f"share: 0.5, rows_max: 1000, method: {method}, samples: 40"
    whole = explained(run(plan(said), 100, models()))
    assert whole.keys() == picked(100, 0.5)
    for rows in (1, 7):
        assert explained(run(plan(said), 100, models(), chunk_rows_max=rows)) == whole
    assert explained(run(plan(said, partitions=3), 100, models())) == whole


def test_no_more_than_allowed_per_chunk_and_the_rest_is_counted() -> None:
    pay = Pay(plan("share: 1, rows_max: 5"), models())
    pay.send("payments", *sent(60))
    worker = pay.worker(deterministic=True, chunk_rows_max=20)
    pay.settle(worker)
    found = explained(pay)
    ids = [f"p{i}" for i in range(60)]
    draws = dict(zip(ids, uniform(hash64(Text.of(ids)), DRAW_SEED), strict=True))
    expected = {name for at in (0, 20, 40) for name in sorted(ids[at : at + 20], key=draws.__getitem__)[:5]}
    assert found.keys() == expected
    assert worker.stats.explanations == {("reasons", "skipped"): 45, ("reasons", "explained"): 15}
    assert len(pay.ids()) == 60


def test_a_fault_of_an_explanation_fails_no_answer_and_no_neighbour() -> None:
    """The model refuses perturbed rows of the payment of 13, whose own row it answers."""

    def refuses(x: Matrix) -> bool:
        return bool(((x[:, 0] == 13.0) & (x[:, 4] == 0.0)).any())

    pay = Pay(plan("share: 1, method: shap", score="{kind: model, from: payments, model: two, shadow: [one]}"), models(two=Curved(refuses)))
    one_at_fault(pay, sent(30), "ValueError: no such row")


def test_rows_without_an_answer_are_not_explained() -> None:
    pay = Pay(plan("share: 1, method: shap", score="{kind: model, from: payments, model: two, shadow: [one]}"), models())
    rows = sent(10)
    rows[4]["amount"] = float("inf")
    pay.send("payments", *rows[:4], *rows[5:])
    pay.send("payments", {**rows[4], "amount": 1e300})
    worker = pay.worker(deterministic=True)
    pay.settle(worker)
    assert explained(pay).keys() == set(pay.ids()) == {f"p{i}" for i in range(10)} - {"p4"}
    assert len(pay.reasons()) == 1


def test_json_explanations_are_json() -> None:
    pay = run(plan("share: 1, top_k: 1", stream=", format: json, framing: bare"), 5, models())
    assert explained(pay).keys() == {f"p{i}" for i in range(5)}


def test_a_chunk_waits_for_its_explanations_and_is_dropped_with_its_task() -> None:
    """A worker that dies while it explains leaves nothing; the next one answers and explains everything, once."""
    made = plan("share: 1, method: shap", score="{kind: model, from: payments, model: two, shadow: [one]}")
    pay = Pay(made, models())
    pay.send("payments", *sent(40))
    one = pay.worker("0")
    forwarder = one._forwarder
    assert isinstance(forwarder, SimForwarder)
    for _ in range(200):
        pay.step(one, times=1, ms=1)
        if any(command.explain is not None for command in forwarder._open):
            break
    forwarder.held = True
    pay.step(one, times=3, ms=1)
    assert one.flow.in_flight()
    assert pay.ids() == []
    one.transport.crash()  # type: ignore[attr-defined]
    two = pay.worker("0")
    for _ in range(2000):
        pay.step(two, times=1)
        if len(pay.ids()) == 40 and two.settled():
            break
    assert sorted(pay.ids()) == sorted(explained(pay)) == sorted(f"p{i}" for i in range(40))


def test_learned_versions_explain_what_they_answered() -> None:
    text = """
models:
  one: {kind: linear, learns: {by: sgd, rate: 0.1}, inputs: [amount]}
stages:
  score: {kind: model, from: payments, model: one}
  reasons: {kind: explain, from: score, to: why, share: 1, rows_max: 10000}
  heard: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 5, reward: {closeness: {scale: 10}}}
  teach: {kind: learn, from: heard, every_s: 10}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
    head = HEAD.format(partitions=1, payments="", limits="{wait_ms_max: 20}").rstrip()
    lines = [line for line in head.splitlines() if not line.startswith("  cards")]
    made = load("\n".join([*lines, "  why: {topic: why, partitions: 1}"]) + text, "pay.yaml", SCHEMAS.get)
    pay = Pay(made, {"one": LinearModel.zeros(("amount",), "identity")})
    pay.send("payments", *(payment(i, at_ms=i * 1000, amount=float(i % 5)) for i in range(100)))
    pay.send("told", *({"payment": f"p{i}", "card": "a", "truth": 3.0 * (i % 5) + 1, "at_ms": i * 1000 + 500} for i in range(100)))
    pay.settle(pay.worker(deterministic=True))
    answers = {str(read.row["prediction_id"]): read.row for read in pay.predictions()}
    found = explained(pay)
    assert len(found) == 100
    assert len({row["model_version"] for row in found.values()}) > 3
    for name, row in found.items():
        assert row["model_version"] == answers[name]["model_version"]
        assert row["value"] == row["answer"] == answers[name]["answer"]
        assert abs(row["error"]) < 1e-9
