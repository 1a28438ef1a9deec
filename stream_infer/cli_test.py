"""cli_test: `stream-infer test`: the `tests:` blocks of topologies, on the simulated broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_infer.edge.call_setup import answerers, held_lookups
from stream_infer.edge.registry import functions_of, model_classes
from stream_infer.edge.workers import load_models
from stream_infer.sim.play import play
from stream_infer.topology.plan import Plan, TestPlan


def run_tests(plans: Sequence[Plan], admitted: Sequence[str], say: Callable[[str], None]) -> int:
    """Run all tests; exit code 0 when every one holds."""
    failed = 0
    for plan in plans:
        if not plan.tests:
            say(f"{plan.name}: no tests")
            continue
        models = load_models(plan, model_classes(admitted))
        calls = answerers(plan, functions_of(admitted))
        for test in plan.tests:
            problems = _differences(test, play(plan, test.given, models, calls | held_lookups(plan, test.redis)))
            say(f"{plan.name}: {test.name}: {'ok' if not problems else 'FAILED'}")
            for problem in problems:
                say(f"    {problem}")
            failed += bool(problems)
    return 1 if failed else 0


def _differences(test: TestPlan, got: dict[str, list[dict[str, object]]]) -> list[str]:
    problems = []
    for stream, expected in test.expect.items():
        rows = got[stream]
        if len(rows) != len(expected):
            problems.append(f"{stream}: got {len(rows)} rows, expected {len(expected)}")
        absent = [wanted for wanted in expected if not any(_matches(row, wanted) for row in rows)]
        problems += [f"{stream}: no row is like {wanted}; nearest: {_nearest(rows, wanted)}" for wanted in absent]
    return problems


def _matches(row: dict[str, object], wanted: dict[str, object]) -> bool:
    return all(name in row and _equal(row[name], value) for name, value in wanted.items())


def _equal(got: object, wanted: object) -> bool:
    """A number may be given as {near: x, within: d}."""
    if isinstance(wanted, dict) and "near" in wanted:
        return isinstance(got, int | float) and abs(got - wanted["near"]) <= wanted.get("within", 1e-6)
    return got == wanted


def _nearest(rows: list[dict[str, object]], wanted: dict[str, object]) -> object:
    """The row that agrees in most fields, with these fields only."""
    if not rows:
        return "there are none"
    best = max(rows, key=lambda row: sum(name in row and _equal(row[name], value) for name, value in wanted.items()))
    return {name: best.get(name) for name in wanted}
