"""flow.shadowing: a model that never answers is asked about a share of the answered rows, and what it says goes to a topic of its own.
deciding → *shadowing* → answering.

Which rows is a function of their ids. They are asked after the answers are known, in passes of their own, so that nothing here spoils or
changes an answer; the chunk waits for them, for what the shadow says commits with the answers it stands beside. A shadow is a decide step
whose only arm is the model, so it may be made of other models as an arm may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.codec.internal import SHADOW
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.decide.graph import Graph
from stream_infer.decide.settings import PolicySettings
from stream_infer.flow.answers import Answers
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.deciding import Decider
from stream_infer.flow.versions import VersionTable
from stream_infer.hashing import hash64, hash64_bytes, uniform
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Numbers, Text
from stream_infer.topology.plan import DecideStep, Plan, ShadowStep


@dataclass(slots=True)
class Shadowed:
    """Rows of one choice that a shadow sees. rows: ascending; choice: what it says of them."""

    rows: Ints
    choice: Choice


class Shadowing:
    """One shadow step of a task. decide: beside whose answers; stream: of the rows; sizing: as Decider has it."""

    def __init__(
        self,
        plan: Plan,
        step: ShadowStep,
        decide: DecideStep,
        stream: str,
        next_job: Callable[[], int],
        versions: VersionTable,
        sizing: Sizing | None,
        into: int | None,
    ) -> None:
        self.step, self._into = step, into
        alone = DecideStep(step.name, (step.model,), PolicySettings("fixed"))
        self._decider = Decider(alone, plan.streams[stream], plan.models, versions, next_job, sizing, plan.composed, alone=True)
        self._seed = hash64_bytes(step.name.encode())
        self._answers = Answers(decide, Graph.of(decide.arms + decide.shadows, plan.models, plan.composed))
        to = plan.streams[step.to]
        self._topic = to.topic
        self._encoder = RowEncoder(parse_schema(SHADOW), to.format, to.framing)

    def begin(self, choice: Choice, ok: Bools) -> tuple[Shadowed | None, list[Command]]:
        """Ask about the rows that are drawn. ok: bool[rows], which have an answer."""
        rows = np.flatnonzero(ok & (uniform(hash64(choice.ids), self._seed) < self.step.share))
        if not len(rows):
            return None, []
        mine, _, commands = self._decider.begin(choice.flowing.take(rows))
        assert mine is not None, "rows without a choice"
        return Shadowed(rows, mine), commands

    def asked(self, job: int) -> bool:
        """Whether that pass was for this shadow."""
        return self._decider.asked(job)

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """A pass ended."""
        return self._decider.done(job, outputs, place)

    def failed(self, job: int, reason: str) -> list[Command]:
        """A pass raised."""
        return self._decider.failed(job, reason)

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on: its ensembles wait no longer than they say either."""
        return self._decider.overdue(now_ms)

    def forget(self) -> None:
        """The task begins again from its last checkpoint."""
        self._decider.forget()

    def emit(self, shadowed: Shadowed, choice: Choice, ok: Bools) -> list[Produce]:
        """One record per drawn row that still has an answer, beside which it stands."""
        mine = shadowed.choice
        self._decider.close(mine)
        kept = np.flatnonzero(ok[shadowed.rows])
        if not len(kept):
            return []
        count = len(shadowed.rows)
        outputs = mine.outputs.get(self.step.model, np.full((count, 1), np.nan))
        there = ~np.isnan(outputs[:, 0])
        lists = Lists.of_matrix(np.nan_to_num(outputs))
        self._answers.take(choice, shadowed.rows, count, np.zeros(0, dtype=np.int64), 0)
        columns: dict[str, Column] = {name: self._answers.column(name) for name in ("prediction_id", "event_time", "stage")}
        columns |= {
            "shadow": Text.of([self.step.model] * count),
            "shadow_version": Text.of([mine.versions[self.step.model][1]] * count),
            "shadow_answer": Numbers(np.nan_to_num(outputs[:, 0]), there),
            "shadow_outputs": Lists(lists.items, lists.start, np.where(there, lists.size, 0)),
            "fault": Text.of(mine.faults.get(place) for place in range(count)),
            "model": self._answers.column("model"),
            "model_version": self._answers.column("model_version"),
            "answer": self._answers.column("answer"),
        }
        values = self._encoder.encode({name: column.take(kept) for name, column in columns.items()})
        return [Produce(self._topic, self._into, choice.ids.take(shadowed.rows[kept]), values)]
