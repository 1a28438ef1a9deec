"""Function stages in a plan, against what a reader of the file would work out by hand."""

from __future__ import annotations

import json

from stream_infer.functions import BreakerSettings, FunctionSettings, OutsideSettings
from stream_infer.topology.explain import text
from stream_infer.topology.plan import CallStep, DecideStep, RepartitionStep
from tests.unit.topology.goods import plan_of


def test_functions_stand_before_and_after_the_answer_with_their_settings() -> None:
    plan = plan_of("functions")

    first, second = plan.sections
    assert first.steps[:2] == (
        CallStep("check", ("amount", "card_id"), (), FunctionSettings("checks.amounts", "row")),
        CallStep(
            "rate",
            ("amount",),
            (("risk", "double"), ("band", "string"), ("steps", "long"), ("sure", "boolean"), ("parts", "array")),
            FunctionSettings(
                "rate",
                defaults=(("risk", 0.5), ("band", "none"), ("steps", 3), ("sure", False)),
                outside=OutsideSettings(8, 200, 1, breaker=BreakerSettings(3)),
            ),
        ),
    )
    assert isinstance(first.steps[2], RepartitionStep)
    decide = next(step for step in second.steps if isinstance(step, DecideStep))
    assert decide.emits_to == "scores"
    assert [step for step in second.steps if isinstance(step, CallStep)] == [
        CallStep(
            "words",
            ("answer", "arm", "propensity", "band"),
            (("said", "string"), ("short", "boolean")),
            FunctionSettings("words", workers=2, workers_are="processes"),
            of_answers=True,
        ),
        CallStep("more", ("said",), (("length", "long"),), FunctionSettings("more"), of_answers=True),
    ]


def test_what_functions_make_travels_and_leaves_with_its_type() -> None:
    plan = plan_of("functions")

    def types(stream: str) -> dict[str, object]:
        return {field["name"]: field["type"] for field in json.loads(plan.streams[stream].schema)["fields"]}

    (hop,) = [name for name in plan.streams if name.startswith("rules.")]
    made = {"risk": "double", "band": "string", "steps": "long", "sure": "boolean", "parts": {"type": "array", "items": "double"}}
    assert {name: kind for name, kind in types(hop).items() if name in made} == {name: ["null", kind] for name, kind in made.items()}
    carried = {name: made[name] for name in ("risk", "steps", "parts", "sure")}
    out = carried | {"said": "string", "short": "boolean", "length": "long"}
    written = types("scores")
    assert {name: kind for name, kind in written.items() if name != "answer"} == {name: ["null", kind] for name, kind in out.items()}


def test_explain_says_where_a_function_runs() -> None:
    told = text(plan_of("functions"))

    assert "function checks.amounts per row of amount, card_id gives nothing, it only rejects; in the worker's thread" in told
    assert "outside, 8 at once, 200 ms a try, 1 retries, a breaker after 3 failures; fails: default" in told
    assert "gives said, short; in 2 processes; fails: reject" in told
