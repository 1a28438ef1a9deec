"""flow.answering: what a section that answers rows does with a chunk. merge → enrich → deciding → *answering* → emitting.

(steps 3 to 9 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.features.table import TableState
from stream_infer.features.windows import FeatureState
from stream_infer.feedback import Decisions
from stream_infer.flow.calling import Calling, answered
from stream_infer.flow.channel import BEGIN, TOLD
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command
from stream_infer.flow.context import context_inputs
from stream_infer.flow.cuts import NOT_ANSWERED, CutEmitter, how_answered
from stream_infer.flow.deciding import Decider
from stream_infer.flow.emitting import AnswerEmitter, RejectEmitter
from stream_infer.flow.enrich import Flowing, apply_features, apply_lookup, flowing_rows, rejects_of, row_ids
from stream_infer.flow.explaining import Explaining
from stream_infer.flow.joining import Joining, both, decided, declined
from stream_infer.flow.merge import Chunk
from stream_infer.flow.notices import CallDone, Installed, InstallFailed
from stream_infer.flow.reparting import Repartitioner
from stream_infer.flow.shadowing import Shadowing
from stream_infer.flow.stations import Asker, Begun, Line, Refused, Station
from stream_infer.flow.stats import Stats
from stream_infer.flow.taking_effect import TakingEffect
from stream_infer.flow.versions import Static
from stream_infer.records import Bools, Column, Floats, Ints, Matrix
from stream_infer.state import Store
from stream_infer.topology.plan import (
    CallStep,
    DecideStep,
    ExplainStep,
    FeatureStep,
    FeedbackStep,
    LookupStep,
    Plan,
    RepartitionStep,
    SectionPlan,
    ShadowStep,
)


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
        *,
        deterministic: bool = False,
    ) -> None:
        self._plan, self._section, self._partition, self.stats, self._sizing = plan, section, partition, stats, sizing
        self._effects = TakingEffect(plan, section, partition, static, stats, deterministic=deterministic)
        self._versions = self._effects.table
        self.stores: dict[str, Store] = self._effects.stores
        self._features: dict[str, FeatureState] = {}
        self._tables: dict[str, TableState] = {}
        self.joins: list[Joining] = []
        self.deciding: _Deciding | None = None
        self._explaining: Explaining | None = None
        self._shadowing: dict[str, Shadowing] = {}
        self._beside: list[Asker] = []  # those of the two above
        self._repartitioner: Repartitioner | None = None
        self.context = context_inputs(plan)
        self.rejects = RejectEmitter(plan.emit.rejects_topic)
        self._cuts = CutEmitter(plan.cuts_topic, section.name, partition)
        # At least once answers are seen before their checkpoint, or without it: what explains them must be there as well.
        self._cuts_wait = plan.emit.guarantee == "exactly_once"
        self.line = Line()
        self._users = np.zeros(0, dtype=np.int64)  # the task's channels that are no versions, in the order of the merge
        after: list[Station] = []  # the decision
        last: list[Station] = []  # what is explained has passed all that may still spoil it
        for step in section.steps:
            made = self._add(step, next_job)
            if made is not None:
                late = after if isinstance(step, CallStep) and step.of_answers else self.line.stations
                (last if isinstance(step, ExplainStep | ShadowStep) else late).append(made)
        self.line.stations += [self._take_effect, self._decide, *after, *last]

    def _add(self, step: object, next_job: Callable[[], int]) -> Station | None:
        """The step's place among the stations; None where it has none, or one that follows from its kind."""
        plan, section = self._plan, self._section
        if isinstance(step, FeatureStep):
            self.stores[step.name] = self._features[step.name] = FeatureState(step.settings)
            return partial(self._apply_features, step)
        if isinstance(step, LookupStep):
            self.stores[step.name] = self._tables[step.name] = TableState(step.settings)
            return partial(self._apply_lookup, step)
        if isinstance(step, RepartitionStep):
            self._repartitioner = Repartitioner(step, plan, self._partition)
            return partial(self._send_on, self._repartitioner)
        if isinstance(step, CallStep):
            return Calling(step, next_job, self._told)
        if isinstance(step, DecideStep):
            table = self._effects.table
            decider = Decider(step, plan.streams[section.flowing], plan.models, table, next_job, self._sizing, plan.composed)
            decider.shares_now = self._effects.shares_of(step)
            emits_to = plan.streams[step.emits_to] if step.emits_to is not None else None
            emitter = AnswerEmitter(step, decider.graph, emits_to, plan.decisions_topic, self._partition, section.partitions)
            self.deciding = _Deciding(decider, emitter)
        elif isinstance(step, ExplainStep):
            decide = next(s for s in section.steps if isinstance(s, DecideStep) and s.name == step.decides)
            into = self._partition if plan.streams[step.to].partitions == section.partitions else None
            self._explaining = Explaining(plan, step, decide, next_job, self._versions, self._sizing, into)
            self._beside.append(self._explaining)
            return partial(self._explain, self._explaining)
        elif isinstance(step, ShadowStep):
            decide = next(s for s in section.steps if isinstance(s, DecideStep) and s.name == step.decides)
            into = self._partition if plan.streams[step.to].partitions == section.partitions else None
            made = Shadowing(plan, step, decide, section.flowing, next_job, self._versions, self._sizing, into)
            self._shadowing[step.name] = made
            self._beside.append(made)
            return partial(self._shadow, made)
        elif isinstance(step, FeedbackStep):
            joining = Joining(plan, self._partition, step, self.context.width)
            self.joins.append(joining)
            if self._effects.canary is not None and self._effects.canary.judges_rewards:
                joining.hear = self._effects.canary.rewarded
            self.stores[step.name] = joining.join
        return None

    def start(self, chunk: Chunk) -> list[Command]:
        """Rows are enriched, versions take effect, models are asked: as far as calls and the chunks ahead allow."""
        self.stats.rows_in += chunk.rows
        return self.line.begin(Begun(chunk, flowing_rows(chunk, self._section.flowing)))

    def called(self, notice: CallDone) -> list[Command]:
        """A call came back."""
        return self.line.called(notice)

    def _apply_features(self, step: FeatureStep, begun: Begun) -> list[Command]:
        apply_features(step, self._features[step.name], begun.chunk, begun.flowing, self._section.flowing)
        return []

    def _apply_lookup(self, step: LookupStep, begun: Begun) -> list[Command]:
        apply_lookup(step, self._tables[step.name], begun.chunk, begun.flowing)
        return []

    def _send_on(self, repartitioner: Repartitioner, begun: Begun) -> list[Command]:
        return [] if begun.flowing is None else [*repartitioner.emit(begun.flowing)]

    def _told(self, begun: Begun, ok: Bools, names: tuple[str, ...]) -> dict[str, Column]:
        """Columns of the answered rows of a chunk."""
        assert begun.choice is not None
        assert self.deciding is not None
        return self.deciding.emitter.told(begun.choice, ok, self._offsets(begun.chunk), begun.chunk.number, names)

    def _decide(self, begun: Begun) -> list[Command]:
        if begun.flowing is None or self.deciding is None:
            return []
        begun.choice, begun.left_out, asked = self.deciding.decider.begin(begun.flowing)
        return asked

    def _explain(self, explaining: Explaining, begun: Begun) -> list[Command]:
        if begun.choice is None:
            return []
        begun.explained, asked = explaining.begin(begun.choice, answered(begun.choice), self.stats)
        return asked

    def _shadow(self, shadowing: Shadowing, begun: Begun) -> list[Command]:
        if begun.choice is None:
            return []
        shadowed, asked = shadowing.begin(begun.choice, answered(begun.choice))
        if shadowed is not None:
            begun.shadowed[shadowing.step.name] = shadowed
        return asked

    def _take_effect(self, begun: Begun) -> list[Command]:
        """Versions of the chunk, just before its rows are decided on: those of the chunks ahead have been."""
        return self._effects.station(begun)

    @property
    def held(self) -> bool:
        """Whether a version must be installed before the next chunk."""
        return self._effects.held

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A published version is there, or is not to be had."""
        return self._effects.installed(notice)

    def versions_used(self, model: str) -> frozenset[int]:
        """The published versions of a model that this task may still ask for."""
        return self._effects.used(model, self.line.choices())

    def passed(self, model: str, rows: int, seconds: float) -> None:
        """Live, a forward pass of a model with so many rows took so long."""
        canary = self._effects.canary
        if canary is not None and self._sizing is not None:
            canary.passed(model, seconds, self._sizing.known_seconds(canary.champion, rows))

    def waiting(self) -> bool:
        """Whether the chunk that was begun first is still on its way."""
        return self.line.waiting()

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """A forward pass ended."""
        return self._asker(job).done(job, outputs, place) + self.line.go_on()

    def failed(self, job: int, reason: str) -> list[Command]:
        """A forward pass raised."""
        return self._asker(job).failed(job, reason) + self.line.go_on()

    def _asker(self, job: int) -> Asker:
        """Whose pass it was."""
        assert self.deciding is not None
        return next((one for one in self._beside if one.asked(job)), self.deciding.decider)

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on: who is waited for only so long is late."""
        if self.deciding is None:
            return []
        aside = [command for asker in self._beside for command in asker.overdue(now_ms)]
        return self.deciding.decider.overdue(now_ms) + aside + self.line.go_on()

    def finish(self) -> list[Command]:
        """Answers, decision log, feedback and rejects of the chunk that was begun first."""
        begun = self.line.take()
        chunk, choice, canary = begun.chunk, begun.choice, self._effects.canary
        commands: list[Command] = []
        rejects = rejects_of(chunk, self._plan, self._section, self._partition)
        commands += self.rejects.emit(rejects, "read")
        self.stats.rejected("read", len(rejects))
        decisions = None
        if choice is not None and self.deciding is not None:
            ok = answered(choice)
            if canary is not None:
                canary.answered(choice, ok)
            context = self.context.matrix(choice)
            commands += self._answer(begun, choice, ok, context)
            if self.joins:
                decisions = decided(choice, ok, self.deciding.emitter.answers(choice).floats(), context)
            if begun.explained is not None and self._explaining is not None:
                commands += self._explaining.emit(begun.explained, choice, ok, self.stats)
            for stage, shadowed in begun.shadowed.items():
                commands += self._shadowing[stage].emit(shadowed, choice, ok)
            self.deciding.decider.close(choice)
        self._cut(chunk, choice)
        commands += [] if self._cuts_wait else self._cuts.emit()
        for refused in begun.refused:
            bad = refused.bad(self._section.flowing, row_ids(self._plan.streams[self._section.flowing], refused.rows))
            commands += self.rejects.emit(bad, refused.stage)
            self.stats.rejected(refused.stage, len(bad))
        if self.joins:
            unanswered = [refused.rows for refused in begun.refused] + ([begun.left_out] if begun.left_out is not None else [])
            for rows in unanswered:
                decisions = both(decisions, self._declined(rows))
        for joining in self.joins:
            commands += joining.take(chunk, decisions, self.rejects, self.stats)
        if canary is not None:
            canary.ended(chunk.number)
        return commands

    def _answer(self, begun: Begun, choice: Choice, ok: Bools, context: Matrix) -> list[Command]:
        assert self.deciding is not None
        chunk, decider, emitter = begun.chunk, self.deciding.decider, self.deciding.emitter
        commands: list[Command] = [*emitter.emit(choice, ok, self._offsets(chunk), chunk.number, decider.key_column(), context)]
        by_stage: dict[str, list[int]] = {}
        for row in sorted(choice.faults):
            by_stage.setdefault(begun.spoilt.get(row, decider.step.name), []).append(row)
        for stage, rows in by_stage.items():
            places = np.array(rows, dtype=np.int64)
            refused = Refused(stage, choice.flowing.take(places), [choice.faults[row] for row in rows])
            commands += self.rejects.emit(refused.bad(self._section.flowing, choice.ids.take(places)), stage)
            self.stats.rejected(stage, len(rows))
        self.stats.answered(decider.step, choice, ok)
        return commands

    def _cut(self, chunk: Chunk, choice: Choice | None) -> None:
        """Where a chunk of users' rows was cut, answered or not: between chunks live rows may go back in time, within one they never do."""
        if self.deciding is None or all(taken.channel.stream in TOLD for taken in chunk.taken):
            return
        how = NOT_ANSWERED
        if choice is not None:
            how = how_answered(choice, list(self.deciding.decider.vectorisers), self._plan.models)
        self._cuts.note(chunk, self._users, how)

    def at_checkpoint(self) -> list[Command]:
        """Where the chunks were cut that were not told of yet."""
        return [*self._cuts.emit()]

    def channels(self, streams: list[str], stands_at: Callable[[Chunk | None], tuple[str, int, int]]) -> None:
        """Tell the order of the channels, which offsets in predictions follow, and where rows stand that no chunk, or this one, holds."""
        self._users = np.array([i for i, stream in enumerate(streams) if stream not in TOLD], dtype=np.int64)
        decides = self.line.stations.index(self._decide)
        self._effects.place(lambda: stands_at(self.line.first_before(decides)))

    def _offsets(self, chunk: Chunk) -> Ints:
        """Where the chunk began, per channel of users' rows."""
        return chunk.began[self._users]

    def _declined(self, left: Flowing) -> Decisions:
        assert self.deciding is not None
        return declined(self.deciding.decider.ids(left), left.times, left.keys, self.context.width)

    @property
    def hears_time(self) -> bool:
        """Decisions wait for feedback until a time, and rows sent on promise one."""
        return bool(self.joins) or self._repartitioner is not None

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
        self.line.clear()
        self._cuts.forget()
        if self.deciding is not None:
            self.deciding.decider.forget()
        for asker in self._beside:
            asker.forget()
        marked = extra["marked"] if isinstance(extra, dict) else [BEGIN] * len(self.joins)
        for joining, mark in zip(self.joins, marked, strict=True):
            joining.marked = mark
        if self._repartitioner is not None and isinstance(extra, dict):
            self._repartitioner.marked = extra["repartitioned"]
        return self._effects.restored()
