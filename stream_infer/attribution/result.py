"""attribution.result: attributions of many answers, and how they travel in the place of an answer. methods → *result* → flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.attribution.settings import METHODS
from stream_infer.records import Floats

UNITS = ("answer", "log_odds")  # what is attributed: the output itself, or the score of a logistic link before the link
TAIL = 4  # columns behind the attributions: baseline, value, method, unit


@dataclass(frozen=True, eq=False)
class Attributions:
    """Of n answers. parts: float64[n, groups of columns]; value, baseline: float64[n], of the row and of the baseline, in `unit`."""

    method: str
    unit: str
    parts: Floats
    value: Floats
    baseline: Floats

    @property
    def error(self) -> Floats:
        """float64[n]: what the parts leave unexplained of value less baseline."""
        left: Floats = self.value - self.baseline - self.parts.sum(axis=1)
        return left

    def to_matrix(self) -> Floats:
        """float64[n, groups + TAIL]."""
        out = np.empty((len(self.parts), self.parts.shape[1] + TAIL))
        out[:, :-TAIL] = self.parts
        out[:, -4], out[:, -3] = self.baseline, self.value
        out[:, -2], out[:, -1] = METHODS.index(self.method), UNITS.index(self.unit)
        return out

    @staticmethod
    def from_matrix(matrix: Floats) -> Attributions:
        """Undo to_matrix(), of at least one row."""
        method, unit = METHODS[int(matrix[0, -2])], UNITS[int(matrix[0, -1])]
        return Attributions(method, unit, matrix[:, :-TAIL], matrix[:, -3], matrix[:, -4])
