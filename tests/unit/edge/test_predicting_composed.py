"""Single rows for composed models. Oracle: the models alone, put together by hand."""

from __future__ import annotations

import asyncio
from threading import Event

import numpy as np
import pytest

from stream_infer.edge.predicted import Predicted
from stream_infer.edge.predicting import Predictor
from stream_infer.errors import ModelError
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.records import Floats, Matrix
from tests.support_flow import plan_of

STAGES = """
models:
  twice: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  more: {kind: linear, artifact: none.safetensors, inputs: [amount, {output_of: twice}]}
  slow: {kind: linear, artifact: none.safetensors, inputs: [due_ms]}
  both: {kind: ensemble, members: [more, slow], quorum: 1, wait_ms_max: 200}
  pair: {kind: ensemble, members: [twice, slow], quorum: 1, wait_ms_max: 200}
  doubt: {kind: cascade, first: twice, then: both, unless: answer >= 10}
  each: {kind: route, when: [{where: shop == "b", use: twice}, {where: shop == "c", use: pair}], otherwise: doubt}
stages:
  score: {kind: model, from: payments, model: each}
  out: {kind: emit, from: score, to: scores}
"""
PLAN = plan_of(STAGES)


def linear(name: str, *weights: float) -> LinearModel:
    columns = PLAN.models[name].columns()
    zero, one = np.zeros(len(columns)), np.ones(len(columns))
    return LinearModel(np.array(weights)[:, None], np.zeros(1), zero, one, "identity", columns)


class Slow:
    """Answers with its input, once it may."""

    def __init__(self) -> None:
        self.columns, self.outputs, self.digest, self.may = ("due_ms",), 1, "5" * 64, Event()

    def forward(self, x: Matrix) -> Floats:
        assert self.may.wait(30)
        if (x < 0).any():
            raise ValueError("before its time")
        return x.astype(np.float64)


def models(slow: Slow) -> dict[str, Model]:
    return {"twice": linear("twice", 2.0), "more": linear("more", 1.0, 10.0), "slow": slow}


def row(amount: float, due_ms: float = 0, shop: str = "a") -> dict[str, object]:
    return {"amount": amount, "due_ms": due_ms, "shop": shop}


def predicted(model: str, *rows: dict[str, object], held: bool = False) -> list[Predicted | BaseException]:
    slow = Slow()
    if not held:
        slow.may.set()

    async def run() -> list[Predicted | BaseException]:
        predictor = Predictor(PLAN, models(slow))
        try:
            return list(await asyncio.gather(*(predictor.predict(model, one) for one in rows), return_exceptions=True))
        finally:
            slow.may.set()
            predictor.close()

    return asyncio.run(run())


def test_each_row_goes_its_own_way_through_the_graph() -> None:
    found = predicted("each", row(6), row(1, 7), row(1, 7, "b"), row(2, -1))
    assert all(isinstance(one, Predicted) for one in found), found
    told = [(one.answer, one.answered_by, one.missing) for one in found if isinstance(one, Predicted)]
    assert told == [
        (12.0, "twice", ()),
        ((1 + 10 * 2 + 7) / 2, "both", ()),
        (2.0, "twice", ()),
        (2 + 10 * 4, "both", ("slow",)),
    ]
    assert len({one.version for one in found if isinstance(one, Predicted)}) == 1


def test_a_model_that_reads_another_is_asked_after_it() -> None:
    (one,) = predicted("more", row(3))
    assert isinstance(one, Predicted)
    assert (one.answer, one.confidence) == (3 + 10 * 6, None)


def test_an_ensemble_waits_no_longer_than_it_says() -> None:
    (one,) = predicted("pair", row(3, 7), held=True)
    assert isinstance(one, Predicted)
    assert (one.answer, one.missing, one.confidence) == (6.0, ("slow",), 0.5)


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        ("each", {"amount": 1, "due_ms": 1}, "model each: the row has no field `shop`"),
        ("each", {"shop": "a", "due_ms": 1}, "the row has no field `amount`"),
        ("nobody", row(1), "expected: one of both, doubt, each, more, pair, slow, twice"),
    ],
)
def test_what_cannot_be_answered_is_said(model: str, given: dict[str, object], says: str) -> None:
    (one,) = predicted(model, given)
    assert isinstance(one, ModelError)
    assert says in str(one)
