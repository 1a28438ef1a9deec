"""Oracle: ridge regression on all rows at once, solved by numpy's least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stream_infer.learn.rls import RlsLinear
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import LearnerSettings

COLUMNS = ("a", "b", "c")


def some_rows(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = (random.normal(size=(rows, 3)) * [1, 10, 0.1] + [0, 1000, 0]).astype(np.float32)
    y = x.astype(np.float64) @ [2.0, -0.5, 3.0] + 7 + random.normal(size=rows)
    y[::7] = np.nan
    return x, y


def test_from_zero_it_finds_the_weights() -> None:
    x, y = some_rows(4000, 1)
    learner = RlsLinear(LearnerSettings("rls"), COLUMNS)
    learner.learn(x, y)
    known = ~np.isnan(y)

    answers = learner.model().forward(x[known])[:, 0]

    assert np.sqrt(np.mean((answers - y[known]) ** 2)) == pytest.approx(1.0, abs=0.05)


def test_with_a_prior_it_is_the_ridge_regression_towards_it() -> None:
    x, y = some_rows(300, 2)
    start = LinearModel(
        np.array([[1.0], [-1.0], [0.5]]), np.array([-480.0]), np.array([0.0, 1000.0, 0.0]), np.array([1.0, 10.0, 0.1]), "identity", COLUMNS
    )
    learner = RlsLinear(LearnerSettings("rls", l2=50.0), COLUMNS, start)
    learner.learn(x, y)
    known = ~np.isnan(y)
    z = np.hstack([(x[known].astype(np.float64) - start.mean) / start.scale, np.ones((known.sum(), 1))])
    prior = np.append(start.weights[:, 0], start.bias)
    best, *_ = np.linalg.lstsq(np.vstack([z, np.sqrt(50.0) * np.eye(4)]), np.concatenate([y[known], np.sqrt(50.0) * prior]), rcond=None)

    model = learner.model()

    np.testing.assert_allclose(np.append(model.weights[:, 0], model.bias), best, rtol=1e-9)


def test_before_any_row_it_is_the_model_it_began_from() -> None:
    start = LinearModel(np.ones((3, 1)), np.array([2.0]), np.zeros(3), np.ones(3), "identity", COLUMNS)
    x, _ = some_rows(5, 3)

    np.testing.assert_allclose(RlsLinear(LearnerSettings("rls", l2=9.0), COLUMNS, start).model().forward(x), start.forward(x), rtol=1e-12)


@pytest.mark.parametrize("cuts", [[0, 300], [0, 1, 2, 150, 300], list(range(0, 301, 10))])
def test_the_cuts_of_calls_and_restarts_leave_no_trace(cuts: list[int]) -> None:
    x, y = some_rows(300, 4)
    whole = RlsLinear(LearnerSettings("rls"), COLUMNS)
    whole.learn(x, y)
    part = RlsLinear(LearnerSettings("rls"), COLUMNS)
    for first, last in itertools.pairwise(cuts):
        part.learn(x[first:last], y[first:last])
        again = RlsLinear(LearnerSettings("rls"), COLUMNS)
        again.restore(*part.changes())
        part = again if again.arrays["rows"][0] else part

    assert part.model().to_bytes() == whole.model().to_bytes()
