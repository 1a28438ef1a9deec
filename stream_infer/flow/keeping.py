"""flow.keeping: which task's state goes into a snapshot when. ports → *keeping* → worker.

Copying a state takes the loop some milliseconds per 100 MB, so tasks take turns: one at a time, spread over the interval, and none that has
not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_infer.flow.notices import TaskId
from stream_infer.flow.ports import Snapshots
from stream_infer.flow.task import Task

ANEW_MS = 3_600_000  # a state that does not change is written this often all the same: old snapshots are passed over


class Keeping:
    """The snapshots of one process' tasks, each every_ms. clock: ms, monotone."""

    def __init__(self, snapshots: Snapshots | None, every_ms: int, clock: Callable[[], int]) -> None:
        self._snapshots, self._every_ms, self._clock = snapshots, every_ms, clock
        self._at: dict[TaskId, int] = {}
        self._kept: dict[TaskId, tuple[bytes, int]] = {}  # positions and time of the last one

    def due(self, tasks: Mapping[TaskId, Task]) -> Task | None:
        """The task whose turn it is, if any."""
        if self._snapshots is None:
            return None
        now = self._clock()
        self._at = {task: at for task, at in self._at.items() if task in tasks}
        fresh = [task for task in tasks if task not in self._at]
        for number, task in enumerate(fresh):
            self._at[task] = now + self._every_ms * (number + 1) // len(fresh)
        first = min(self._at, key=self._at.__getitem__, default=None)
        return None if first is None or self._at[first] > now else tasks[first]

    def keep(self, task: Task, changelog_end: int) -> None:
        """Right after a commit that holds. changelog_end: asked before it."""
        assert self._snapshots is not None
        now = self._clock()
        self._at[task.id] = now + self._every_ms
        positions, at = self._kept.get(task.id, (None, 0))
        if positions == task.saved and now - at < ANEW_MS:
            return
        self._snapshots.save(task.id, task.snapshot(), changelog_end)
        self._kept[task.id] = (task.saved, now)
