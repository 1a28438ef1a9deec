"""flow.committing: one end of a transaction at a time, while the loop goes on. worker → *committing* → transport.

A commit is a few round trips to the broker, in which the processor has nothing to do. Meanwhile the worker reads, computes and encodes
what comes next; only sending must wait, for it would fall into the transaction that is being ended. So what is to be sent is held
until the outcome is known: sent then, or forgotten with everything else. Without transactions there is nothing it could fall into, and
it is sent at once where the transport can tell it from what the commit waits for.

When: as soon as the work in hand is out, but not sooner after the last commit than SHARE times the length of one, for as much of that
time as the loop was busy: so commits take half of the time at most where time is short. With little to do every small batch is its
own transaction; at full load the interval holds (100 ms: 5 % of the time). At least once answers are out already: the interval counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.ports import Pace
from stream_infer.flow.transport import Outcome, Partition, Transport

# A busy loop commits at the earliest so many times a commit's length after the last one: 10 ms where one takes 10. Of 2, 1 and 0.5 the
# last gave 200 records/s p50 23, 1 gave 29 and 2 31 ms; below 1 the broker is busier with transactions than with records.
SHARE = 1
HELD_RECORDS_MAX = 100_000  # as many as the client's queue takes; beyond, the loop waits for the outcome
SMOOTHING = 0.2  # of the newest commit in the running mean of their lengths


@dataclass(slots=True)
class Work:
    """What one transaction holds, for the figures. rows: (clock when a turn took them, how many); sent: records by topic."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


class Committer:
    """Sends, and ends transactions beside the loop. at_least_once: answers first, and only then the word that they were given."""

    def __init__(self, transport: Transport, pace: Pace, clock: Callable[[], int], *, at_least_once: bool) -> None:
        self._transport, self._pace, self._clock = transport, pace, clock
        self._at_least_once = at_least_once
        self._held: list[Produce] = []
        self._held_records = 0
        self._work, self._ending = Work(), Work()
        self._began: int | None = None
        self._checkpoint: list[Produce] = []
        self._offsets: Mapping[Partition, int] | None = None  # still to be committed, after the answers were
        self._length_ms = 0.0
        self._rested_ms = 0  # since the last commit

    @property
    def open(self) -> bool:
        """Whether a commit is under way."""
        return self._began is not None

    def full(self) -> bool:
        """Whether so much is held that the loop has to wait for the outcome."""
        return self._held_records >= HELD_RECORDS_MAX

    def send(self, command: Produce) -> None:
        """Send records in the open transaction, or in the next one while this one ends."""
        if self.open and not self._transport.sends_on:
            self._held.append(command)
            self._held_records += len(command.values)
            return
        self._transport.produce(command.topic, command.keys, command.values, command.partition)
        self._work.sent[command.topic] = self._work.sent.get(command.topic, 0) + len(command.values)

    def took(self, began: int, rows: int) -> None:
        """A turn that began at this time answered so many rows."""
        if rows:
            self._work.rows.append((began, rows))

    def rested(self, waited_ms: int) -> None:
        """The loop waited so long for something to do."""
        self._rested_ms += waited_ms

    def due(self, now: int, *, at_rest: bool) -> bool:
        """Whether a transaction should end. at_rest: no work is in hand that will be out soon."""
        return now - self._pace.last_commit_ms >= self._pace.interval_ms or (at_rest and self.due_in_ms(now) <= 0)

    def due_in_ms(self, now: int) -> int:
        """How long the loop may wait, if nothing comes, until a transaction should end."""
        since = now - self._pace.last_commit_ms
        left = self._pace.interval_ms - since
        if self._at_least_once:
            return left
        # Due once since >= SHARE * length * busy / since, and waiting is not busy.
        busy = max(since - self._rested_ms, 0)
        return min(left, math.ceil(math.sqrt(SHARE * self._length_ms * busy)) - since)

    def begin(self, checkpoint: list[Command], offsets: Mapping[Partition, int]) -> None:
        """Begin to end the transaction. checkpoint: changed state and positions, which belong to these offsets."""
        assert not self.open, "a commit within a commit"
        records = [command for command in checkpoint if isinstance(command, Produce)]
        self._ending, self._work = self._work, Work()
        if self._at_least_once:
            # Without transactions records arrive in any order, and a worker may die between two of them.
            self._checkpoint, self._offsets = records, offsets
            self._transport.begin_commit({})
        else:
            self._write(records)
            self._transport.begin_commit(offsets)
        self._began = self._clock()

    def turn(self, wait_ms: int) -> Outcome | None:
        """How the commit under way has ended; None while nobody knows. COMMITTED: what was held has been sent."""
        outcome = self._transport.ended(wait_ms)
        if outcome is Outcome.COMMITTED and self._offsets is not None:
            self._write(self._checkpoint)
            self._transport.begin_commit(self._offsets)
            self._offsets = None
            return None
        if outcome is None:
            return None
        assert self._began is not None
        now, took, self._began = self._clock(), self._clock() - self._began, None
        self._length_ms += SMOOTHING * (took - self._length_ms) if self._length_ms else took
        self._pace.last_commit_ms, self._rested_ms = now, 0
        if outcome is Outcome.COMMITTED:
            self._count(now, took)
            held, self._held, self._held_records = self._held, [], 0
            for command in held:
                self.send(command)
        else:
            self.forget()
        return outcome

    def forget(self) -> None:
        """Everything since the last commit goes: an abort."""
        assert not self.open, "forgetting while a commit is under way"
        self._work, self._held, self._held_records, self._offsets = Work(), [], 0, None

    def _write(self, records: list[Produce]) -> None:
        for command in records:
            self._transport.produce(command.topic, command.keys, command.values, command.partition)
            self._ending.sent[command.topic] = self._ending.sent.get(command.topic, 0) + len(command.values)

    def _count(self, now: int, took: int) -> None:
        pace = self._pace
        pace.commits += 1
        pace.commit_ms.append(took)
        pace.latency_ms += [now - at for at, _ in self._ending.rows]
        pace.latency_rows += [rows for _, rows in self._ending.rows]
        for topic, count in self._ending.sent.items():
            pace.written[topic] = pace.written.get(topic, 0) + count
