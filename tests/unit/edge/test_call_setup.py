from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stream_infer.edge.call_setup import answerers, calls_of, stand_ins
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.commands import Call
from stream_infer.functions import Function, Values
from stream_infer.records import Numbers
from stream_infer.topology.plan import Plan
from tests.support_flow import plan_of


def plan(settings: str) -> Plan:
    return plan_of(f"""
models:
  probe: {{kind: linear, artifact: none.safetensors, inputs: [amount]}}
stages:
  rate: {{kind: function, from: payments, function: rate, reads: [amount], gives: {{risk: number}}{settings}}}
  score: {{kind: model, from: rate, model: probe}}
  out: {{kind: emit, from: score, to: scores}}
""")


def rate(rows: Values) -> Values:
    return {"risk": 2 * np.asarray(rows["amount"])}


async def rate_outside(rows: Values) -> Values:
    return rate(rows)


@pytest.mark.parametrize(
    ("settings", "functions", "says"),
    [
        ("", {}, ["there is no function `rate`", "declared are: none", "add `--admit MODULE`"]),
        ("", {"rates": rate}, ["declared are: rates"]),
        ("", {"rate": rate_outside}, ["`rate` is an async function", "add `outside: {timeout_ms: 200}`"]),
        (", outside: {timeout_ms: 5}", {"rate": rate}, ["`rate` is not an async function", "remove `outside`"]),
    ],
)
def test_a_function_that_cannot_serve_its_stage_is_said(settings: str, functions: Mapping[str, Function], says: list[str]) -> None:
    for make in (calls_of, answerers, stand_ins):
        with pytest.raises(EnvironmentMissing) as found:
            make(plan(settings), functions)
        assert all(words in str(found.value) for words in says), str(found.value)


@pytest.mark.parametrize(
    ("settings", "function"), [("", rate), (", workers: 2", rate), (", outside: {timeout_ms: 5000, breaker: {failures: 2}}", rate_outside)]
)
def test_in_a_test_and_in_a_worker_a_stage_does_the_same(settings: str, function: Function) -> None:
    made, call = plan(settings), Call(1, "rate", {"amount": Numbers(np.array([1.0, 2.0]))}, 2)
    here = answerers(made, {"rate": function})["rate"](call)
    calls = calls_of(made, {"rate": function})
    calls.submit(call)
    came: list[Any] = []
    while not came:
        came = calls.finished(10_000)
    calls.close()

    assert here.columns["risk"].to_list() == came[0].columns["risk"].to_list() == [2.0, 4.0]
    assert calls.breakers() == ({"rate": "closed"} if "breaker" in settings else {})


def test_what_lies_outside_is_not_asked_to_measure_what_is_ours() -> None:
    call = Call(1, "rate", {"amount": Numbers(np.array([1.0, 2.0]))}, 2)

    assert stand_ins(plan(", outside: {timeout_ms: 5}"), {"rate": rate_outside})["rate"](call).columns["risk"].to_list() == [None, None]
    assert stand_ins(plan(""), {"rate": rate})["rate"](call).columns["risk"].to_list() == [2.0, 4.0]
