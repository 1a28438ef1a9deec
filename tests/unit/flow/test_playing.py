"""Answers of models made of models, explained. Oracle: the whole graph as one slow function, its Shapley values by all orders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.attribution.asking import ROWS_AT_ONCE
from stream_infer.flow.playing import WAIT_MS_LEAST
from stream_infer.flow.worker import Worker
from stream_infer.hashing import hash64
from stream_infer.models.base import Model
from stream_infer.records import Floats, Matrix, Text
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan
from tests.support_flow import HEAD, SCHEMAS, Pay, explained, one_at_fault, payment
from tests.unit.flow.play_oracle import Leafy, Small, shapley, smalls

STAGES = """
  why: {topic: why, partitions: PARTITIONS}
models:
MODELS
stages:
  score: {kind: SCORE}
  reasons: {kind: explain, from: score, to: why, share: 1, rows_max: 1000EXPLAIN}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def plan(models: str, score: str, explain: str = "", *, partitions: int = 1) -> Plan:
    head = HEAD.format(partitions=partitions, payments="", limits="{wait_ms_max: 20}").rstrip()
    lines = [line for line in head.splitlines() if not line.startswith(("  cards", "  told"))]
    said = {"PARTITIONS": str(partitions), "MODELS": models, "SCORE": score, "EXPLAIN": f", {explain}" if explain else ""}
    stages = STAGES
    for word, value in said.items():
        stages = stages.replace(word, value)
    texts = {**SCHEMAS, "payment": SCHEMAS["payment"].replace('"amount", "type": "double"', '"amount", "type": ["null", "double"]')}
    return load("\n".join(lines) + stages, "pay.yaml", texts.get)


def run(made: Plan, models: Mapping[str, Model], rows: list[dict[str, Any]], **said: Any) -> Pay:
    pay = Pay(made, models)
    pay.send("payments", *rows)
    pay.settle(pay.worker(deterministic=True, **said))
    return pay


BASELINES = (
    ("", {"amount": 0.0, "due_ms": 0.0, "shop": None, "card": None}),
    ('amount: 2.5, due_ms: -1, "shop=t": 1, "card=b": 1', {"amount": 2.5, "due_ms": -1.0, "shop": "t", "card": "b"}),
)


@settings(max_examples=60, deadline=None)
@given(smalls(), st.data())
def test_any_graph_gets_the_shapley_values_of_what_it_does(small: Small, data: st.DataObject) -> None:
    said, baseline = data.draw(st.sampled_from(BASELINES))
    kept = [one for one in said.split(", ") if one and one.strip('"').split(":")[0].split("=")[0] in small.inputs()]
    explain = f"baseline: {{{', '.join(kept)}}}" if kept else ""
    values = [
        {"amount": data.draw(st.sampled_from([-1.5, 0.25, 2.0, 4.0])), "due_ms": data.draw(st.integers(-2, 3))}
        | {"shop": data.draw(st.sampled_from("stu")), "card": data.draw(st.sampled_from("abc"))}
        for _ in range(4)
    ]
    rows = [payment(place, **row) for place, row in enumerate(values)]
    made = plan(small.yaml(), f"model, from: payments, model: {small.arm}", explain)
    models: dict[str, Model] = {name: one.model() for name, one in small.models.items() if isinstance(one, Leafy) and name in made.models}
    pay = run(made, models, rows, chunk_rows_max=data.draw(st.sampled_from([1, 3, 100])))
    found, answers = explained(pay), {str(read.row["prediction_id"]): read.row for read in pay.predictions()}
    assert found.keys() == answers.keys() == {f"p{place}" for place in range(4)}
    for place, row in enumerate(values):
        told, (parts, value, none) = found[f"p{place}"], shapley(small, row, baseline)
        assert told["fault"] is None
        assert told["method"] == "shap"
        assert told["value"] == answers[f"p{place}"]["answer"] == told["answer"]
        assert (told["value"], told["baseline"]) == (pytest.approx(value, abs=1e-9), pytest.approx(none, abs=1e-9))
        assert abs(told["error"]) < 1e-9
        assert sum(told["attributions"]) + told["baseline"] == pytest.approx(told["value"], abs=1e-9)
        by_input = {name.split("=")[0]: part for name, part in zip(json.loads(told["inputs"]), told["attributions"], strict=True)}
        assert by_input == pytest.approx(parts, abs=1e-8)


