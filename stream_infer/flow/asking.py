"""flow.asking: forward passes of one model over rows of a choice: cut, asked, halved where one raises. deciding → *asking* → edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.batching.cutting import at_sizes, by_cost, cut, in_buckets
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow import repeating
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.versions import VersionTable
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Matrix, Numbers

ROWS_ALONE = 512  # of a pass in the shadow, where the model names no bound: others wait for it no longer than for a small chunk
COST_MAX = 1e15  # of one row: sums stay exact, and what is no number cannot spoil its neighbours


class Asking:
    """The models of one decide step that run forward passes. names: the model of each node of the graph; next_job: gives a number never
    given before; alone: no pass is shared with rows of other tasks.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        models: Mapping[str, ModelSettings],
        versions: VersionTable,
        next_job: Callable[[], int],
        sizing: Sizing,
        *,
        alone: bool = False,
    ) -> None:
        self._models, self._versions, self._next_job, self._sizing = models, versions, next_job, sizing
        self._names, self._alone = names, alone
        self.vectorisers = {name: Vectoriser(models[name].inputs) for name in dict.fromkeys(names.values())}

    def ask(self, choice: Choice, key: str, wanted: Bools, slack_ms: float | None) -> list[Forward]:
        """Passes over the rows that are wanted; a row whose inputs are incomplete is at fault. key: of the node."""
        if not wanted.any():
            return []
        model = self._names[key]
        matrix = choice.matrices[key] = self._matrix(choice, model)
        incomplete = self.vectorisers[model].incomplete(matrix)
        rows = np.flatnonzero(wanted & ~incomplete)
        if len(rows) < len(choice):
            for row in np.flatnonzero(wanted & incomplete).tolist():
                choice.said[key].faults[row] = f"model {model}: {self._gap(choice, model, matrix, row)}"
            if not len(rows):
                return []
        limit, why = self._sizing.together(model, slack_ms)
        parts = self._parts(choice, model, rows)
        return [self._forward(choice, key, part, self._together(choice, model, part, limit, why, slack_ms)) for part in parts]

    def _matrix(self, choice: Choice, model: str) -> Matrix:
        """What the model reads of all rows of the choice."""
        return self.vectorisers[model].matrix(choice.columns)

    def _gap(self, choice: Choice, model: str, matrix: Matrix, row: int) -> str:
        """Why a row is incomplete."""
        return self.vectorisers[model].gap(choice.columns, matrix, row)

    def _parts(self, choice: Choice, model: str, rows: Ints) -> list[Ints]:
        """The rows of each pass."""
        batch, largest = self._models[model].batch, self._sizing.rows(model)
        if self._alone and batch.rows_max is None and not batch.sizes:
            largest = min(largest, ROWS_ALONE)
        if choice.told is not None:
            cost = costs(choice.flowing.columns[batch.cost])[rows] if batch.cost is not None else np.zeros(len(rows))
            return repeating.parts(rows, np.searchsorted(batch.buckets, cost), choice.told.passes.get(model, ()))
        if batch.sizes:
            sizes = at_sizes(len(rows), [s for s in batch.sizes if s <= largest], lambda count: self._sizing.seconds(model, count))
        elif batch.cost is None:
            sizes = cut(len(rows), largest)
        else:
            cost = costs(choice.flowing.columns[batch.cost])[rows]
            if batch.buckets:
                return [rows[part] for part in in_buckets(cost, batch.buckets, largest, batch.cost_max or COST_MAX)]
            sizes = by_cost(cost, largest, batch.cost_max or COST_MAX)
        return [rows] if len(sizes) == 1 else np.split(rows, np.cumsum(sizes)[:-1])

    def _together(self, choice: Choice, model: str, rows: Ints, limit: int, why: str, slack_ms: float | None) -> Together | None:
        """With how many rows of other tasks a pass may be shared; with none in a deterministic run: who else waits is a matter of speed."""
        batch = self._models[model].batch
        if not self._sizing.live or self._alone or batch.buckets:
            return None
        if batch.cost is None or batch.cost_max is None:
            return Together(limit, why, slack_ms)
        cost = float(costs(choice.flowing.columns[batch.cost].take(rows)).sum())
        return Together(limit, why, slack_ms, cost, batch.cost_max)

    def _forward(self, choice: Choice, key: str, rows: Ints, together: Together | None = None) -> Forward:
        job, model = self._next_job(), self._names[key]
        choice.open[job] = (key, rows)
        choice.said[key].open += 1
        place = repeating.place(rows, choice.told.passes.get(model, ())) if choice.told is not None else None
        settings, matrix = self._models[model], choice.matrices[key]
        matrix = matrix.copy() if len(rows) == len(matrix) else matrix[rows]
        at_ms = int(choice.flowing.times[rows].max()) if settings.cache is not None else 0
        return Forward(job, model, choice.versions[model][0], matrix, together, settings.batch.sizes, place, at_ms=at_ms)

    def done(self, choice: Choice, key: str, rows: Ints, outputs: Floats, place: tuple[int, int] | None) -> list[Forward]:
        """A forward pass ended; answers that are not finite spoil their own row only. place: as notices.ForwardDone has it."""
        model = self._names[key]
        if outputs.ndim != 2 or len(outputs) != len(rows) or not outputs.shape[1]:
            return self._again(choice, key, rows, f"model {model}: got an answer of shape {outputs.shape}, expected ({len(rows)}, outputs)")
        said = choice.said[key]
        # As wide as when it was loaded: of two widths in one chunk, the first to come is not for that the right one.
        known = self._versions.outputs(model) if choice.versions[model][0] == 0 else 0
        width = known or (outputs if said.outputs is None else said.outputs).shape[1]
        if width != outputs.shape[1]:
            return self._again(choice, key, rows, f"model {model}: got {outputs.shape[1]} outputs, expected {width} as before")
        if said.outputs is None and len(rows) == len(choice):
            said.outputs = choice.outputs[key] = np.array(outputs, dtype=np.float64)
        else:
            if said.outputs is None:
                said.outputs = choice.outputs[key] = np.full((len(choice), width), np.nan)
            said.outputs[rows] = outputs
        choice.passes.append((model, rows, place))
        finite = np.isfinite(outputs)
        for spoiled in [] if finite.all() else np.flatnonzero(~finite.all(axis=1)).tolist():
            column = int(np.flatnonzero(~np.isfinite(outputs[spoiled]))[0])
            row = int(rows[spoiled])
            said.outputs[row] = np.nan
            said.faults[row] = f"model {model} gave {outputs[spoiled, column]} in output {column}"
        return []

    def failed(self, choice: Choice, key: str, rows: Ints, reason: str) -> list[Forward]:
        """A pass raised."""
        return self._again(choice, key, rows, f"model {self._names[key]}: {reason}")

    def _again(self, choice: Choice, key: str, rows: Ints, reason: str) -> list[Forward]:
        """Halve a pass until the row at fault is alone."""
        if len(rows) == 1:
            choice.said[key].faults[int(rows[0])] = reason
            return []
        middle = len(rows) // 2
        return [self._forward(choice, key, rows[:middle]), self._forward(choice, key, rows[middle:])]

    def open(self, choice: Choice) -> list[tuple[int, str]]:
        """(job, model) of the passes that have not ended."""
        return [(job, self._names[key]) for job, (key, _) in choice.open.items()]


def costs(column: Column) -> Floats:
    """float64[n], not negative: the numbers, or the lengths of the lists; 0 where there is none."""
    made = column.size.astype(np.float64) if isinstance(column, Lists) else np.zeros(len(column))
    if isinstance(column, Numbers):
        made = column.floats()
    return np.clip(np.nan_to_num(made), 0.0, COST_MAX)
