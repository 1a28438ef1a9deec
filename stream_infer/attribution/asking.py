"""attribution.asking: perturbed rows of many predictions go through a model together. coalitions → *asking* → attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.batching.cutting import padded
from stream_infer.models.base import Model, model_error
from stream_infer.records import Bools, Floats, Ints, Matrix

ROWS_AT_ONCE = 4096  # of perturbed rows in one pass: as many as the largest batch has


@dataclass(frozen=True, eq=False)
class Asking:
    """One output of a model, asked about rows. rows_at_once: the most in one pass; sizes: as in flow.commands.Forward."""

    model: Model
    output: int = 0
    rows_at_once: int = ROWS_AT_ONCE
    sizes: tuple[int, ...] = ()

    def of(self, x: Matrix) -> Floats:
        """x: float32[n, k] → float64[n]. ModelError where an answer is not finite."""
        out = np.empty(len(x))
        for at, stop in self.passes(len(x)):
            part = x[at:stop]
            filled = padded(len(part), self.sizes) - len(part)
            answers = self.model.forward(np.concatenate([part, np.zeros((filled, x.shape[1]), dtype=x.dtype)]) if filled else part)
            out[at:stop] = answers[: len(part), self.output]
        bad = np.flatnonzero(~np.isfinite(out))
        if len(bad):
            what = "a perturbed row gives an answer that is not finite"
            raise model_error(what, "explanation", got=str(out[bad[0]]), expected="a finite number", fix="choose another baseline")
        return out

    def passes(self, rows: int) -> Iterator[tuple[int, int]]:
        """Where each pass begins and ends."""
        most = max([size for size in self.sizes if size <= self.rows_at_once], default=self.sizes[0] if self.sizes else self.rows_at_once)
        for at in range(0, rows, most):
            yield at, min(at + most, rows)

    def of_masks(self, x: Matrix, baseline: Matrix, masks: Sequence[Bools], starts: Ints) -> list[Floats]:
        """What the model says of each row where only some inputs are the row's and the others the baseline's.

        x: float32[n, k]; masks: of each row bool[samples, groups], True: the row's; starts: first column of each group. Gives per row
        float64[samples]. Passes are shared by the rows and hold few perturbed rows at once, however many there are.
        """
        widths = np.diff(np.append(starts, x.shape[1]))
        out: list[Floats] = []
        places = np.cumsum([0, *(len(mask) for mask in masks)])
        first = 0
        while first < len(masks):
            last = max(int(np.searchsorted(places, places[first] + self.rows_at_once, side="right")) - 1, first + 1)
            rows = [np.where(np.repeat(mask, widths, axis=1), x[i], baseline) for i, mask in enumerate(masks[first:last], first)]
            answers = self.of(np.concatenate(rows))
            out += np.split(answers, places[first + 1 : last] - places[first])
            first = last
        return out
