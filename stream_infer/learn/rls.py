"""learn.rls: recursive least squares: after every row, the weights that fit all rows so far best. feedback → *rls* → models (as versions).

What is kept is the pair of sums (Σ z zᵀ, Σ z y); weights are solved for when a version is made. There is no learning rate to
choose and nothing to forget: a step of gradient descent small enough for one storm is too small for a season. With an
artifact to begin from, its weights are a prior that counts as l2 rows of standardised inputs.
"""

from __future__ import annotations

import numpy as np

from stream_infer.learn.arrays import ArrayStore
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import LearnerSettings
from stream_infer.records import Floats, Matrix


class RlsLinear(ArrayStore):
    """Linear regression by the normal equations. start: the model to begin from, whose mean and scale stay; None: from zero.

    From zero, inputs are taken relative to the first row and unscaled; l2 (1 at least) keeps the equations solvable.
    """

    def __init__(self, settings: LearnerSettings, columns: tuple[str, ...], start: LinearModel | None = None) -> None:
        wide = len(columns) + 1  # the bias is the last weight, of an input of 1
        self._columns = columns
        mean, scale = (start.mean, start.scale) if start is not None else (np.zeros(wide - 1), np.ones(wide - 1))
        weights = np.zeros(wide) if start is None else np.append(start.weights[:, 0], start.bias[0])
        prior = np.eye(wide) * max(settings.l2, 1.0)
        super().__init__({"rows": np.zeros(1), "mean": mean.copy(), "scale": scale.copy(), "gram": prior, "moment": prior @ weights})
        self._centred = start is not None

    def learn(self, features: Matrix, labels: Floats) -> None:
        """features: float32[n, k]; labels: float64[n], NaN where no feedback came."""
        usable = np.isfinite(labels) & np.isfinite(features).all(axis=1)
        if not usable.any():
            return
        arrays = self.arrays
        rows = features[usable].astype(np.float64)
        if not self._centred and arrays["rows"][0] == 0.0:
            arrays["mean"][:] = rows[0]
        rows = np.hstack([(rows - arrays["mean"]) / arrays["scale"], np.ones((len(rows), 1))])
        gram, moment = arrays["gram"], arrays["moment"]
        step, moved = np.empty_like(gram), np.empty_like(moment)
        # Row by row, not as one product of matrices: the sums must have the same bits however the rows are cut into calls.
        for z, label in zip(rows, labels[usable].tolist(), strict=True):
            np.multiply(z[:, None], z, out=step)
            gram += step
            np.multiply(z, label, out=moved)
            moment += moved
        arrays["rows"][0] += len(rows)
        self.touch()

    def model(self) -> LinearModel:
        """The best fit of all rows so far, the prior among them."""
        weights = np.linalg.solve(self.arrays["gram"], self.arrays["moment"])
        mean, scale = self.arrays["mean"].copy(), self.arrays["scale"].copy()
        return LinearModel(weights[:-1, None].copy(), weights[-1:].copy(), mean, scale, "identity", self._columns)