class Curved:
    """Not linear. refuses: rows, perturbed or not, for which it raises."""

    def __init__(self, columns: tuple[str, ...], refuses: Callable[[Matrix], bool] = lambda _: False) -> None:
        self.columns, self.outputs, self.digest, self._refuses = columns, 2, "c" * 64, refuses
        self.asked: list[int] = []

    def forward(self, x: Matrix) -> Floats:
        self.asked.append(len(x))
        if self._refuses(x):
            raise ValueError("no such row")
        wide = x.astype(np.float64)
        first = np.tanh(wide[:, 0] / 9.0) + wide[:, 0] * wide[:, -1] / 50.0
        return np.stack([first, 1.0 - first], axis=1)


TWO = """
  one: {kind: torch, artifact: none.safetensors, inputs: [amount, due_ms]BATCH}
  two: {kind: torch, artifact: none.safetensors, inputs: [{one_hot: shop, values: [s, t]}, amount]}
  both: {kind: ensemble, members: [one, two]WAITS}
  steep: {kind: torch, artifact: none.safetensors, inputs: [due_ms, {output_of: both, size: 2}]}
""".strip("\n")
BOTH = "model, from: payments, model: both, shadow: [steep]"


def two(batch: str = "", waits: str = "") -> str:
    return TWO.replace("BATCH", batch).replace("WAITS", waits)


def curved(refuses: Callable[[Matrix], bool] = lambda _: False) -> dict[str, Model]:
    return {
        "one": Curved(("amount", "due_ms"), refuses),
        "two": Curved(("shop=s", "shop=t", "amount")),
        "steep": Curved(("due_ms", "both[0]", "both[1]")),
    }


def sent(count: int) -> list[dict[str, Any]]:
    return [payment(i, card=f"c{i % 7}", shop="stuv"[i % 4], due_ms=i * 3 % 11, at_ms=i * 10) for i in range(count)]


class Whole:
    """`both` as one model."""

    def __init__(self) -> None:
        self.columns, self.outputs, self.digest = ("amount", "due_ms", "shop=s", "shop=t"), 2, "w" * 64

    def forward(self, x: Matrix) -> Floats:
        parts = curved()
        out: Floats = (parts["one"].forward(x[:, :2]) + parts["two"].forward(x[:, [2, 3, 0]])) / 2
        return out


@pytest.mark.parametrize(
    ("method", "samples", "output"), [("shap", 512, 1), ("shap", 8, 0), ("lime", 40, 0), ("lime", ROWS_AT_ONCE + 900, 1)]
)
def test_it_is_explained_as_one_model_that_does_the_same_would_be(method: str, samples: int, output: int) -> None:
    """Sampled too, and where one explanation asks about more rows than go at once."""
    said = f"method: {method}, samples: {samples}, output: {output}, baseline: {{amount: 3}}"
    pay = run(plan(two(), BOTH, said), curved(), sent(12))
    found = explained(pay)
    asked = AttributionSettings(method, (("amount", 3.0),), output, samples=samples)
    for number in range(12):
        shop = "stuv"[number % 4]
        x = np.array([[number, number * 3 % 11, shop == "s", shop == "t"]], dtype=np.float32)
        expected = attribution_of(Whole(), x, asked, hash64(Text.of([f"p{number}"])), np.array([0, 1, 2]))
        row = found[f"p{number}"]
        assert json.loads(row["inputs"]) == ["amount", "due_ms", f"shop={shop}" if shop in "st" else "shop"]
        assert row["values"] == [number, number * 3 % 11, float(shop in "st")]
        assert row["attributions"] == pytest.approx(expected.parts[0].tolist(), abs=1e-9)
        assert (row["value"], row["baseline"]) == (pytest.approx(expected.value[0]), pytest.approx(expected.baseline[0]))
        assert row["error"] == pytest.approx(expected.error[0], abs=1e-9)


