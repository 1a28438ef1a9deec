"""flow.answering: what a section that answers rows does with a chunk. merge → enrich → deciding → *answering* → emitting.

(steps 3 to 9 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.features.table import TableState
from stream_infer.features.windows import FeatureState
from stream_infer.feedback import Decisions
from stream_infer.flow.channel import BEGIN, VERSIONS
from stream_infer.flow.commands import Command, Install
from stream_infer.flow.context import context_inputs
from stream_infer.flow.cuts import NOT_ANSWERED, Answered, CutEmitter, passes_told
from stream_infer.flow.deciding import Choice, Decider
from stream_infer.flow.emitting import AnswerEmitter, RejectEmitter
from stream_infer.flow.enrich import Flowing, apply_features, apply_lookup, flowing_rows, rejected_rows
from stream_infer.flow.joining import Joining, both, declined
from stream_infer.flow.merge import Chunk
from stream_infer.flow.reparting import Repartitioner
from stream_infer.flow.rows import Bad, Rows
from stream_infer.flow.stats import Stats
from stream_infer.flow.versions import Static, VersionTable
from stream_infer.records import Bools, Floats, Ints, Matrix, Text
from stream_infer.state import Store
from stream_infer.topology.plan import DecideStep, FeatureStep, FeedbackStep, LookupStep, Plan, RepartitionStep, SectionPlan


@dataclass(slots=True)
class Begun:
    """A chunk that models may still be at. choice: None where no row is answered; left_out: rows that are not to be answered."""

    chunk: Chunk
    choice: Choice | None = None
    left_out: Flowing | None = None


@dataclass(slots=True)
class _Deciding:
    decider: Decider
    emitter: AnswerEmitter


class Answering:
    """Work of a section with flowing rows. partition: the task's; static: the models as their files say."""

    def __init__(
        self,
        plan: Plan,
        section: SectionPlan,
        partition: int,
        static: dict[str, Static],
        next_job: Callable[[], int],
        stats: Stats,
        sizing: Sizing | None = None,
    ) -> None:
        self._plan, self._section, self._partition, self.stats, self._sizing = plan, section, partition, stats, sizing
        self._versions = VersionTable(static)
        self.stores: dict[str, Store] = {VERSIONS: self._versions}
        self._features: dict[str, FeatureState] = {}
        self._tables: dict[str, TableState] = {}
        self.joins: list[Joining] = []
        self.deciding: _Deciding | None = None
        self._repartitioner: Repartitioner | None = None
        self.context = context_inputs(plan)
        self.rejects = RejectEmitter(plan.emit.rejects_topic)
        self._cuts = CutEmitter(plan.cuts_topic, section.name, partition)
        self._begun: list[Begun] = []
        self._streams: list[str] = []  # of each channel of the task, in the order of the merge
        for step in section.steps:
            self._add(step, next_job)

    def _add(self, step: object, next_job: Callable[[], int]) -> None:
        plan, section = self._plan, self._section
        if isinstance(step, FeatureStep):
            self.stores[step.name] = self._features[step.name] = FeatureState(step.settings)
        elif isinstance(step, LookupStep):
            self.stores[step.name] = self._tables[step.name] = TableState(step.settings)
        elif isinstance(step, RepartitionStep):
            self._repartitioner = Repartitioner(step, plan, self._partition)
        elif isinstance(step, DecideStep):
            decider = Decider(step, plan.streams[section.flowing], plan.models, self._versions, next_job, self._sizing)
            emits_to = plan.streams[step.emits_to] if step.emits_to is not None else None
            emitter = AnswerEmitter(step, emits_to, plan.decisions_topic, self._partition, section.partitions)
            self.deciding = _Deciding(decider, emitter)
        elif isinstance(step, FeedbackStep):
            joining = Joining(plan, self._partition, step, self.context.width)
            self.joins.append(joining)
            self.stores[step.name] = joining.join

    def start(self, chunk: Chunk) -> list[Command]:
        """Versions take effect, rows are enriched, models are asked."""
        flowing, commands = self.enrich(chunk)
        begun = self._begun[-1]
        if self.deciding is not None and flowing is not None:
            begun.choice, begun.left_out, asked = self.deciding.decider.begin(flowing)
            commands += asked
        return commands

    def enrich(self, chunk: Chunk) -> tuple[Flowing | None, list[Command]]:
        """The flowing rows of the chunk with all columns that steps before the decision add."""
        self._begun.append(Begun(chunk))
        self.stats.rows_in += chunk.rows
        commands: list[Command] = []
        for taken in chunk.taken:
            if taken.channel.stream == VERSIONS:
                commands += self._take_effect(taken.rows)
        flowing = flowing_rows(chunk, self._section.flowing)
        for step in self._section.steps:
            if isinstance(step, FeatureStep):
                apply_features(step, self._features[step.name], chunk, flowing, self._section.flowing)
            elif isinstance(step, LookupStep):
                apply_lookup(step, self._tables[step.name], chunk, flowing)
            elif isinstance(step, RepartitionStep) and flowing is not None and self._repartitioner is not None:
                commands += self._repartitioner.emit(flowing)
        return flowing, commands

    def take_begun(self) -> Begun:
        """The chunk that was begun first; it is over now."""
        assert self._begun, "finish without start"
        return self._begun.pop(0)

    def _take_effect(self, rows: Rows) -> list[Command]:
        column = rows.columns["version"]
        assert isinstance(column, Text)
        commands: list[Command] = []
        for blob in column.raw():
            assert blob is not None
            version = self._versions.apply(blob)
            self.stats.version(version.name, version.version)
            if version.name in self._plan.models:
                commands.append(Install(version.name, version.version, version.payload))
        return commands

    def waiting(self) -> bool:
        """Whether models still owe answers to the chunk that was begun first."""
        choice = self._begun[0].choice if self._begun else None
        return choice is not None and bool(choice.open)

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """A forward pass ended."""
        assert self.deciding is not None
        return self.deciding.decider.done(job, outputs, place)

    def failed(self, job: int, reason: str) -> list[Command]:
        """A forward pass raised."""
        assert self.deciding is not None
        return self.deciding.decider.failed(job, reason)

    def finish(self) -> list[Command]:
        """Answers, decision log, feedback and rejects of the chunk that was begun first."""
        begun = self.take_begun()
        chunk, choice = begun.chunk, begun.choice
        commands: list[Command] = []
        rejects = [row for rows in rejected_rows(chunk) for row in self._own(rows)]
        commands += self.rejects.emit(rejects, "read")
        self.stats.rejected("read", len(rejects))
        decisions = None
        if choice is not None and self.deciding is not None:
            ok = np.ones(len(choice), dtype=np.bool_)
            ok[list(choice.faults)] = False
            context = self.context.matrix(choice)
            commands += self._answer(chunk, choice, ok, context)
            decisions = self._decisions(choice, ok, context)
            self.deciding.decider.close(choice)
        commands += self._cut(chunk, choice)
        if self.joins and begun.left_out is not None:
            decisions = both(decisions, self._declined(begun.left_out))
        for joining in self.joins:
            commands += joining.take(chunk, decisions, self.rejects, self.stats)
        return commands

    def _own(self, rows: Rows) -> list[Bad]:
        """Rejected rows that this task reports: each record is reported once, however many sections and tasks read it."""
        found = [rows.bad[offset] for offset in rows.offsets.tolist()]
        return [b for b in found if self._reports(b)]

    def _reports(self, bad: Bad) -> bool:
        first = next(s for s in self._plan.sections if any(i.stream == bad.stream for i in s.inputs))
        whole = self._section.input(bad.stream).is_global
        return first is self._section and (not whole or bad.partition % self._section.partitions == self._partition)

    def _answer(self, chunk: Chunk, choice: Choice, ok: Bools, context: Matrix) -> list[Command]:
        assert self.deciding is not None
        decider, emitter = self.deciding.decider, self.deciding.emitter
        commands: list[Command] = [*emitter.emit(choice, ok, self._offsets(chunk), chunk.number, decider.key_column(), context)]
        if choice.faults:
            flowing, stream = choice.flowing, self._section.flowing
            bad = [
                Bad(
                    stream,
                    flowing.topic,
                    int(flowing.partition[row]),
                    int(flowing.offsets[row]),
                    reason,
                    choice.ids.take(slice(row, row + 1)).raw()[0],
                    None,
                )
                for row, reason in sorted(choice.faults.items())
            ]
            commands += self.rejects.emit(bad, decider.step.name)
            self.stats.rejected(decider.step.name, len(bad))
        self.stats.answered(decider.step, choice, ok)
        return commands

    def _cut(self, chunk: Chunk, choice: Choice | None) -> list[Command]:
        """Where a chunk of users' rows was cut, answered or not: between chunks live rows may go back in time, within one they never do."""
        if self.deciding is None or all(taken.channel.stream == VERSIONS for taken in chunk.taken):
            return []
        decider, how = self.deciding.decider, NOT_ANSWERED
        if choice is not None:
            versions = (choice.policy_version, *(choice.versions[name][0] for name in decider.vectorisers))
            how = Answered(versions, tuple(passes_told(choice, list(decider.vectorisers), self._plan.models)), choice.wall_ms)
        return [*self._cuts.emit(chunk.number, chunk.rows, chunk.reached, self._offsets(chunk), how)]

    def _offsets(self, chunk: Chunk) -> Ints:
        """Where the chunk began, per channel of users' rows."""
        return chunk.began[[i for i, c in enumerate(self._streams) if c != VERSIONS]]

    def channels(self, streams: list[str]) -> None:
        """Tell the order of the channels: offsets in predictions follow it."""
        self._streams = streams

    def _decisions(self, choice: Choice, ok: Bools, context: Matrix) -> Decisions:
        assert self.deciding is not None
        rows, flowing, bad = np.flatnonzero(ok), choice.flowing, np.flatnonzero(~ok)
        answer = self.deciding.emitter.answers(choice).floats()
        policy_version = np.full(len(rows), choice.policy_version, dtype=np.int64)
        answered = Decisions(
            ids=choice.ids.take(rows),
            event_time=flowing.times[rows],
            order_key=flowing.keys[rows],
            arm=choice.arm[rows],
            propensity=choice.propensity[rows],
            policy_version=policy_version,
            answer=answer[rows],
            features=context[rows],
        )
        faults = declined(choice.ids.take(bad), flowing.times[bad], flowing.keys[bad], self.context.width) if len(bad) else None
        return both(answered, faults) or answered

    def _declined(self, left: Flowing) -> Decisions:
        assert self.deciding is not None
        return declined(self.deciding.decider.ids(left), left.times, left.keys, self.context.width)

    def advance(self, reached: int) -> list[Command]:
        """Close what can be closed; promise the learn section how far this task has come."""
        commands: list[Command] = []
        for joining in self.joins:
            commands += joining.advance(reached, self.rejects, self.stats)
        if self._repartitioner is not None:
            commands += self._repartitioner.advance(reached)
        return commands

    def extra(self) -> object:
        """What the stores do not hold: the marks given."""
        repartitioned = self._repartitioner.marked if self._repartitioner is not None else BEGIN
        return {"marked": [joining.marked for joining in self.joins], "repartitioned": repartitioned}

    def restore(self, extra: object) -> list[Command]:
        """Install the versions in use again; marks as they were given."""
        self._begun = []
        if self.deciding is not None:
            self.deciding.decider.choices = []
        marked = extra["marked"] if isinstance(extra, dict) else [BEGIN] * len(self.joins)
        for joining, mark in zip(self.joins, marked, strict=True):
            joining.marked = mark
        if self._repartitioner is not None and isinstance(extra, dict):
            self._repartitioner.marked = extra["repartitioned"]
        return [Install(v.name, v.version, v.payload) for v in self._versions.installed() if v.name in self._plan.models]
