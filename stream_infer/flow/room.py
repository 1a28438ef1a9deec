"""flow.room: how many rows may wait to be worked on, and what is read meanwhile. tasks → *room* → flow, worker.

Two ways to read less. Not to ask costs nothing: what comes waits at the client. To pause a partition throws away what the client has of
it, to be fetched again: of 500,000 events of 3 kB a worker did 200,000 a second so, and 330,000 by not asking (by turns, exactly once).
So partitions are paused only for others' sake: when no room is left and records are there for a task that has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from stream_infer.flow.commands import Command, Pause, Resume
from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Task
from stream_infer.flow.transport import Partition

# The client fetches nothing more while it holds so much of one partition, so nobody hears of what comes to the others.
SHUT_MS_MAX = 500


class Room:
    """What waits of each partition, and which are paused.

    rows_max: the topology's limit. share_min: so many rows of a partition may wait at a task even if the limit, shared out, is less.
    tasks: all there are, and readers: those that read each partition, as it stands at any time.
    """

    def __init__(self, rows_max: int, share_min: int, tasks: Mapping[TaskId, Task], readers: Mapping[Partition, list[Task]]) -> None:
        self._rows_max, self._share_min, self._tasks, self._readers = rows_max, share_min, tasks, readers
        self._paused: set[Partition] = set()
        self._shut_at: int | None = None  # since when nothing was wanted

    def __len__(self) -> int:
        """How many partitions wait for room."""
        return len(self._paused)

    def waiting(self) -> int:
        """Rows read and not worked on, over all tasks."""
        return sum(task.buffered(partition) for task in self._tasks.values() for partition in task.inputs())

    def wants(self, rows: int, now: int, lag: Callable[[Partition], int]) -> bool:
        """Whether so many rows more should be read: there is room, or a task has nothing to do and there may be records for it.

        lag: how many of a partition there are, as far as is known. A task without work is given a read now and then, whatever is known.
        """
        if self.waiting() + rows <= self._rows_max:
            self._shut_at = None
            return True
        lacking = {p for task in self._tasks.values() if not (task.full or task.merge.chunk_waits(now)) for p in task.inputs()}
        since = now if self._shut_at is None else self._shut_at
        wanted = any(lag(p) > 0 for p in lacking) or (bool(lacking) and now - since >= SHUT_MS_MAX)
        self._shut_at = None if wanted else since
        return wanted

    def pause(self, partition: Partition) -> list[Command]:
        """Read no more of a partition that has its share of the room, once no room is left, unless a task cannot go on without it."""
        if partition in self._paused or self._most(partition) < self._share() or self.waiting() <= self._rows_max:
            return []
        if partition in self._limiting():
            return []
        self._paused.add(partition)
        return [Pause([partition])]

    def resume(self, partitions: Iterable[Partition]) -> list[Command]:
        """Read these again, if they are paused."""
        again = sorted(p for p in partitions if p in self._paused)
        self._paused.difference_update(again)
        return [Resume(again)] if again else []

    def resume_low(self) -> list[Command]:
        """Read again what has room, and what a task cannot go on without."""
        if not self._paused:
            return []
        # Half full, not full: resuming costs a fetch (20 to 40 ms), so not for every row.
        half = self._share() // 2
        return self.resume({p for p in self._paused if self._most(p) < half} | (self._limiting() & self._paused))

    def _share(self) -> int:
        return max(self._share_min, self._rows_max // max(1, len(self._readers)))

    def _most(self, partition: Partition) -> int:
        return max(task.buffered(partition) for task in self._readers[partition])

    def _limiting(self) -> set[Partition]:
        """Partitions that some task cannot go on without, whatever else waits there."""
        return {p for task in self._tasks.values() if not task.full and (p := task.limiting()) is not None}


def unknown_lag(_: Partition) -> int:
    """A lag for who cannot know what is there: of each partition there may be more."""
    return 1
