"""attribution.gradients: attributions of models whose weights or gradients are known. models → *gradients* → attribute."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from stream_infer.attribution.result import Attributions
from stream_infer.models.linear import LinearModel, logistic
from stream_infer.records import Floats, Matrix


class Gradients(Protocol):
    """How one output changes with each input."""

    def __call__(self, x: Matrix, output: int) -> Floats:
        """x: float32[n, k] → float64[n, k]."""
        ...


def linear(model: LinearModel, x: Matrix, baseline: Matrix, output: int) -> Attributions:
    """weight · (x - baseline) / scale per column: exact, of the score where the link is logistic. x: float32[n, k]."""
    weights = model.weights[:, output]
    parts = weights * ((x.astype(np.float64) - baseline) / model.scale)
    # Sums go column after column, as the model's own: a row's does not depend on its neighbours.
    value, zero = _scores(model, x, output), _scores(model, baseline[None, :], output)
    unit = "log_odds" if model.link == "logistic" else "answer"
    return Attributions("linear", unit, parts, value, np.full(len(x), zero[0]))


def _scores(model: LinearModel, x: Matrix, output: int) -> Floats:
    scores = np.full(len(x), model.bias[output])
    for place, weight in enumerate(model.weights[:, output].tolist()):
        scores += weight * ((x[:, place].astype(np.float64) - model.mean[place]) / model.scale[place])
    return scores


def linear_gradients(model: LinearModel) -> Gradients:
    """The gradients of a linear model, of its answer behind the link."""

    def gradients(x: Matrix, output: int) -> Floats:
        slope = model.weights[:, output] / model.scale
        if model.link != "logistic":
            return np.broadcast_to(slope, x.shape).copy()
        answer = logistic(_scores(model, x, output))
        steep: Floats = (answer * (1.0 - answer))[:, None] * slope
        return steep

    return gradients


def integrated(gradients: Gradients, x: Matrix, baseline: Matrix, output: int, steps: int, rows_at_once: int) -> Floats:
    """float64[n, k]: (x - baseline) times the mean gradient on the straight way between them (Gauss-Legendre, `steps` points)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    way = (0.5 * (1.0 + nodes)).astype(np.float64)[:, None]
    share = 0.5 * weights
    out = np.empty(x.shape)
    many = max(rows_at_once // steps, 1)
    for at in range(0, len(x), many):
        step = x[at : at + many].astype(np.float64) - baseline
        points = (baseline + way * step[:, None, :]).astype(np.float32)
        slopes = gradients(points.reshape(-1, x.shape[1]), output).reshape(points.shape)
        for row in range(len(step)):  # one by one: the order of adding must not follow from how many there are
            out[at + row] = step[row] * (share @ slopes[row])
    return out
