"""flow.deciding: which model answers each row, and its answer. enrich → *deciding* → emitting.

(steps 5 and 6 in the life of an event)

The draw is a function of the policy's seed and the decision's id, the propensities of the policy's version: a row that is read
again is decided again in the same way. A model that raises gets its batch back in halves until the row at fault is alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream_infer.batching import cut
from stream_infer.decide.policy import ArmStats, draw, propensities
from stream_infer.decide.where import rows as where_rows
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.commands import Command, Forward
from stream_infer.flow.enrich import Flowing, as_text
from stream_infer.flow.versions import VersionTable
from stream_infer.hashing import hash64, uniform
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Ints, Matrix, Numbers, Text
from stream_infer.topology.plan import DecideStep, StreamPlan

ROWS_MAX = 1024  # of one forward pass when nothing else is said: past the knee of every small net (a/b ≈ 100 rows)


@dataclass(slots=True)
class Choice:
    """Rows being answered. arm, propensity: per row; shares: float64[arms]; outputs: model → float64[rows, outputs], NaN where not run."""

    flowing: Flowing
    ids: Text
    arm: Ints
    propensity: Floats
    shares: Floats
    policy_version: int
    versions: dict[str, tuple[int, str]]
    outputs: dict[str, Floats] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    open: dict[int, tuple[str, Ints]] = field(default_factory=dict)
    matrices: dict[str, Matrix] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arm)


class Decider:
    """One decide step. next_job: gives a number never given before."""

    def __init__(
        self, step: DecideStep, stream: StreamPlan, models: dict[str, ModelSettings], versions: VersionTable, next_job: Callable[[], int]
    ) -> None:
        self.step, self._stream, self._models, self._versions, self._next_job = step, stream, models, versions, next_job
        self.vectorisers = {name: Vectoriser(models[name].inputs) for name in dict.fromkeys(step.arms + step.shadows)}
        self._shares: tuple[int, Floats] | None = None
        self.choice: Choice | None = None
        self.left_out: Flowing | None = None  # rows of the chunk that `where` left out

    def begin(self, flowing: Flowing) -> list[Command]:
        """Decide for the rows that pass `where` and ask the models."""
        self.choice = None
        if self.step.where is not None:
            wanted = where_rows(self.step.where, flowing.columns)
            self.left_out = flowing.take(~wanted) if not wanted.all() else None
            flowing = flowing.take(wanted)
        if not len(flowing):
            return []
        ids = self.ids(flowing)
        version, shares = self._policy()
        arm = draw(shares, uniform(hash64(ids), self.step.policy.seed))
        current = {name: self._versions.current(name) for name in self.vectorisers}
        self.choice = Choice(flowing, ids, arm, shares[arm], shares, version, current)
        commands: list[Command] = []
        for name in self.vectorisers:
            commands += self._ask(self.choice, name)
        return commands

    def ids(self, flowing: Flowing) -> Text:
        """The ids of the rows: their own, or their address."""
        if self._stream.id is not None:
            column = flowing.columns[self._stream.id]
            if isinstance(column, Text):
                return column
            assert isinstance(column, Numbers)
            return Text.of(str(value) for value in column.values.tolist())
        places = zip(flowing.partition.tolist(), flowing.offsets.tolist(), strict=True)
        return Text.of(f"{flowing.topic}-{partition}-{offset}" for partition, offset in places)

    def _policy(self) -> tuple[int, Floats]:
        """The policy's version and its exact propensities, computed once per version."""
        version, payload = self._versions.payload(self.step.name)
        if self._shares is None or self._shares[0] != version:
            stats = ArmStats.from_bytes(payload) if payload else ArmStats.zeros(len(self.step.arms))
            self._shares = (version, propensities(self.step.policy, stats))
        return self._shares

    def _ask(self, choice: Choice, model: str) -> list[Command]:
        matrix = self.vectorisers[model].matrix(choice.flowing.columns)
        choice.matrices[model] = matrix
        wanted = np.zeros(len(choice), dtype=np.bool_)
        if model in self.step.shadows:
            wanted[:] = True
        if model in self.step.arms:
            wanted |= choice.arm == self.step.arms.index(model)
        incomplete = wanted & self.vectorisers[model].incomplete(matrix)
        for row in np.flatnonzero(incomplete).tolist():
            self._fault(choice, model, row, self._gap(model, matrix[row]))
        rows = np.flatnonzero(wanted & ~incomplete)
        size = self._models[model].batch.rows_max or ROWS_MAX
        parts = np.split(rows, np.cumsum(cut(len(rows), size))[:-1]) if len(rows) else []
        return [self._forward(choice, model, part) for part in parts]

    def _gap(self, model: str, row: Matrix) -> str:
        column = self._models[model].columns()[int(np.flatnonzero(np.isnan(row))[0])]
        return f"model {model}: input `{column}` is absent; give it a value with `{{name: {column}, missing: 0}}`"

    def _forward(self, choice: Choice, model: str, rows: Ints) -> Forward:
        job = self._next_job()
        choice.open[job] = (model, rows)
        return Forward(job, model, choice.versions[model][0], choice.matrices[model][rows])

    def _fault(self, choice: Choice, model: str, row: int, reason: str) -> None:
        """Only the model that was to answer can spoil a row; a shadow leaves no mark instead."""
        if model in self.step.arms and self.step.arms[choice.arm[row]] == model:
            choice.faults[row] = reason

    def done(self, job: int, outputs: Floats) -> list[Command]:
        """A forward pass ended; answers that are not finite spoil their own row only."""
        choice = self._open()
        model, rows = choice.open.pop(job)
        if outputs.ndim != 2 or len(outputs) != len(rows):
            return self._again(
                choice, model, rows, f"model {model}: got an answer of shape {outputs.shape}, expected ({len(rows)}, outputs)"
            )
        into = choice.outputs.get(model)
        if into is None:
            into = choice.outputs[model] = np.full((len(choice), outputs.shape[1]), np.nan)
        if into.shape[1] != outputs.shape[1]:
            return self._again(choice, model, rows, f"model {model}: got {outputs.shape[1]} outputs, expected {into.shape[1]} as before")
        into[rows] = outputs
        for place in np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist():
            column = int(np.flatnonzero(~np.isfinite(outputs[place]))[0])
            row = int(rows[place])
            into[row] = np.nan
            self._fault(choice, model, row, f"model {model} gave {outputs[place, column]} in output {column}")
        return []

    def failed(self, job: int, reason: str) -> list[Command]:
        """A forward pass raised: halve the batch until the row at fault is alone."""
        choice = self._open()
        model, rows = choice.open.pop(job)
        return self._again(choice, model, rows, f"model {model}: {reason}")

    def _again(self, choice: Choice, model: str, rows: Ints, reason: str) -> list[Command]:
        if len(rows) == 1:
            self._fault(choice, model, int(rows[0]), reason)
            return []
        middle = len(rows) // 2
        return [self._forward(choice, model, rows[:middle]), self._forward(choice, model, rows[middle:])]

    def _open(self) -> Choice:
        assert self.choice is not None, "an answer without a question"
        return self.choice

    def key_column(self) -> str | None:
        """The column of the flowing rows that keys the predictions."""
        return self._stream.key


def answer_keys(choice: Choice, key: str | None) -> Text:
    """The record keys of predictions: the rows' own, or their ids."""
    return choice.ids if key is None else as_text(choice.flowing.columns[key])
