"""learn.learner: models that learn row by row from joined feedback. feedback → *learner* → models (as versions).

Rows are learned strictly one after the other, in the order of the joined topic, so the result does not depend on how they are cut
into calls, to the last bit. What does not depend on the weights (the running mean and scale of the inputs) is computed for a
whole call at once by sums that run in row order; only the step itself loops, over arrays reused from row to row.
Rows with a NaN label (no feedback came) or an input that is not finite are passed over.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from stream_infer.learn.arrays import ArrayStore
from stream_infer.learn.rls import RlsLinear
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import LearnerSettings
from stream_infer.records import Bools, Floats, Matrix
from stream_infer.state import Store

ROWS_AT_ONCE = 4096  # bounds the memory of one call's standardised inputs


class Learner(Store, Protocol):
    """What the learn section holds for every model that learns."""

    def learn(self, features: Matrix, labels: Floats) -> None:
        """features: float32[n, k]; labels: float64[n]."""
        ...

    def model(self) -> LinearModel:
        """What has been learned so far, ready to be published."""
        ...


def learner_of(settings: LearnerSettings, columns: tuple[str, ...], start: LinearModel | None = None) -> Learner:
    """The learner that the topology asks for; ValueError for an unknown one.

    columns: names of the inputs, in order. start: the model whose weights (and scaling of inputs) it begins with; None: from zero.
    """
    if settings.by == "sgd":
        return SgdLinear(settings, columns, start)
    if settings.by == "rls":
        return RlsLinear(settings, columns, start)
    if settings.by == "ftrl":
        return FtrlLogistic(settings, columns, start)
    raise ValueError(f"learns by {settings.by!r}: expected sgd, rls or ftrl")


class SgdLinear(ArrayStore):
    """Linear regression by stochastic gradient descent on the squared error, inputs standardised by their running mean and scale.

    The step is min(rate, 1 / (1 + |z|²)): with z standardised, a rare one-hot column can be 50 wide and a plain step would
    leap past the row's own label, further each time; this one never does. With a start, its mean and scale stay instead.
    """

    def __init__(self, settings: LearnerSettings, columns: tuple[str, ...], start: LinearModel | None = None) -> None:
        wide = len(columns)
        names = ("weights", "bias", "rows", "first", "sum", "sum_sq")
        super().__init__({name: np.zeros(1 if name in ("bias", "rows") else wide) for name in names})
        self._settings, self._columns, self._start = settings, columns, start
        if start is not None:
            self.arrays["weights"][:], self.arrays["bias"][:] = start.weights[:, 0], start.bias[:1]

    def learn(self, features: Matrix, labels: Floats) -> None:
        """features: float32[n, k]; labels: float64[n], NaN where no feedback came."""
        usable = _usable(features, labels)
        for start in range(0, len(usable), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            self._learn(features[part][usable[part]].astype(np.float64), labels[part][usable[part]])

    def _learn(self, x: Floats, labels: Floats) -> None:
        if not len(x):
            return
        standardised = self._standardise(x)
        weights, bias = self.arrays["weights"], float(self.arrays["bias"][0])
        rate, l2 = self._settings.rate, self._settings.l2
        step = np.empty_like(weights)
        for z, label in zip(standardised, labels.tolist(), strict=True):
            # Not a BLAS product: its order of adding differs between kinds of machines.
            np.multiply(z, z, out=step)
            pace = min(rate, 1.0 / (1.0 + float(np.add.reduce(step))))
            np.multiply(z, weights, out=step)
            error = float(np.add.reduce(step)) + bias - label
            if l2:
                weights *= 1.0 - pace * l2
            np.multiply(z, pace * error, out=step)
            weights -= step
            bias -= pace * error
        self.arrays["bias"][0] = bias
        self.touch()

    def _standardise(self, x: Floats) -> Floats:
        """Each row by mean and scale over all rows up to it: float64[n, k].

        Sums are of distances from the first row ever seen: of times in ms, say, plain squares would leave no digits for the variance.
        """
        arrays = self.arrays
        if self._start is not None:
            scaled: Floats = (x - self._start.mean) / self._start.scale
            return scaled
        if arrays["rows"][0] == 0.0:
            arrays["first"][:] = x[0]
        far = x - arrays["first"]
        # accumulate adds strictly from row to row, so sums continued from the last call have the bits of one long sum.
        sums = np.add.accumulate(np.concatenate([arrays["sum"][None], far]), axis=0)[1:]
        squares = np.add.accumulate(np.concatenate([arrays["sum_sq"][None], far * far]), axis=0)[1:]
        rows = (arrays["rows"][0] + np.arange(1, len(x) + 1))[:, None]
        arrays["rows"][0], arrays["sum"][:], arrays["sum_sq"][:] = rows[-1, 0], sums[-1], squares[-1]
        mean = sums / rows
        out: Floats = (far - mean) / _scale(squares / rows - mean * mean)
        return out

    def model(self) -> LinearModel:
        """A linear model with the mean and scale of now (of the start, where there is one)."""
        arrays = self.arrays
        if self._start is not None:
            weights, bias = arrays["weights"][:, None].copy(), arrays["bias"].copy()
            return LinearModel(weights, bias, self._start.mean, self._start.scale, "identity", self._columns)
        rows = max(float(arrays["rows"][0]), 1.0)
        mean = arrays["sum"] / rows
        scale = _scale(arrays["sum_sq"] / rows - mean * mean)
        return LinearModel(
            arrays["weights"][:, None].copy(), arrays["bias"].copy(), arrays["first"] + mean, scale, "identity", self._columns
        )


class FtrlLogistic(ArrayStore):
    """Logistic regression by FTRL-Proximal (McMahan et al. 2013, algorithm 1), exactly: the weights follow from all gradients so
    far, this row's included, and are zero, truly, where |z| ≤ l1. Labels are clipped to [0, 1]; inputs are taken as they are.

    The last coordinate is the bias, an input of 1 without l1 and l2. With a start, its weights, their scaling
    folded in, are those that meet the first row.
    """

    def __init__(self, settings: LearnerSettings, columns: tuple[str, ...], start: LinearModel | None = None) -> None:
        super().__init__({name: np.zeros(len(columns) + 1) for name in ("z", "n")})
        self._settings, self._columns = settings, columns
        self._l1, self._l2 = np.full(len(columns) + 1, settings.l1), np.full(len(columns) + 1, settings.l2)
        self._l1[-1] = self._l2[-1] = 0.0
        if start is not None:
            slopes = start.weights[:, 0] / start.scale
            first = np.append(slopes, start.bias[0] - float(np.add.reduce(slopes * start.mean)))
            # The z whose weights these are while n = 0: the closed form of algorithm 1, turned round.
            self.arrays["z"][:] = -first * (settings.beta / settings.alpha + self._l2) - np.sign(first) * self._l1

    def learn(self, features: Matrix, labels: Floats) -> None:
        """features: float32[n, k]; labels: float64[n], NaN where no feedback came."""
        usable = _usable(features, labels)
        if not usable.any():
            return
        alpha, beta = self._settings.alpha, self._settings.beta
        z, n = self.arrays["z"], self.arrays["n"]
        root, weights = np.sqrt(n), self._weights()
        gradient, spare, grown = np.empty_like(z), np.empty_like(z), np.empty_like(z)
        low, high = -self._l1, self._l1
        slope = beta / alpha + self._l2
        ones = np.ones((len(features), 1))
        for x, label in zip(np.hstack([features, ones])[usable], np.clip(labels[usable], 0.0, 1.0).tolist(), strict=True):
            np.multiply(weights, x, out=spare)
            np.multiply(x, _sigmoid(float(np.add.reduce(spare))) - label, out=gradient)
            np.multiply(gradient, gradient, out=spare)
            n += spare
            np.sqrt(n, out=grown)
            np.subtract(grown, root, out=spare)
            spare /= alpha
            spare *= weights
            gradient -= spare
            z += gradient
            root, grown = grown, root
            # weights = -(z - sign(z)·l1) / ((beta + √n) / alpha + l2), and 0 within ±l1: z less z clipped to ±l1 is both at once.
            np.minimum(z, high, out=spare)
            np.maximum(spare, low, out=spare)
            np.subtract(spare, z, out=weights)
            np.divide(root, alpha, out=spare)
            spare += slope
            weights /= spare
        self.touch()

    def _weights(self) -> Floats:
        z = self.arrays["z"]
        shrunk = np.maximum(np.minimum(z, self._l1), -self._l1) - z
        out: Floats = shrunk / (np.sqrt(self.arrays["n"]) / self._settings.alpha + (self._settings.beta / self._settings.alpha + self._l2))
        return out

    def model(self) -> LinearModel:
        """A logistic model on the inputs as they are."""
        weights, wide = self._weights(), len(self._columns)
        return LinearModel(weights[:-1, None].copy(), weights[-1:].copy(), np.zeros(wide), np.ones(wide), "logistic", self._columns)


def _usable(features: Matrix, labels: Floats) -> Bools:
    out: Bools = np.isfinite(labels) & np.isfinite(features).all(axis=1)
    return out


def _scale(variance: Floats) -> Floats:
    """The root of the variance; 1 where a column has not moved yet (or only by rounding), so that it stays 0 when standardised."""
    return np.sqrt(np.where(variance > 1e-12, variance, 1.0))


def _sigmoid(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(score, -700.0), 700.0)))