@pytest.mark.parametrize("arm", ["both", "steep"])
@pytest.mark.parametrize("method", ["shap", "lime"])
def test_chunks_partitions_and_batches_change_no_byte(arm: str, method: str) -> None:
    said, score = f"method: {method}, samples: 30", f"model, from: payments, model: {arm}" + (", shadow: [steep]" if arm == "both" else "")
    whole = explained(run(plan(two(), score, said), curved(), sent(60)))
    assert len(whole) == 60
    assert {row["fault"] for row in whole.values()} == {None}
    for rows in (1, 7):
        assert explained(run(plan(two(), score, said), curved(), sent(60), chunk_rows_max=rows)) == whole
    assert explained(run(plan(two(), score, said, partitions=3), curved(), sent(60))) == whole
    for batch in (", batch: {rows_max: 5}", ", batch: {sizes: [4, 64]}"):
        assert explained(run(plan(two(batch), score, said), curved(), sent(60))) == whole


def test_no_pass_has_more_rows_than_go_at_once() -> None:
    models = curved()
    run(plan(two(", batch: {rows_max: 100}"), BOTH, "samples: 500"), models, sent(50))
    one = models["one"]
    assert isinstance(one, Curved)
    assert max(one.asked) <= 100


def test_arms_of_a_bandit_are_explained_each_in_its_way() -> None:
    score = "bandit, from: payments, arms: [one, both, steep], policy: {epsilon_greedy: {epsilon: 1}}"
    pay = run(plan(two(), score, "method: shap, top_k: 2"), curved(), sent(120))
    found = explained(pay)
    assert {row["model"] for row in found.values()} == {"one", "both", "steep"}
    for name, row in found.items():
        number, shop = int(name[1:]), "stuv"[int(name[1:]) % 4]
        assert (row["fault"], len(row["attributions"])) == (None, 2)
        assert row["value"] == pytest.approx(row["answer"])
        assert sum(row["attributions"]) + row["rest"] + row["error"] == pytest.approx(row["value"] - row["baseline"])
        if row["model"] == "both":
            x = np.array([[number, number * 3 % 11, shop == "s", shop == "t"]], dtype=np.float32)
            parts = attribution_of(Whole(), x, AttributionSettings("shap"), hash64(Text.of([name])), np.array([0, 1, 2])).parts[0]
            assert row["attributions"] == pytest.approx(sorted(parts.tolist(), key=lambda part: -abs(part))[:2], abs=1e-9)


def test_a_model_that_fails_on_a_perturbed_row_is_named_and_nothing_else_is_lost() -> None:
    """`one` refuses the payment of 13 where its due_ms is replaced; the ensemble would go on without it."""

    def refuses(x: Matrix) -> bool:
        return bool(((x[:, 0] == 13.0) & (x[:, 1] == 0.0)).any())

    pay = Pay(plan(two(waits=", quorum: 1"), BOTH, "method: shap"), curved(refuses))
    found = one_at_fault(pay, sent(30), "of a perturbed row: model one: ValueError: no such row")
    sound = explained(run(plan(two(), BOTH), curved(), sent(30)))
    assert all(found[name]["attributions"] == row["attributions"] for name, row in sound.items() if name != "p13")


def waiting(quorum: int = 1) -> tuple[Pay, Worker, SimForwarder]:
    """A live worker whose ensemble waits for 50 ms."""
    models = "\n".join(line for line in two(waits=f", quorum: {quorum}, wait_ms_max: 50").splitlines() if "steep" not in line)
    pay = Pay(plan(models, "model, from: payments, model: both"), {name: model for name, model in curved().items() if name != "steep"})
    worker = pay.worker()
    forwarder = worker._forwarder
    assert isinstance(forwarder, SimForwarder)
    return pay, worker, forwarder


def test_an_answer_made_without_a_late_member_says_so_instead() -> None:
    """At once, for whoever is late may hang; and what comes when it is back is explained again."""
    pay, worker, forwarder = waiting()
    forwarder.stalled = {"two"}
    pay.send("payments", *sent(5))
    pay.settle(worker, done=lambda: len(pay.ids()) == 5 and len(pay.values("why")) == 5)
    assert pay.broker.now_ms < WAIT_MS_LEAST
    assert {row["missing"] for row in (read.row for read in pay.predictions())} == {"two"}
    assert {row["fault"] for row in explained(pay).values()} == {
        "the answer was given without two, late then; only whole answers are explained"
    }
    forwarder.stalled = set()
    pay.step(worker, times=5)
    pay.send("payments", payment(7, shop="t"))
    pay.settle(worker, done=lambda: len(pay.ids()) == 6 and len(pay.values("why")) == 6)
    assert explained(pay)["p7"]["fault"] is None


