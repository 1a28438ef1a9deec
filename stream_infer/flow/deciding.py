"""flow.deciding: which model answers each row, and its answer. enrich → *deciding* → emitting.

(steps 5 and 6 in the life of an event)

The draw is a function of the policy's seed and the decision's id, the propensities of the policy's version: a row that is read
again is decided again in the same way. A model that raises gets its batch back in halves until the row at fault is alone.

A row whose deadline (event time + deadline_ms) is over when it comes here is late. There is no wall clock in a deterministic run, so
there nothing is ever late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.batching.cutting import at_sizes, by_cost, cut, in_buckets
from stream_infer.decide.policy import ArmStats, draw, propensities
from stream_infer.decide.where import rows as where_rows
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow import repeating
from stream_infer.flow.commands import Command, Forward, Together
from stream_infer.flow.enrich import Flowing, as_text, row_ids
from stream_infer.flow.repeating import Told
from stream_infer.flow.versions import VersionTable
from stream_infer.hashing import hash64, uniform
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Matrix, Numbers, Text
from stream_infer.topology.plan import DecideStep, StreamPlan

COST_MAX = 1e15  # of one row: sums stay exact, and what is no number cannot spoil its neighbours


@dataclass(slots=True)
class Choice:
    """Rows being answered. arm, propensity: per row; shares: float64[arms]; outputs: model → float64[rows, outputs], NaN where not run.

    open: job → model and rows of a pass that has not ended. passes: those that have, with their place (notices.ForwardDone).
    wall_ms: the clock that deadlines were measured against, None where there are none.
    """

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
    passes: list[tuple[str, Ints, tuple[int, int] | None]] = field(default_factory=list)
    wall_ms: int | None = None

    def __len__(self) -> int:
        return len(self.arm)


class Decider:
    """One decide step. next_job: gives a number never given before; sizing: of the process, shared by all its tasks.

    choices: whose passes have not all ended, in the order in which they began. recorded: where a chunk is worked through again, the
    passes that it had.
    """

    def __init__(
        self,
        step: DecideStep,
        stream: StreamPlan,
        models: dict[str, ModelSettings],
        versions: VersionTable,
        next_job: Callable[[], int],
        sizing: Sizing | None = None,
    ) -> None:
        self.step, self._stream, self._models, self._versions, self._next_job = step, stream, models, versions, next_job
        self._sizing = sizing or Sizing({name: model.batch for name, model in models.items()}, live=False)
        self.vectorisers = {name: Vectoriser(models[name].inputs) for name in dict.fromkeys(step.arms + step.shadows)}
        self._shares: tuple[int, Floats] | None = None
        self.shares_now: Callable[[], tuple[int, Floats]] | None = None  # of a split or canary
        self.choices: list[Choice] = []
        self.recorded: Told | None = None

    def begin(self, flowing: Flowing) -> tuple[Choice | None, Flowing | None, list[Command]]:
        """Decide for the rows that pass `where` and ask the models; the rows that are left out come back as well."""
        late = self._late(flowing)
        wanted = np.ones(len(flowing), dtype=np.bool_) if self.step.where is None else where_rows(self.step.where, flowing.columns)
        late &= wanted
        deadline = self.step.deadline
        if deadline is not None and late.any():
            self._sizing.count_late(self.step.name, deadline.late, int(np.count_nonzero(late)))
            if deadline.late == "drop":
                wanted &= ~late
        left_out = None
        if not wanted.all():
            left_out = flowing.take(~wanted)
            flowing, late = flowing.take(wanted), late[wanted]
        if not len(flowing):
            return None, left_out, []
        ids = self.ids(flowing)
        version, shares = self._policy()
        arm = draw(shares, uniform(hash64(self._drawn_by(flowing, ids)), self.step.policy.seed))
        current = {name: self._versions.current(name) for name in self.vectorisers}
        choice = Choice(flowing, ids, arm, shares[arm], shares, version, current)
        choice.wall_ms = self._sizing.wall_ms if deadline is not None else None
        self._treat_late(choice, late)
        slack_ms = self._slack_ms(flowing)
        commands: list[Command] = []
        for name in self.vectorisers:
            commands += self._ask(choice, name, slack_ms)
        if choice.open:
            self.choices.append(choice)
        return choice, left_out, commands

    def _late(self, flowing: Flowing) -> Bools:
        """bool[rows]: their deadline is over."""
        now = self._sizing.wall_ms
        if self.step.deadline is None or now is None:
            return np.zeros(len(flowing), dtype=np.bool_)
        late: Bools = flowing.times + self.step.deadline.after_ms < now
        return late

    def _slack_ms(self, flowing: Flowing) -> float | None:
        """Time until the first deadline that can still be met; None where there is none. A clock ahead of ours gains nothing by it."""
        now, deadline = self._sizing.wall_ms, self.step.deadline
        if deadline is None or now is None:
            return None
        due = flowing.times[flowing.times + deadline.after_ms >= now]
        return float(min(int(due.min()) - now, 0) + deadline.after_ms) if len(due) else None

    def _treat_late(self, choice: Choice, late: Bools) -> None:
        """Late rows become rejects, or are answered by the fallback, which is the last arm and which no draw gives."""
        deadline, now = self.step.deadline, self._sizing.wall_ms
        if deadline is None or now is None or not late.any():
            return
        if deadline.late == "fallback":
            choice.arm[late] = len(self.step.arms) - 1
            choice.propensity = choice.propensity.copy()
            choice.propensity[late] = 1.0
        elif deadline.late == "topic":
            over = now - choice.flowing.times - deadline.after_ms
            choice.faults |= {row: f"late by {over[row]} ms" for row in np.flatnonzero(late).tolist()}

    def ids(self, flowing: Flowing) -> Text:
        """The ids of the rows: their own, or their address."""
        return row_ids(self._stream, flowing)

    def _drawn_by(self, flowing: Flowing, ids: Text) -> Text:
        """What the draw is a function of."""
        by = self.step.policy.by
        return ids if by is None else as_text(flowing.columns[by])

    def _policy(self) -> tuple[int, Floats]:
        """The policy's version and its exact propensities, computed once per version."""
        if self.shares_now is not None:
            return self.shares_now()
        version, payload = self._versions.payload(self.step.name)
        if self._shares is None or self._shares[0] != version:
            stats = ArmStats.from_bytes(payload) if payload else ArmStats.zeros(len(self.step.arms))
            self._shares = (version, propensities(self.step.policy, stats))
        return self._shares

    def _ask(self, choice: Choice, model: str, slack_ms: float | None) -> list[Command]:
        wanted = np.zeros(len(choice), dtype=np.bool_)
        if model in self.step.shadows:
            wanted[:] = True
        if model in self.step.arms:
            wanted |= choice.arm == self.step.arms.index(model)
        if self.step.deadline is not None and choice.faults:  # so far only rows that came too late to be answered
            wanted[list(choice.faults)] = False
        if not wanted.any():
            return []
        matrix = choice.matrices[model] = self.vectorisers[model].matrix(choice.flowing.columns)
        incomplete = wanted & self.vectorisers[model].incomplete(matrix)
        for row in np.flatnonzero(incomplete).tolist():
            self._fault(choice, model, row, f"model {model}: {self.vectorisers[model].gap(choice.flowing.columns, matrix, row)}")
        rows = np.flatnonzero(wanted & ~incomplete)
        if not len(rows):
            return []
        limit, why = self._sizing.together(model, slack_ms)
        parts = self._parts(choice, model, rows)
        return [self._forward(choice, model, part, self._together(choice, model, part, limit, why, slack_ms)) for part in parts]

    def _parts(self, choice: Choice, model: str, rows: Ints) -> list[Ints]:
        """The rows of each pass."""
        batch, largest = self._models[model].batch, self._sizing.rows(model)
        if self.recorded is not None:
            cost = costs(choice.flowing.columns[batch.cost])[rows] if batch.cost is not None else np.zeros(len(rows))
            return repeating.parts(rows, np.searchsorted(batch.buckets, cost), self.recorded.get(model, ()))
        if batch.sizes:
            sizes = at_sizes(len(rows), [s for s in batch.sizes if s <= largest], lambda count: self._sizing.seconds(model, count))
        elif batch.cost is None:
            sizes = cut(len(rows), largest)
        else:
            cost = costs(choice.flowing.columns[batch.cost])[rows]
            if batch.buckets:
                return [rows[part] for part in in_buckets(cost, batch.buckets, largest, batch.cost_max or COST_MAX)]
            sizes = by_cost(cost, largest, batch.cost_max or COST_MAX)
        return np.split(rows, np.cumsum(sizes)[:-1])

    def _together(self, choice: Choice, model: str, rows: Ints, limit: int, why: str, slack_ms: float | None) -> Together | None:
        """With how many rows of other tasks a pass may be shared; with none in a deterministic run: who else waits is a matter of speed."""
        batch = self._models[model].batch
        if not self._sizing.live or batch.buckets:
            return None
        if batch.cost is None or batch.cost_max is None:
            return Together(limit, why, slack_ms)
        cost = float(costs(choice.flowing.columns[batch.cost].take(rows)).sum())
        return Together(limit, why, slack_ms, cost, batch.cost_max)

    def _forward(self, choice: Choice, model: str, rows: Ints, together: Together | None = None) -> Forward:
        job = self._next_job()
        choice.open[job] = (model, rows)
        place = repeating.place(rows, self.recorded.get(model, ())) if self.recorded is not None else None
        sizes = self._models[model].batch.sizes
        return Forward(job, model, choice.versions[model][0], choice.matrices[model][rows], together, sizes, place)

    def _fault(self, choice: Choice, model: str, row: int, reason: str) -> None:
        """Only the model that was to answer can spoil a row; a shadow leaves no mark instead."""
        if model in self.step.arms and self.step.arms[choice.arm[row]] == model:
            choice.faults[row] = reason

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None = None) -> list[Command]:
        """A forward pass ended; answers that are not finite spoil their own row only."""
        choice, model, rows = self._ended(job)
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
        choice.passes.append((model, rows, place))
        for spoiled in np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist():
            column = int(np.flatnonzero(~np.isfinite(outputs[spoiled]))[0])
            row = int(rows[spoiled])
            into[row] = np.nan
            self._fault(choice, model, row, f"model {model} gave {outputs[spoiled, column]} in output {column}")
        return []

    def failed(self, job: int, reason: str) -> list[Command]:
        """A forward pass raised: halve the batch until the row at fault is alone."""
        choice, model, rows = self._ended(job)
        return self._again(choice, model, rows, f"model {model}: {reason}")

    def _again(self, choice: Choice, model: str, rows: Ints, reason: str) -> list[Command]:
        if len(rows) == 1:
            self._fault(choice, model, int(rows[0]), reason)
            return []
        middle = len(rows) // 2
        return [self._forward(choice, model, rows[:middle]), self._forward(choice, model, rows[middle:])]

    def _ended(self, job: int) -> tuple[Choice, str, Ints]:
        """Whose pass this was."""
        choice = next((c for c in self.choices if job in c.open), None)
        assert choice is not None, "an answer without a question"
        model, rows = choice.open.pop(job)
        return choice, model, rows

    def close(self, choice: Choice) -> None:
        """All passes of this choice have ended."""
        assert not choice.open, "a choice closed before its models answered"
        self.choices = [other for other in self.choices if other is not choice]

    def key_column(self) -> str | None:
        """The column of the flowing rows that keys the predictions."""
        return self._stream.key


def answer_keys(choice: Choice, key: str | None) -> Text:
    """The record keys of predictions: the rows' own, or their ids."""
    return choice.ids if key is None else as_text(choice.flowing.columns[key])


def costs(column: Column) -> Floats:
    """float64[n], not negative: the numbers, or the lengths of the lists; 0 where there is none."""
    made = column.size.astype(np.float64) if isinstance(column, Lists) else np.zeros(len(column))
    if isinstance(column, Numbers):
        made = column.floats()
    return np.clip(np.nan_to_num(made), 0.0, COST_MAX)
