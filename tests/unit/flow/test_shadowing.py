"""A model in the shadow. Oracle: the same topology without it, and the model asked directly."""

from __future__ import annotations

import pytest

from stream_infer.batching.patience import LATE_MAX
from stream_infer.hashing import hash64, hash64_bytes, uniform
from stream_infer.models.base import Model
from stream_infer.records import Text
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.topology.build import load
from tests.support_flow import HEAD, SCHEMAS, Flawed, Pay, payment, plan_of

PLAIN = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  deep: {kind: linear, artifact: none.safetensors, inputs: [amount], batch: {rows_max: 5}}
stages:
  score: {kind: model, from: payments, model: probe, shadow: [deep]}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
SHADOW = PLAIN.replace(", shadow: [deep]", "") + "  aside: {kind: shadow, from: score, model: deep, share: 0.5, to: says}\n"


def prepared(stages: str, flaw: str = "") -> Pay:
    text = HEAD.format(partitions=1, payments="", limits="{wait_ms_max: 20}")
    lines = [line for line in text.splitlines() if not line.strip().startswith(("cards:", "told:"))]
    if "aside" in stages:
        lines.append("  says: {topic: says, partitions: 1}")
    plan = load("\n".join(lines) + stages, "pay.yaml", SCHEMAS.get) if "aside" in stages else plan_of(stages)
    models: dict[str, Model] = {name: Flawed(settings.columns(), lambda _: "") for name, settings in plan.models.items()}
    models["deep"] = Flawed(("amount",), lambda amount: flaw if amount % 3 == 0 else "")
    return Pay(plan, models)


def pay(stages: str, flaw: str = "") -> Pay:
    made = prepared(stages, flaw)
    made.send("payments", *(payment(n) for n in range(100)))
    running = made.worker(deterministic=True, chunk_rows_max=16)
    made.settle(running)
    running.close()
    return made


def drawn(number: int) -> bool:
    return bool(uniform(hash64(Text.of([f"p{number}"])), hash64_bytes(b"aside"))[0] < 0.5)


def says(made: Pay) -> dict[str, dict[str, object]]:
    rows = {str(row["prediction_id"]): row for row in made.values("says")}
    assert len(rows) == len(made.values("says"))
    return rows


def test_it_says_what_the_model_would_have_answered_beside_the_answer() -> None:
    found = says(pay(SHADOW))
    assert list(found) == [f"p{n}" for n in range(100) if drawn(n)]
    for name, row in found.items():
        assert row["shadow_answer"] == float(name[1:])
        assert (row["shadow"], row["model"], row["stage"], row["fault"]) == ("deep", "probe", "score", None)


@pytest.mark.parametrize("flaw", ["raise", "nan", "shape"])
def test_nothing_that_it_does_changes_or_spoils_an_answer(flaw: str) -> None:
    calm, flawed = pay(SHADOW), pay(SHADOW, flaw)
    assert [(read.key, read.value) for read in flawed.predictions()] == [(read.key, read.value) for read in calm.predictions()]
    assert flawed.rejects() == []
    for name, row in says(flawed).items():
        odd = int(name[1:]) % 3 == 0
        assert (row["shadow_answer"] is None, row["fault"] is not None) == (odd, odd)


COMPOSED = SHADOW.replace(
    "stages:",
    """  read: {kind: linear, artifact: none.safetensors, inputs: [{output_of: deep}]}
  pair: {kind: ensemble, members: [read, deep], quorum: 1}
  two: {kind: cascade, first: probe, then: pair, unless: answer >= 50}
stages:""",
).replace("model: deep, share", "model: two, share")


def test_a_shadow_may_be_made_of_other_models() -> None:
    made = pay(COMPOSED)
    found = says(made)
    assert list(found) == [f"p{n}" for n in range(100) if drawn(n)]
    for name, row in found.items():
        assert row["shadow_answer"] == float(name[1:])
        assert (row["shadow"], row["model"], row["fault"]) == ("two", "probe", None)
    assert len({row["shadow_version"] for row in found.values()}) == 1
    assert [(read.key, read.value) for read in made.predictions()] == [(read.key, read.value) for read in pay(SHADOW).predictions()]


@pytest.mark.parametrize("flaw", ["raise", "nan", "shape"])
def test_a_fault_within_a_composed_shadow_is_told_and_spoils_nothing(flaw: str) -> None:
    made = pay(COMPOSED, flaw)
    assert made.rejects() == []
    for name, row in says(made).items():
        odd = int(name[1:]) % 3 == 0 and int(name[1:]) < 50
        assert (row["shadow_answer"] is None, row["fault"] is not None) == (odd, odd), row


def test_a_shadow_waits_for_its_members_no_longer_than_it_says() -> None:
    """Live, a member that never answers holds up the answers for as long as the ensemble waits, and once it is stalled not at all."""
    stages = COMPOSED.replace("quorum: 1}", "quorum: 1, wait_ms_max: 30}").replace("answer >= 50", "answer >= 1000")
    made = prepared(stages)
    worker = made.worker(chunk_rows_max=16)
    forwarder = worker._forwarder
    assert isinstance(forwarder, SimForwarder)
    forwarder.stalled.add("read")
    for number in range(12):
        made.send("payments", payment(number))
        made.settle(worker, done=lambda number=number: len(made.ids()) == number + 1)
    mine = sum(drawn(number) for number in range(12))
    assert mine > LATE_MAX
    assert [row["shadow_answer"] for row in says(made).values()] == [float(number) for number in range(12) if drawn(number)]
    assert worker.flow.sizing.patience.left_out == {("aside", "read", "late"): LATE_MAX, ("aside", "read", "stalled"): mine - LATE_MAX}
    forwarder.stalled.clear()  # what comes at last finds nobody who waits for it
    made.step(worker, times=20)
    assert worker.flow.sizing.patience.out("read") == 0
