"""A model in the shadow. Oracle: the same topology without it, and the model asked directly."""

from __future__ import annotations

from typing import Any

import pytest

from stream_infer.hashing import hash64, hash64_bytes, uniform
from stream_infer.records import Text
from tests.support_flow import Flawed, Pay, models_of, payment, plan_of

PLAIN = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  deep: {kind: linear, artifact: none.safetensors, inputs: [amount], batch: {rows_max: 5}}
stages:
  score: {kind: model, from: payments, model: probe, shadow: [deep]}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
SHADOW = PLAIN.replace(", shadow: [deep]", "") + "  aside: {kind: shadow, from: score, model: deep, share: 0.5, to: says}\n"


def pay(stages: str, flaw: str = "", **worker: Any) -> Pay:
    from stream_infer.topology.build import load
    from tests.support_flow import HEAD, SCHEMAS

    text = HEAD.format(partitions=1, payments="", limits="{wait_ms_max: 20}")
    lines = [line for line in text.splitlines() if not line.strip().startswith(("cards:", "told:"))]
    if "aside" in stages:
        lines.append("  says: {topic: says, partitions: 1}")
    plan = load("\n".join(lines) + stages, "pay.yaml", SCHEMAS.get) if "aside" in stages else plan_of(stages)
    models = models_of(plan)
    if flaw:
        models["deep"] = Flawed(("amount",), lambda amount: flaw if amount % 3 == 0 else "")
    made = Pay(plan, models)
    made.send("payments", *(payment(n) for n in range(100)))
    running = made.worker(deterministic=True, chunk_rows_max=16, **worker)
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
