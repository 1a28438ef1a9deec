"""sim.machines: what a simulated process is made of: transport, models, disk, worker. transport → *machines* → world."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stream_infer.flow.commands import Forward
from stream_infer.flow.notices import CallDone, Ended, TaskId
from stream_infer.flow.ports import Answerer
from stream_infer.flow.task import Snapshot
from stream_infer.flow.transport import Partition
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.records import Fetched
from stream_infer.sim.calling import SimCaller
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.story import StoryFlow
from stream_infer.sim.transport import SimTransport


class Killed(Exception):
    """kill -9 reached the worker at a call to its broker."""


class WorldTransport(SimTransport):
    """A transport at whose calls the world may strike. before: called at the start of each call."""

    before: Callable[[], None] | None = None
    read_rows = 20  # so few that restoring takes many turns, and the world goes on in between

    def _must_live(self) -> None:
        if self.before is not None:
            self.before()
        super()._must_live()

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """As SimTransport.end_offsets."""
        self._must_live()
        return super().end_offsets(partitions)

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        """As SimTransport.read."""
        self._must_live()
        return super().read(partition, offset)


class WorldForwarder(SimForwarder):
    """Models that may take long; where some are called slow, these alone. wait: lets simulated time pass."""

    def __init__(
        self, models: Mapping[str, Model], draw: Callable[[int], int], clock: Callable[[], int], wait: Callable[[int], None]
    ) -> None:
        super().__init__(models, draw)
        self._clock, self._wait = clock, wait
        self.held_until = 0

    def submit(self, command: Forward) -> None:
        """As SimForwarder.submit; what a model is given is frozen, as it is when it travels to a process."""
        command.matrix.setflags(write=False)
        super().submit(command)

    def finished(self, wait_ms: int) -> list[Ended]:
        """As SimForwarder.finished, nothing (of the slow ones) while held."""
        held = self._clock() < self.held_until
        slow = {name for name in self._models if name.startswith("slow")}
        self.stalled = slow if held else set()
        told = [] if held and not slow else super().finished(wait_ms)
        if held and not told:
            self._wait(wait_ms)
        return told


class WorldCaller(SimCaller):
    """Calls that may take long. wait: lets simulated time pass."""

    def __init__(
        self, answerers: Mapping[str, Answerer], draw: Callable[[int], int], clock: Callable[[], int], wait: Callable[[int], None]
    ) -> None:
        super().__init__(answerers, draw)
        self._clock, self._wait = clock, wait
        self.held_until = 0

    def finished(self, wait_ms: int) -> list[CallDone]:
        """As SimCaller.finished, nothing while held."""
        if self._clock() < self.held_until:
            self._wait(wait_ms)
            return []
        return super().finished(wait_ms)


class Disk:
    """Snapshots of one host, which outlive its worker."""

    def __init__(self) -> None:
        self._kept: dict[TaskId, tuple[Snapshot, int]] = {}

    def load(self, task: TaskId, changelog_end: int) -> tuple[Snapshot, int] | None:
        """The last one, unless it claims more than the changelog holds."""
        found = self._kept.get(task)
        return None if found is None or found[1] > changelog_end else found

    def save(self, task: TaskId, snapshot: Snapshot, changelog_end: int) -> None:
        """Keep a copy."""
        copied = {store: {name: array.copy() for name, array in arrays.items()} for store, arrays in snapshot.items()}
        self._kept[task] = (copied, changelog_end)

    def forget(self) -> None:
        """The disk is lost."""
        self._kept.clear()


@dataclass
class Process:
    """A running worker. fuse: calls to the broker until something strikes; asleep: within a stall."""

    slot: str
    worker: Worker
    flow: StoryFlow
    transport: WorldTransport
    forwarder: WorldForwarder
    caller: WorldCaller
    fuse: int = -1
    fate: str = ""
    stall_ms: int = 0
    asleep: bool = False
