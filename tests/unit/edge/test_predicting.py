"""Single rows, asked at once. Oracle: the model on each row alone."""

from __future__ import annotations

import asyncio
from threading import Event

import numpy as np
import pytest

from stream_infer.edge.predicted import Predicted
from stream_infer.edge.predicting import Predictor
from stream_infer.errors import ModelError
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix
from tests.support_flow import Flawed, plan_of

STAGES = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, {name: due_ms, missing: -1}, {one_hot: shop, values: [a, b]}]}
stages:
  score: {kind: model, from: payments, model: probe}
  out: {kind: emit, from: score, to: scores}
"""
PLAN = plan_of(STAGES)
COLUMNS = PLAN.models["probe"].columns()
MODEL = LinearModel(np.array([[2.0], [1.0], [10.0], [20.0]]), np.ones(1), np.zeros(4), np.ones(4), "identity", COLUMNS)


class Gated(Flawed):
    """Begins its first pass and ends it when it may."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda amount: "raise" if amount == 13 else "nan" if amount == 14 else "")
        self.begun, self.may = Event(), Event()

    def forward(self, x: Matrix) -> Floats:
        self.begun.set()
        assert self.may.wait(30)
        return super().forward(x)


def row(amount: float, **more: object) -> dict[str, object]:
    return {"amount": amount, "due_ms": 3, "shop": "a", **more}


def test_rows_are_answered_as_the_model_answers_them() -> None:
    async def run() -> list[Predicted]:
        predictor = Predictor(PLAN, {"probe": MODEL})
        try:
            rows = [row(1.5), row(2, due_ms=None), row(3, shop="b"), row(4, shop="other", unread=object())]
            return list(await asyncio.gather(*(predictor.predict("probe", one) for one in rows)))
        finally:
            predictor.close()

    found = asyncio.run(run())
    assert [one.answer for one in found] == [2 * 1.5 + 3 + 10 + 1, 4 - 1 + 10 + 1, 6 + 3 + 20 + 1, 8 + 3 + 1]
    assert {(one.model, one.version, one.outputs[0] == one.answer) for one in found} == {("probe", MODEL.digest, True)}


def test_those_who_ask_while_the_model_is_busy_share_the_next_pass_and_bad_rows_fail_alone() -> None:
    model = Gated()

    async def run() -> tuple[list[object], list[int]]:
        predictor = Predictor(PLAN, {"probe": model})
        try:
            first = asyncio.ensure_future(predictor.predict("probe", row(0)))
            await asyncio.get_running_loop().run_in_executor(None, model.begun.wait, 30)
            rest = [asyncio.ensure_future(predictor.predict("probe", row(n))) for n in (1, 2, 13, 3, 14, 4)]
            await asyncio.sleep(0)
            model.may.set()
            return list(await asyncio.gather(first, *rest, return_exceptions=True)), predictor.passes
        finally:
            predictor.close()

    came, passes = asyncio.run(run())
    told = [one.answer if isinstance(one, Predicted) else str(one) for one in came]
    assert [*told[:3], told[4], told[6]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert str(told[3]) == "model probe: ValueError: amount 13 is odd"
    assert str(told[5]).startswith("model probe gave (nan")
    assert model.asked[:2] == [1, 6], "six waited and went together"
    assert passes[0] == 1


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        ("prob", row(1), "model prob: there is none\n    expected: one of probe"),
        ("probe", {"amount": 1}, "the row has no field `due_ms`"),
        ("probe", row(None), "amount"),  # type: ignore[arg-type]
        ("probe", row("many"), "`amount`: got str 'many', expected a number"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_answered_is_said(model: str, given: dict[str, object], says: str) -> None:
    async def run() -> None:
        predictor = Predictor(PLAN, {"probe": MODEL})
        try:
            await predictor.predict(model, given)
        finally:
            predictor.close()

    with pytest.raises(ModelError, match=says.replace("(", r"\(")):
        asyncio.run(run())
