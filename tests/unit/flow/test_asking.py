"""Models that fail on some rows. Oracle: which rows were made to fail, and what the others are answered with."""

from __future__ import annotations

import pytest

from tests.support_flow import SPENT, Flawed, Pay, payment, plan_of
from tests.support_worker import spent


def flaw_of(amount: float) -> str:
    return {3.0: "raise", 5.0: "nan", 11.0: "raise"}.get(amount, "")


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_model_that_fails_on_some_rows_answers_all_others(deterministic: bool) -> None:
    plan = plan_of()
    pay = Pay(plan, {"probe": (flawed := Flawed(("amount", "n", "total"), flaw_of))})
    pay.send("payments", *map(payment, range(16)))
    worker = pay.worker(deterministic=deterministic)
    pay.settle(worker, done=lambda: len(pay.ids()) + len(pay.reasons()) == 16)

    assert {key: outputs for key, outputs in spent(*range(16)).items() if key not in ("p3", "p5", "p11")} == pay.outputs()
    assert pay.reasons() == [
        (3, "model probe: ValueError: amount 3 is odd"),
        (5, "model probe gave nan in output 0"),
        (11, "model probe: ValueError: amount 11 is odd"),
    ]
    assert flawed.asked[0] == 16
    assert flawed.asked.count(1) >= 2


def test_a_model_that_answers_in_another_shape_spoils_no_neighbour() -> None:
    pay = Pay(plan_of(), {"probe": Flawed(("amount", "n", "total"), lambda amount: "shape" if amount == 2.0 else "")})
    pay.send("payments", *map(payment, range(6)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert sorted(pay.ids()) == ["p0", "p1", "p3", "p4", "p5"]
    ((offset, reason),) = pay.reasons()
    assert offset == 2
    assert reason.startswith("model probe: got ")


def test_an_input_that_is_absent_is_named() -> None:
    stages = SPENT.replace("{name: total, missing: 0}", "mean").replace("total: {sum: amount}", "mean: {mean: amount}")
    pay = Pay(plan_of(stages))
    pay.send("payments", payment(0), payment(1))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert pay.ids() == ["p1"]
    assert pay.reasons() == [(0, "model probe: input `mean` is absent; give it a value with `{name: mean, missing: 0}`")]
