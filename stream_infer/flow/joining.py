"""flow.joining: decisions of a task meet its feedback, and leave as joined rows. answering → *joining* → learning.

(step 9 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from stream_infer.feedback import Decisions, FeedbackJoin, FeedbackRows, Joined
from stream_infer.flow.addresses import addresses
from stream_infer.flow.channel import BEGIN, END
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.emitting import JoinedEmitter, RejectEmitter
from stream_infer.flow.enrich import Kept, as_text, kept_rows, numbers
from stream_infer.flow.merge import Chunk
from stream_infer.flow.rows import Bad
from stream_infer.flow.stats import Stats
from stream_infer.hashing import ABSENT_HASH
from stream_infer.records import Bools, Floats, Ints, Matrix, Text, concat_columns
from stream_infer.topology.plan import DecideStep, FeedbackStep, LearnStep, Plan

DECLINED = -1  # the arm of a row without an answer


class Joining:
    """One feedback step of a task."""

    def __init__(self, plan: Plan, partition: int, step: FeedbackStep, width: int) -> None:
        self._step, self._partition = step, partition
        self._topic = plan.streams[step.feedback].topic
        decide = next(s for other in plan.sections for s in other.steps if isinstance(s, DecideStep) and s.name == step.decides)
        segmented = decide.policy.segment is not None
        self.join = FeedbackJoin(step.settings, width, segmented=segmented)
        self._emitter = JoinedEmitter(plan.streams[step.joined_to].topic, partition)
        learn = [s for other in plan.sections for s in other.steps if isinstance(s, LearnStep)]
        self._every_ms = learn[0].every_ms if learn else None
        none, no_numbers, no_text = np.zeros(0, dtype=np.int64), np.zeros(0), Text.of([])
        self._no_decisions = Decisions(no_text, none, none, none, no_numbers, none, no_numbers, np.zeros((0, width), dtype=np.float32))
        if segmented:
            self._no_decisions.segment = none
        self._no_feedback = FeedbackRows(no_text, none, none, no_numbers, None, no_text)
        self.marked = BEGIN
        self.hear: Callable[[Joined], None] | None = None  # who else wants to know what decisions earned

    def take(self, chunk: Chunk, decisions: Decisions | None, rejects: RejectEmitter, stats: Stats) -> list[Command]:
        """Decisions and feedback of a chunk; joined rows come when time has passed their wait."""
        kept = kept_rows(chunk, self._step.feedback)
        rows = self._feedback(kept) if kept is not None else None
        if decisions is None and rows is None:
            return []
        return self._joined(decisions, rows, chunk.reached - 1, rejects, stats)

    def _feedback(self, kept: Kept) -> FeedbackRows | None:
        mine = ~kept.dead & (kept.partition == self._partition)
        if not mine.any():
            return None
        settings = self._step.settings
        columns = {name: column.take(mine) for name, column in kept.columns.items()}
        own = None if settings.feedback_id is None else as_text(columns[settings.feedback_id])
        return FeedbackRows(
            ids=as_text(columns[settings.on]),
            event_time=kept.times[mine],
            order_key=kept.keys[mine],
            labels=numbers(columns[settings.label]),
            feedback_ids=own,
            address=addresses(self._topic, kept.partition[mine], kept.offsets[mine]),
        )

    def advance(self, reached: int, rejects: RejectEmitter, stats: Stats) -> list[Command]:
        """No row with a lower order key will follow: close, and promise at every epoch's edge."""
        edge = reached
        if self._every_ms is not None and reached < END:
            edge = reached // self._every_ms * self._every_ms
            if edge <= self.marked:
                return []
            self.marked = edge
        commands = self._joined(None, None, min(END, reached) - 1, rejects, stats)
        return commands if self._every_ms is None else [*commands, *self._emitter.mark(edge)]

    def _joined(
        self, decisions: Decisions | None, rows: FeedbackRows | None, reached: int, rejects: RejectEmitter, stats: Stats
    ) -> list[Command]:
        joined = self.join.apply(decisions or self._no_decisions, rows or self._no_feedback, reached)
        joined = _answered(joined)
        stats.joined(self._step.name, joined)
        if self.hear is not None and len(joined):
            self.hear(joined)
        returned = zip(joined.returned.address, joined.returned.reason, strict=True)
        late = [Bad(self._step.feedback, self._topic, *_place(address), reason, None, None) for address, reason in returned]
        produced: list[Produce] = [*self._emitter.rows(joined), *rejects.emit(late, self._step.name)]
        return [*produced]


def decided(choice: Choice, ok: Bools, answer: Floats, context: Matrix) -> Decisions:
    """The decisions of a choice as feedback needs them. ok: bool[rows], which were answered; answer: float64[rows]; context: of all."""
    rows, flowing, bad = np.flatnonzero(ok), choice.flowing, np.flatnonzero(~ok)
    answered = Decisions(
        ids=choice.ids.take(rows),
        event_time=flowing.times[rows],
        order_key=flowing.keys[rows],
        arm=choice.arm[rows],
        propensity=choice.propensity[rows],
        policy_version=np.full(len(rows), choice.policy_version, dtype=np.int64),
        answer=answer[rows],
        features=context[rows],
        segment=None if choice.segmented is None else choice.segmented.hashes[rows].view(np.int64),
    )
    faults = declined(choice.ids.take(bad), flowing.times[bad], flowing.keys[bad], context.shape[1]) if len(bad) else None
    return both(answered, faults) or answered


def declined(ids: Text, event_time: Ints, order_key: Ints, width: int) -> Decisions:
    """Rows that got no answer (`where` left them out, or they were rejected), so that feedback on them is known for what it is."""
    count = len(ids)
    none, no_answer = np.zeros(count, dtype=np.int64), np.zeros(count)
    return Decisions(ids, event_time, order_key, none + DECLINED, no_answer, none, no_answer, np.zeros((count, width), dtype=np.float32))


def both(one: Decisions | None, other: Decisions | None) -> Decisions | None:
    """Decisions of one chunk, in either order."""
    if one is None or other is None:
        return one or other
    ids = concat_columns([one.ids, other.ids])
    assert isinstance(ids, Text)
    names = [f.name for f in fields(Decisions) if f.name not in ("ids", "segment")]
    found = Decisions(ids, **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})
    if one.segment is not None or other.segment is not None:
        found.segment = np.concatenate([_segments(one), _segments(other)])
    return found


def _segments(decisions: Decisions) -> Ints:
    """Rows without an answer have none."""
    return np.full(len(decisions.event_time), ABSENT_HASH, dtype=np.int64) if decisions.segment is None else decisions.segment


def _answered(joined: Joined) -> Joined:
    """Without the rows that got no answer: nobody learns from them."""
    keep = joined.arm != DECLINED
    if keep.all():
        return joined
    rows = {f.name: getattr(joined, f.name)[keep] for f in fields(Joined) if f.name not in ("ids", "returned", "counts", "segment")}
    segment = None if joined.segment is None else joined.segment[keep]
    return replace(joined, ids=joined.ids.take(keep), segment=segment, **rows)


def _place(address: bytes) -> tuple[int, int]:
    _, partition, offset = address.rsplit(b"-", 2)
    return int(partition), int(offset)
