"""Broken workers. Each breaks one rule of the protocol; a simulation that does not notice is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from stream_infer.feedback import FeedbackJoin
from stream_infer.flow.channel import Channel
from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.flow import Flow
from stream_infer.flow.notices import CommitWanted, TaskId
from stream_infer.flow.standby import Copy
from stream_infer.flow.task import TASK_KEY, Task
from stream_infer.flow.transport import Outcome, Partition
from stream_infer.flow.worker import Worker
from stream_infer.records import Fetched


class NoOwnership(Worker):
    """Keeps working on what was taken away, and leaves strangers' offsets out of its commits, as the clients' examples do."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._mine: set[Partition] = set()
        commit: Callable[[Mapping[Partition, int]], Outcome] = self.transport.commit
        self.transport.commit = lambda offsets: commit({p: o for p, o in offsets.items() if p in self._mine})  # type: ignore[method-assign]

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self._mine = set(partitions)
        super().assigned(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self._mine = set()

    def lost(self, partitions: Sequence[Partition]) -> None:
        self._mine = set()
        self.transport.abort()


class CommitsAtOnce(Worker):
    """Commits what was begun, not what was finished."""

    def _commit_if_due(self, now: int) -> None:
        if self.flow.dirty():
            self._commit()


class SnapshotsAhead(Worker):
    """Writes its snapshots just before the commit."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        commit: Callable[[Mapping[Partition, int]], Outcome] = self.transport.commit

        def save_and_commit(offsets: Mapping[Partition, int]) -> Outcome:
            for task, end in self._changelog_ends(list(self.flow.tasks)).items():
                assert self.standby.snapshots is not None
                self.standby.snapshots.save(task, self.flow.tasks[task].snapshot(), end)
            return commit(offsets)

        self.transport.commit = save_and_commit  # type: ignore[method-assign]


class RestoresFirst(Worker):
    """Gives tasks that come back the records that were read before, at other places."""

    def step(self, wait_ms: int) -> bool:
        poll = self.transport.poll

        def poll_and_restore(rows_max: int, wait_ms: int) -> Any:
            fetched = poll(rows_max, wait_ms)
            self._restore_wanted()
            return fetched

        self.transport.poll = poll_and_restore  # type: ignore[method-assign]
        try:
            return super().step(wait_ms)
        finally:
            self.transport.poll = poll  # type: ignore[method-assign]


class ParksByOffsets(Worker):
    """Takes its own old state for the newest when the group's offsets have not moved."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        take = self.standby.take

        def take_for_newest(task: TaskId) -> Copy | None:
            copy = take(task)
            if copy is not None and self.transport.committed(list(copy.task.saved_lows())) == copy.task.saved_lows():
                copy.position = self.transport.end_offsets([copy.changelog])[copy.changelog]
            return copy

        self.standby.take = take_for_newest  # type: ignore[method-assign]


class FollowsPositions(Worker):
    """Its copies learn how far the owner has come, and little of what that made of the state."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        receive = self.standby.receive

        def receive_the_last(batch: Fetched) -> bool:
            return receive(batch.take(slice(-1, None)))

        self.standby.receive = receive_the_last  # type: ignore[method-assign]


def commits_positions(patch: pytest.MonkeyPatch) -> None:
    """The group's offset is where reading stands."""
    patch.setattr(Task, "offsets", lambda task: {p: task.read_to(p) for p in task.inputs() if task.owned(p)})


def checkpoints_within_chunks(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint does not care for a chunk that models still work on."""
    checkpoint = Task.checkpoint

    def careless(task: Task) -> tuple[list[Command], dict[Partition, int]]:
        busy, task.busy = task.busy, False
        made = checkpoint(task)
        task.busy = busy
        return made

    patch.setattr(Task, "checkpoint", careless)
    patch.setattr(Flow, "_commit", _without_check(Flow._commit))


def _without_check(commit: Callable[[Flow, CommitWanted], list[Command]]) -> Callable[[Flow, CommitWanted], list[Command]]:
    def careless(flow: Flow, notice: CommitWanted) -> list[Command]:
        flow.in_flight = lambda: False  # type: ignore[method-assign]
        try:
            return commit(flow, notice)
        finally:
            del flow.in_flight

    return careless


def leaves_positions_out(patch: pytest.MonkeyPatch) -> None:
    """Changed state goes out with every commit, positions are left out of some."""
    checkpoint = Task.checkpoint

    def forgetful(task: Task) -> tuple[list[Command], dict[Partition, int]]:
        (*cuts, produce), lows = checkpoint(task)
        assert isinstance(produce, Produce)
        if task.merge.number % 3 == 2:
            keep = np.array([i for i, key in enumerate(produce.keys.raw()) if key != TASK_KEY], dtype=np.int64)
            produce = Produce(produce.topic, produce.partition, produce.keys.take(keep), produce.values.take(keep))
        return [*cuts, produce], lows

    patch.setattr(Task, "checkpoint", forgetful)


def counts_repeated_feedback(patch: pytest.MonkeyPatch) -> None:
    """Every feedback row counts, however often it was sent."""
    first_of_its_name = FeedbackJoin._first_of_its_name

    def always(join: FeedbackJoin, feedback: Any, slots: Any, outcome: Any) -> Any:
        feedback.fixed["name"] = feedback.fixed["sequence"]
        return first_of_its_name(join, feedback, slots, outcome)

    patch.setattr(FeedbackJoin, "_first_of_its_name", always)


def forgets_what_waits(patch: pytest.MonkeyPatch) -> None:
    """After a restart, waiting rows are known only once they have been read again."""

    def held_offsets(channel: Channel) -> Any:
        return np.sort(channel._held.offsets) if channel._held is not None else np.zeros(0, dtype=np.int64)

    patch.setattr(Channel, "held_offsets", held_offsets)
    patch.setattr("stream_infer.flow.merge.Merge._resuming", lambda _: False)
