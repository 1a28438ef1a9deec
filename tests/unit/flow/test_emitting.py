"""What leaves: predictions with fewer fields and with columns of their rows, of wide rows, of models with many outputs."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream_infer.codec.block import Block, rows_of_block
from stream_infer.flow.blocks import read_blocks
from stream_infer.sim.play import play
from stream_infer.sim.scenarios import probe, schema
from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan
from tests.support_flow import SPENT, Pay, models_of, payment, plan_of

PICTURE = schema("Picture", id="string", pixels="string", points="string", packed="bytes", at_ms="long").replace(
    '{"name": "pixels", "type": "string"}', '{"name": "pixels", "type": {"type": "array", "items": "float"}}'
)
WIDE = """
name: wide
format: 1
streams:
  pictures: {topic: pictures, schema: picture, key: id, id: id, event_time: at_ms, partitions: 1}
  classes: {topic: classes, partitions: 1}
  refused: {topic: refused, partitions: 1}
models:
  net:
    kind: linear
    artifact: none.safetensors
    inputs: [{list: pixels, size: 4}, {numbers: points, size: 3}, {floats32: packed, size: 3}]
stages:
  score: {kind: model, from: pictures, model: net}
  out: {kind: emit, from: score, to: classes, rejects: refused}
"""


def spent(emits: str = "", form: str = "avro") -> Plan:
    """What cards spent before, with more settings of the emit stage."""
    assert "commit_interval_ms: 1}" in SPENT
    plan = plan_of(SPENT.replace("commit_interval_ms: 1}", f"commit_interval_ms: 1{emits}}}"))
    return replace(plan, streams=plan.streams | {"scores": replace(plan.streams["scores"], format=form)})


@pytest.mark.parametrize("form", ["avro", "json"])
def test_an_answer_has_the_fields_and_columns_that_were_asked_for(form: str) -> None:
    plan = spent(", fields: [answer, prediction_id], carry: [shop, amount, total, n, at_ms]", form)
    rows = [payment(number, shop=f"s{number % 2}") for number in range(40)]
    made = play(plan, {"payments": rows}, models_of(plan))["scores"]

    def right(number: int) -> dict[str, Any]:
        total = float(sum(range(number)))
        own = {"shop": f"s{number % 2}", "amount": float(number), "total": total, "n": float(number), "at_ms": number * 1000}
        return {"answer": float(number), "prediction_id": f"p{number}", **own}

    assert made == [right(number) for number in range(40)]
    assert list(made[0]) == ["answer", "prediction_id", "shop", "amount", "total", "n", "at_ms"]


def test_what_is_carried_comes_after_all_fields_of_a_prediction() -> None:
    whole = play(spent(), {"payments": [payment(1)]}, models_of(spent()))["scores"]
    plan = spent(", carry: [shop]")
    made = play(plan, {"payments": [payment(1)]}, models_of(plan))["scores"]

    assert made == [{**whole[0], "shop": "s"}]


def picture(number: int, **other: Any) -> dict[str, Any]:
    """A picture whose ten numbers are `number` to `number` + 9."""
    values = [float(number + place) for place in range(10)]
    packed = np.array(values[7:], dtype="<f4").tobytes()
    own = {"pixels": values[:4], "points": ",".join(map(str, values[4:7])), "packed": base64.b64encode(packed).decode()}
    return {"id": f"i{number}", "at_ms": number, **own, **other}


def test_wide_rows_meet_models_of_many_outputs_and_misfits_are_rejected_alone() -> None:
    plan = load(WIDE, "wide.yaml", {"picture": PICTURE}.get)
    rows = [picture(number) for number in range(50)]
    rows[7] = picture(7, pixels=[1.0] * 5)
    rows[8] = picture(8, points="1,2")
    rows[9] = picture(9, points="1,2,three")
    rows[10] = picture(10, packed=base64.b64encode(b"12345").decode())
    made = play(plan, {"pictures": rows}, {"net": probe(plan.models["net"].columns(), "net")})

    outputs = {row["prediction_id"]: row["outputs"][:10] for row in made["classes"]}
    assert outputs == {f"i{n}": [float(n + place) for place in range(10)] for n in range(50) if n not in (7, 8, 9, 10)}
    assert [(row["source_offset"], row["stage"], row["reason"]) for row in made["refused"]] == [
        (7, "score", "model net: input `pixels`: got 5 numbers, expected 4"),
        (8, "score", "model net: input `points`: got 2 numbers, expected 3"),
        (9, "score", "model net: input `points`: got a text that is no finite numbers joined by `,`"),
        (10, "score", "model net: input `packed`: got 5 bytes, expected 12"),
    ]


def decided(plan: Plan, rows: int) -> list[dict[str, Any]]:
    """The decision log of a run over so many payments."""
    pay = Pay(plan)
    pay.send("payments", *map(payment, range(rows)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker, done=worker.finished)
    (log,) = pay.broker.dump(plan.decisions_topic)
    return [row for block in read_blocks(log) if isinstance(block, Block) for row in rows_of_block(block)]


def test_the_decision_log_says_what_predictions_leave_out_and_nothing_twice() -> None:
    assert decided(spent(), 40) == []
    where = {"source": 0, "source_topic": "payments", "cut": 1, "source_partition": 0}
    assert decided(spent(", fields: [answer]"), 40) == [where | {"prediction_id": f"p{n}", "source_offset": n} for n in range(40)]