def test_a_model_that_hangs_over_perturbed_rows_costs_the_explanation_and_no_prediction() -> None:
    pay, worker, forwarder = waiting()
    pay.send("payments", *sent(5))
    for _ in range(400):
        pay.step(worker, times=1, ms=1)
        if any(command.perturbed for command in forwarder._open):
            break
    forwarder.stalled = {"two"}
    pay.settle(worker, done=lambda: len(pay.ids()) == 5 and len(pay.values("why")) == 5)
    assert WAIT_MS_LEAST <= pay.broker.now_ms < 2 * WAIT_MS_LEAST
    assert {row["missing"] for row in (read.row for read in pay.predictions())} == {None}
    assert {row["fault"] for row in explained(pay).values()} == {"of a perturbed row: no answer of two in time"}
    assert worker.flow.sizing.patience.out("two") == 1
    forwarder.stalled = set()
    pay.step(worker, times=5)
    assert worker.flow.sizing.patience.out("two") == 0
    pay.send("payments", payment(7, shop="t"))
    pay.settle(worker, done=lambda: len(pay.ids()) == 6 and len(pay.values("why")) == 6)
    assert explained(pay)["p7"]["fault"] is None


def test_absent_inputs_are_inputs_too() -> None:
    """A member without its input has no answer, and the ensemble goes on without it: so it is of the row, and not of the baseline."""
    rows = [{**row, "amount": None} if number % 2 else row for number, row in enumerate(sent(8))]
    models = "  one: {kind: torch, artifact: none.safetensors, inputs: [amount]}\n"
    models += "  two: {kind: torch, artifact: none.safetensors, inputs: [due_ms]}\n  both: {kind: ensemble, members: [one, two], quorum: 1}"
    pay = run(plan(models, "model, from: payments, model: both"), {"one": Curved(("amount",)), "two": Curved(("due_ms",))}, rows)
    found = explained(pay)
    says = {name: float(Curved((name,)).forward(np.zeros((1, 1), dtype=np.float32))[0, 0]) for name in ("amount",)}
    for number in range(1, 8, 2):
        row, due = found[f"p{number}"], np.array([[number * 3 % 11]], dtype=np.float32)
        mine, zero = float(Curved(("due_ms",)).forward(due)[0, 0]), says["amount"]
        value = {"": zero, "due": (zero + mine) / 2, "amount": zero, "both": mine}
        assert row["fault"] is None
        assert (json.loads(row["inputs"]), row["values"]) == (["amount?", "due_ms"], [1.0, number * 3 % 11])
        amount = ((value["amount"] - value[""]) + (value["both"] - value["due"])) / 2
        assert row["attributions"] == pytest.approx([amount, value["both"] - value[""] - amount])
        assert row["value"] == row["answer"] == pytest.approx(value["both"])


def test_outputs_that_are_not_there_are_told() -> None:
    pay = run(plan(two(), BOTH, "output: 2"), curved(), sent(3))
    assert {row["fault"] for row in explained(pay).values()} == {"the model has no such output: got output 2, expected 0 to 1"}
    assert len(pay.ids()) == 3


def test_a_worker_that_dies_while_it_explains_leaves_nothing_and_the_next_one_does_all_once() -> None:
    pay = Pay(plan(two(), BOTH), curved())
    pay.send("payments", *sent(40))
    one = pay.worker("0")
    forwarder = one._forwarder
    assert isinstance(forwarder, SimForwarder)
    for _ in range(400):
        pay.step(one, times=1, ms=1)
        if any(command.perturbed for command in forwarder._open):
            break
    else:
        raise AssertionError("nothing was explained")
    forwarder.held = True
    pay.step(one, times=3, ms=1)
    assert one.flow.in_flight()
    assert pay.ids() == []
    one.transport.crash()  # type: ignore[attr-defined]
    again = pay.worker("0")
    pay.settle(again, done=lambda: len(pay.ids()) == 40 and again.settled())
    assert sorted(pay.ids()) == sorted(explained(pay)) == sorted(f"p{i}" for i in range(40))
    assert {row["fault"] for row in explained(pay).values()} == {None}
