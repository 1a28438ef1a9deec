"""flow.standby: warm copies of tasks that are not ours: parked, or kept up by their changelogs. task, transport → *standby* → restoring.

A copy is a task whose stores hold every committed record of its changelog below an offset, and perhaps some behind it: a record is a key's
whole value, so the records from that offset on, applied in order, lead to the newest state whatever of them is known already. That is the
rule of snapshots too. Nothing here decides who owns what: a copy is a head start, never a claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stream_infer.flow.flow import Flow
from stream_infer.flow.notices import TaskId
from stream_infer.flow.ports import Snapshots
from stream_infer.flow.task import Task
from stream_infer.flow.transport import Partition, Transport
from stream_infer.hashing import hash64
from stream_infer.records import Fetched, Text


@dataclass(slots=True)
class Copy:
    """position: of the changelog; every committed record below it is in the task's stores."""

    task: Task
    position: int

    @property
    def changelog(self) -> Partition:
        """Where its records come from."""
        return self.task.section.state_topic, self.task.partition

    def apply(self, batch: Fetched) -> None:
        """The next records of the changelog; those known already may come again."""
        if len(batch) and int(batch.offsets[-1]) >= self.position:
            self.task.apply(batch.keys, batch.values)
            self.position = int(batch.offsets[-1]) + 1

    def bytes_used(self) -> int:
        """Of all its stores."""
        return sum(store.bytes_used() for store in self.task.work.stores.values())


class Standby:
    """The copies of one process. bytes_max: of those that are kept up; 0: none is. slot: makes processes prefer different tasks."""

    def __init__(self, transport: Transport, snapshots: Snapshots | None, *, bytes_max: int, slot: str) -> None:
        self._transport, self.snapshots, self._bytes_max, self._slot = transport, snapshots, bytes_max, slot
        self._parked: dict[TaskId, Copy] = {}  # of no use unless they come back soon
        self._followed: dict[TaskId, Copy] = {}
        self._bytes: dict[TaskId, int] = {}  # of each that is followed, when it last changed: asking all for each batch would cost more
        self._by_changelog: dict[Partition, Copy] = {}
        self._to_come: list[TaskId] = []  # most preferred last
        self._topics: set[str] = set()  # records of a copy that was just let go may still come

    def __len__(self) -> int:
        return len(self._followed)

    def park(self, copy: Copy) -> None:
        """A task leaves us, or did not quite come to us; perhaps it comes back, perhaps others may want it kept up."""
        self._parked[copy.task.id] = copy

    def has_parked(self, task: TaskId) -> bool:
        """Whether it left us a moment ago."""
        return task in self._parked

    def take(self, task: TaskId) -> Copy | None:
        """A task becomes ours: its copy, if there is one."""
        copy = self._followed.pop(task, None)
        if copy is not None:
            self._let_go(copy)
        return self._parked.pop(task, copy)

    def settle(self, others: Iterable[TaskId]) -> None:
        """Who owns what has changed. others: the tasks that are not ours; copies of them are kept up as far as memory allows."""
        others = list(others)
        wanted = sorted(others, key=self._preference) if self._bytes_max else []
        useless = set(others).difference(wanted)  # a copy of what is ours by now will be taken
        for task in useless.intersection(self._followed):
            self._drop(task)
        self._parked = {task: copy for task, copy in self._parked.items() if task not in useless}
        self._to_come = [task for task in reversed(wanted) if task not in self._followed]

    def turn(self, flow: Flow) -> None:
        """Begin to keep up one more copy, if there are more and memory allows."""
        if not self._to_come:
            return
        task = self._to_come.pop()
        copy = self._parked.pop(task, None) or begun(flow, task, self._transport, self.snapshots)
        self._followed[task] = self._by_changelog[copy.changelog] = copy
        self._topics.add(copy.changelog[0])
        self._transport.follow(copy.changelog, copy.position)
        self._bound(copy)

    def receive(self, batch: Fetched) -> bool:
        """Take in records of a changelog that is followed; False when they are of something else."""
        copy = self._by_changelog.get((batch.topic, batch.partition))
        if copy is not None:
            if copy.position > int(batch.offsets[0]):
                batch = batch.take(np.flatnonzero(batch.offsets >= copy.position))
            copy.apply(batch)
            self._bound(copy)
        return batch.topic in self._topics

    def forget(self) -> None:
        """Nobody knows for how long we stood still: a changelog may have dropped deletions that a copy has not seen."""
        for task in list(self._followed):
            self._drop(task)
        self._parked.clear()

    def bytes_used(self) -> int:
        """Of the copies that are kept up."""
        return sum(self._bytes.values())

    def _bound(self, changed: Copy) -> None:
        self._bytes[changed.task.id] = changed.bytes_used()
        while self._followed and self.bytes_used() > self._bytes_max:
            self._to_come.clear()
            self._drop(max(self._followed, key=self._preference))

    def _drop(self, task: TaskId) -> None:
        self._let_go(self._followed.pop(task))

    def _let_go(self, copy: Copy) -> None:
        del self._by_changelog[copy.changelog], self._bytes[copy.task.id]
        self._transport.unfollow(copy.changelog)

    def _preference(self, task: TaskId) -> int:
        """The lowest first: another order in every slot, so that together they keep more tasks than one could."""
        return int(hash64(Text.of([f"{self._slot}/{task[0]}/{task[1]}"]))[0])


def begun(flow: Flow, task: TaskId, transport: Transport, snapshots: Snapshots | None) -> Copy:
    """A task as its last snapshot has it, or as nothing has it yet."""
    copy = Copy(flow.make_task(task), 0)
    if snapshots is not None:
        found = snapshots.load(task, transport.end_offsets([copy.changelog])[copy.changelog])
        if found is not None:
            copy.task.load(found[0])
            copy.position = found[1]
    return copy
