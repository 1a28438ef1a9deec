"""stream-infer test: what a topology's own tests say, by exit code and words."""

from __future__ import annotations

from collections.abc import Callable

from tests import admitted
from tests.support_cli import Said, use, with_tests
from tests.support_run import Case


def test_a_test_that_holds(call: Callable[..., Said], case: Case) -> None:
    with_tests(case, 9.0)
    assert call("test", case.path) == (0, "cli: twice and one: ok\n", "")


def test_a_test_that_fails_shows_the_nearest_row(call: Callable[..., Said], case: Case) -> None:
    with_tests(case, 10.0)
    code, out, _ = call("test", case.path)
    assert code == 1
    assert out.startswith("cli: twice and one: FAILED\n    predictions: no row is like {'prediction_id': 'e4'")
    assert "nearest: {'prediction_id': 'e4', 'answer': 9.0}" in out


def test_no_tests_are_said_to_be_none(call: Callable[..., Said], case: Case) -> None:
    assert call("test", case.path) == (0, "cli: no tests\n", "")


def test_a_test_of_an_admitted_class(call: Callable[..., Said], case: Case) -> None:
    use(case, "{kind: torch, class: moody, artifact: twice.safetensors, inputs: [amount]}", admitted.Moody())
    with_tests(case, 9.0)
    assert call("test", case.path, "--admit", "tests.admitted") == (0, "cli: twice and one: ok\n", "")
    code, _, err = call("test", case.path)
    assert code == 1
    assert "the class of the model is not registered\n    got:      moody\n    expected: mlp\n" in err
