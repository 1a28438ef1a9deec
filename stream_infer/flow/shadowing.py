"""flow.shadowing: a model that never answers is asked about a share of the answered rows, and what it says goes to a topic of its own.
deciding → *shadowing* → answering.

Which rows is a function of their ids. They are asked after the answers are known, in passes of their own, so that nothing here spoils or
changes an answer; the chunk waits for them, for what the shadow says commits with the answers it stands beside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream_infer.codec.internal import SHADOW
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.decide.graph import Graph
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.answers import Answers
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Forward, Produce
from stream_infer.hashing import hash64, hash64_bytes, uniform
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Matrix, Numbers, Text
from stream_infer.topology.plan import DecideStep, Plan, ShadowStep

ROWS_AT_ONCE = 512  # of a pass, where the model names no bound: whoever waits for the same model waits no longer than for a small chunk


@dataclass(slots=True)
class Shadowed:
    """Rows of one choice that a shadow sees. rows: ascending; outputs: float64[rows, outputs], NaN where there are none (yet).

    open: job → places in rows; faults: place → why there is no answer.
    """

    rows: Ints
    version: tuple[int, str]
    matrix: Matrix
    outputs: Floats | None = None
    open: dict[int, Ints] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


class Shadowing:
    """One shadow step of a task. decide: beside whose answers; version: of the model, as it would answer now."""

    def __init__(
        self,
        plan: Plan,
        step: ShadowStep,
        decide: DecideStep,
        next_job: Callable[[], int],
        version: Callable[[str], tuple[int, str]],
        into: int | None,
    ) -> None:
        self.step, self._next_job, self._version, self._into = step, next_job, version, into
        self._model = plan.models[step.model]
        self._vectoriser = Vectoriser(self._model.inputs)
        self._seed = hash64_bytes(step.name.encode())
        self._answers = Answers(decide, Graph.of(decide.arms + decide.shadows, plan.models, plan.composed))
        stream = plan.streams[step.to]
        self._topic = stream.topic
        self._encoder = RowEncoder(parse_schema(SHADOW), stream.format, stream.framing)

    def begin(self, choice: Choice, ok: Bools) -> tuple[Shadowed | None, list[Command]]:
        """Ask about the rows that are drawn. ok: bool[rows], which have an answer."""
        rows = np.flatnonzero(ok & (uniform(hash64(choice.ids), self._seed) < self.step.share))
        if not len(rows):
            return None, []
        columns = {name: column.take(rows) for name, column in choice.flowing.columns.items()}
        shadowed = Shadowed(rows, self._version(self.step.model), self._vectoriser.matrix(columns))
        incomplete = self._vectoriser.incomplete(shadowed.matrix)
        for place in np.flatnonzero(incomplete).tolist():
            shadowed.faults[place] = self._vectoriser.gap(columns, shadowed.matrix, place)
        batch = self._model.batch
        most = batch.sizes[-1] if batch.sizes else batch.rows_max or ROWS_AT_ONCE
        places = np.flatnonzero(~incomplete)
        return shadowed, [self._forward(shadowed, places[at : at + most]) for at in range(0, len(places), most)]

    def _forward(self, shadowed: Shadowed, places: Ints) -> Forward:
        job = self._next_job()
        shadowed.open[job] = places
        return Forward(job, self.step.model, shadowed.version[0], shadowed.matrix[places], None, self._model.batch.sizes)

    def done(self, shadowed: Shadowed, job: int, outputs: Floats) -> list[Command]:
        """The shadow spoke; what is not finite is no answer."""
        places = shadowed.open.pop(job)
        if outputs.ndim != 2 or len(outputs) != len(places) or not outputs.shape[1]:
            return self._again(shadowed, places, f"an answer of shape {outputs.shape}, expected ({len(places)}, outputs)")
        if shadowed.outputs is None:
            shadowed.outputs = np.full((len(shadowed.rows), outputs.shape[1]), np.nan)
        finite = np.isfinite(outputs).all(axis=1)
        shadowed.outputs[places[finite]] = outputs[finite]
        shadowed.faults |= dict.fromkeys(places[~finite].tolist(), "the answer is not finite")
        return []

    def failed(self, shadowed: Shadowed, job: int, reason: str) -> list[Command]:
        """A pass raised."""
        return self._again(shadowed, shadowed.open.pop(job), reason)

    def _again(self, shadowed: Shadowed, places: Ints, reason: str) -> list[Command]:
        """Halve the part until the row at fault is alone."""
        if len(places) == 1:
            shadowed.faults[int(places[0])] = reason
            return []
        middle = len(places) // 2
        return [self._forward(shadowed, places[:middle]), self._forward(shadowed, places[middle:])]

    def emit(self, shadowed: Shadowed, choice: Choice, ok: Bools) -> list[Produce]:
        """One record per drawn row that still has an answer, beside which it stands."""
        assert not shadowed.open, "a shadow is told before it spoke"
        kept = np.flatnonzero(ok[shadowed.rows])
        if not len(kept):
            return []
        count = len(shadowed.rows)
        outputs = shadowed.outputs if shadowed.outputs is not None else np.full((count, 1), np.nan)
        there = ~np.isnan(outputs[:, 0])
        lists = Lists.of_matrix(np.nan_to_num(outputs))
        self._answers.take(choice, shadowed.rows, count, np.zeros(0, dtype=np.int64), 0)
        columns: dict[str, Column] = {name: self._answers.column(name) for name in ("prediction_id", "event_time", "stage")}
        columns |= {
            "shadow": Text.of([self.step.model] * count),
            "shadow_version": Text.of([shadowed.version[1]] * count),
            "shadow_answer": Numbers(np.nan_to_num(outputs[:, 0]), there),
            "shadow_outputs": Lists(lists.items, lists.start, np.where(there, lists.size, 0)),
            "fault": Text.of(shadowed.faults.get(place) for place in range(count)),
            "model": self._answers.column("model"),
            "model_version": self._answers.column("model_version"),
            "answer": self._answers.column("answer"),
        }
        values = self._encoder.encode({name: column.take(kept) for name, column in columns.items()})
        return [Produce(self._topic, self._into, choice.ids.take(shadowed.rows[kept]), values)]
