"""flow.restoring: tasks become ours a little per turn, while those that are ours already go on. standby, checks → *restoring* → worker.

A task begins with whatever is nearest: a copy that was parked or kept up, a snapshot, or nothing. Then its changelog is read from
there to the end, batch by batch, so that neither memory nor the time between two polls grows with the state; a rebalance in the
middle of it loses nothing, for what was read so far is a copy as good as any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from stream_infer.flow.checks import check_logs, check_state
from stream_infer.flow.commands import Command
from stream_infer.flow.flow import Flow
from stream_infer.flow.notices import TaskId
from stream_infer.flow.ports import Pace, Snapshots
from stream_infer.flow.standby import Copy, Standby, begun
from stream_infer.flow.transport import Partition, Transport
from stream_infer.records import Fetched

PATIENCE = 20  # empty batches in a row, of some 5 ms each, until another task is read


@dataclass(slots=True)
class _Reading:
    copy: Copy
    batches: Iterator[Fetched]
    committed: Mapping[Partition, int | None] | None = None  # the group's offsets, asked only where the changelog is empty
    waited: int = 0  # empty batches in a row


class Restoring:
    """The tasks on their way to us. clock: ms, monotone."""

    def __init__(self, transport: Transport, clock: Callable[[], int], pace: Pace, snapshots: Snapshots | None, standby: Standby) -> None:
        self._transport, self._clock, self._pace, self._snapshots, self._standby = transport, clock, pace, snapshots, standby
        self._wanted: dict[TaskId, None] = {}
        self._reading: _Reading | None = None
        self._patience = PATIENCE

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __contains__(self, task: TaskId) -> bool:
        return task in self._wanted

    def wanted(self) -> list[TaskId]:
        """Tasks that are ours and not worked on yet."""
        return list(self._wanted)

    def want(self, tasks: Iterable[TaskId]) -> None:
        """These are ours now."""
        known, new = list(self._wanted), [task for task in tasks if task not in self._wanted]
        # Those that come back as they were first: a changelog of another may be held open by whoever died.
        self._wanted = dict.fromkeys(sorted(new, key=lambda task: not self._standby.has_parked(task)) + known)

    def drop(self, tasks: Iterable[TaskId]) -> None:
        """These are ours no more; as far as one was read it stays as a copy."""
        for task in tasks:
            self._wanted.pop(task, None)
            if self._reading is not None and self._reading.copy.task.id == task:
                self._standby.park(self._end())

    def turn(self, flow: Flow, ms_max: int) -> list[Command]:
        """Read on for about ms_max, at least one batch; what follows from the tasks that came to the end of their changelog."""
        commands: list[Command] = []
        came = self._clock()
        while self._wanted:
            if self._reading is None:
                self._begin(flow, next(iter(self._wanted)))
            commands += self._on(flow)
            if self._clock() - came >= ms_max:
                break
        self._pace.restore_ms += self._clock() - came
        return commands

    def _begin(self, flow: Flow, task: TaskId) -> None:
        copy = self._standby.take(task) or begun(flow, task, self._transport, self._snapshots)
        self._reading = _Reading(copy, self._transport.read(copy.changelog, copy.position))

    def _on(self, flow: Flow) -> list[Command]:
        """One batch; at the end the task begins to work."""
        reading = self._reading
        assert reading is not None
        batch = next(reading.batches, None)
        if batch is not None:
            reading.copy.apply(batch)
            self._pace.restored_records += len(batch)
            reading.waited = 0 if len(batch) else reading.waited + 1
            if reading.waited >= self._patience and len(self._wanted) > 1:
                self._go_on_with_another(reading.copy.task.id)
            return []
        task = reading.copy.task
        if not task.saved_lows() and reading.committed is None:
            # Asking waits for every open transaction of the group, so it is done only where something may be wrong. And then the
            # changelog is read once more: whoever committed meanwhile wrote both, and only the offsets would be seen.
            reading.committed = self._transport.committed([p for p in task.inputs() if task.owned(p)])
            reading.batches = self._transport.read(reading.copy.changelog, reading.copy.position)
            return []
        self._end()
        self._patience = PATIENCE
        del self._wanted[task.id]
        commands = flow.attach(task)
        check_state(task, reading.committed or {})
        check_logs(task, flow.ends(), self._transport)
        return commands

    def _go_on_with_another(self, task: TaskId) -> None:
        """Nothing comes: somebody's transaction is open, and must not hold the others back too."""
        self._patience *= 2  # so that a slow broker is not taken for one that has nothing
        self._standby.park(self._end())
        del self._wanted[task]
        self._wanted[task] = None

    def _end(self) -> Copy:
        assert self._reading is not None
        reading, self._reading = self._reading, None
        close = getattr(reading.batches, "close", None)
        if close is not None:
            close()  # lets go of the partition
        return reading.copy
