"""flow.task: one section of the plan on one partition: the unit of state, order and ownership. merge → *task* → flow.

A task works through its chunks in order; while models are at one, the next is prepared already (its features are read, its passes
asked for), and answers are given chunk by chunk. State is what the chunks made of it, so when none is under way it can be written
down: changed keys to the changelog, positions beside them, offsets of the group in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.blocks import PLACE_BITS, Sourced
from stream_infer.flow.channel import BEGIN, CHANGES, END, TOLD, Channel, Place
from stream_infer.flow.commands import Command, Produce, Seek
from stream_infer.flow.merge import Chunk, Merge
from stream_infer.flow.notices import CallDone, Installed, InstallFailed, TaskId
from stream_infer.flow.rows import Rows
from stream_infer.flow.transport import Partition
from stream_infer.flow.work import Work
from stream_infer.records import Floats, Text
from stream_infer.state import begins_with, join_texts, pack_text, with_prefix
from stream_infer.topology.plan import InputPlan, LearnStep, Plan, SectionPlan

Snapshot = dict[str, dict[str, NDArray[np.generic]]]  # arrays by store; the positions under "task"
CHUNKS_MAX = 2  # one at the models, one being prepared: more only adds to what each row waits (serving: pipeline depth 2)
TASK_KEY = b"\x00task"  # the changelog key of positions; no store's key begins with a zero byte
NOWHERE = {"number": 0, "advanced": BEGIN, "closed": BEGIN, "extra": None}  # of a task that has not begun


class Task:
    """One (section, partition). work: what is done with chunks; end: which run ends where the logs end (see Flow), None: a live one."""

    def __init__(
        self, plan: Plan, section: SectionPlan, partition: int, work: Work, *, end: int | None, rows_max: int, every_ms: int | None
    ) -> None:
        self.id: TaskId = (section.name, partition)
        self.plan, self.section, self.partition, self.work, self._end = plan, section, partition, work, end
        channels = [c for i in section.inputs for c in _channels(plan, section, i, partition, end is not None)]
        self.merge = Merge(channels, rows_max, plan.wait_ms_max, end is not None, every_ms)
        self._by_partition: dict[Partition, list[Channel]] = {}
        for channel in self.merge.channels:
            self._by_partition.setdefault((channel.topic, channel.place.partition), []).append(channel)
        self._read_to: dict[Partition, int] = {}
        self._reached = {"advanced": BEGIN, "closed": BEGIN}  # how far time has come; the last run that came to its end
        self.saved = b""  # the positions as of the last checkpoint
        # Of each chunk under way, how far time had come when it began: what may be told when the chunk before it has been answered.
        self._begun: list[int] = []
        self._can_begin = False
        self.dirty = False  # something happened since the last checkpoint

    # -- reading ---------------------------------------------------------------------------------------------------

    def inputs(self) -> list[Partition]:
        """The partitions this task reads."""
        return list(self._by_partition)

    def owned(self, partition: Partition) -> bool:
        """Whether the partition belongs to the task alone (and its offset to the group)."""
        stream = self._by_partition[partition][0].stream
        return not self.section.input(stream).is_global

    def followed(self, partition: Partition) -> bool:
        """Whether the partition is read outside of the group: if one task needs that, all do it, or rows would overtake each other."""
        stream = self._by_partition[partition][0].stream
        return any(i.stream == stream and i.is_global for section in self.plan.sections for i in section.inputs)

    def receive(self, partition: Partition, rows: Rows | Sourced, read_to: int, now: int) -> None:
        """Rows of one of the inputs, in log order, of which those seen before a rewind are dropped. read_to: the place after them."""
        known = self._read_to.get(partition, 0)
        self._read_to[partition] = max(known, read_to)
        for channel in self._by_partition[partition]:
            mine = rows.rows.get(channel.place.source) if isinstance(rows, Sourced) else rows
            if mine is not None and len(mine) and int(mine.offsets[0]) < known:
                mine = mine.take(mine.offsets >= known)
            promises = rows.promised(channel.place.source) if isinstance(rows, Sourced) else []
            fresh = mine is not None and len(mine) > 0
            if (fresh or promises) and channel.gates:  # versions tell no time: one that comes alone must not turn the clock back
                self.merge.received(now)
            if mine is not None and fresh:
                channel.receive(mine)
            for promise in promises:
                channel.promise(promise)

    def promise(self, stream: str, time: int) -> None:
        """The one channel of an internal stream promises that nothing earlier will follow."""
        for channel in self.merge.channels:
            if channel.stream == stream:
                channel.promise(time)

    def time(self, at_end: frozenset[Partition], ends: dict[Partition, int] | None) -> None:
        """Time goes on. ends: where the logs of the users' streams end, in a deterministic run."""
        for partition, channels in self._by_partition.items():
            for channel in channels:
                channel.at_end = partition in at_end
                if ends is not None and partition in ends:
                    channel.ended = self.read_to(partition) >= ends[partition] or channel.at_end  # the log may end in transaction marks
                else:
                    channel.ended = self._end is not None and channel.closed >= self._end

    def read_to(self, partition: Partition) -> int:
        """Offset after the last record read."""
        return self._read_to.get(partition, 0) >> self._place_bits(partition)

    def _place_bits(self, partition: Partition) -> int:
        """Of a place the bits that count rows within their record: places here, offsets outside."""
        return PLACE_BITS if self.section.input(self._by_partition[partition][0].stream).sources else 0

    def worked_to(self, partition: Partition) -> int:
        """Below this offset every row was worked on (held rows apart)."""
        places = [channel.next if channel.waits() else self._read_to.get(partition, 0) for channel in self._by_partition[partition]]
        return min(places) >> self._place_bits(partition)

    def limiting(self) -> Partition | None:
        """The partition of which more must be read before this task can begin a chunk; None when none is missing."""
        channel = None if self._can_begin else self.merge.limiting()
        return None if channel is None else (channel.topic, channel.place.partition)

    def oldest(self, partition: Partition) -> int | None:
        """Event time of the first row read but not worked on; None when there is none."""
        return min((time for channel in self._by_partition[partition] if (time := channel.first_time()) is not None), default=None)

    def buffered(self, partition: Partition) -> int:
        """Rows read but not released."""
        return sum(channel.buffered() for channel in self._by_partition[partition])

    # -- working ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a chunk is under way."""
        return bool(self._begun)

    @property
    def full(self) -> bool:
        """Whether no further chunk may begin."""
        return len(self._begun) >= CHUNKS_MAX

    @property
    def held(self) -> bool:
        """Whether no chunk may begin for now, whatever waits."""
        return self.work.held

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A published version is there, or is not to be had: what follows takes hold between two chunks."""
        commands = self.work.installed(notice)
        self.dirty = self.dirty or bool(commands)
        return commands

    def stands_at(self, chunk: Chunk | None) -> tuple[str, int, int]:
        """(topic, partition, offset) of the first flowing row of a chunk, or that no chunk holds yet (held rows apart)."""
        nexts = [channel.next for channel in self.merge.channels] if chunk is None else chunk.began.tolist()
        flowing = [number for number, channel in enumerate(self.merge.channels) if channel.stream == self.section.flowing]
        number = min(flowing, key=lambda number: nexts[number])
        partition = (self.merge.channels[number].topic, self.merge.channels[number].place.partition)
        return (*partition, nexts[number] >> self._place_bits(partition))

    def step(self, now: int) -> list[Command]:
        """Begin the next chunk if there is room for one and enough is known; tell the work how far time has come."""
        if self.full or self.held:
            return []
        reached = self._progress(now)
        chunk = self.merge.chunk(now)
        self._can_begin = chunk is not None
        if chunk is not None:
            self._begun.append(reached)
            self.dirty = True
            return self.work.start(chunk) + self._finish(now)
        return [] if self._begun else self._advance(reached)

    def answered(self, job: int, outputs: Floats | None, reason: str, now: int, place: tuple[int, int] | None = None) -> list[Command]:
        """A model answered (outputs, from this place of a pass) or raised (reason)."""
        commands = self.work.failed(job, reason) if outputs is None else self.work.done(job, outputs, place)
        return commands + self._finish(now)

    def called(self, notice: CallDone, now: int) -> list[Command]:
        """A call came back."""
        return self.work.called(notice) + self._finish(now)

    def overdue(self, now: int) -> list[Command]:
        """Chunks go on without models that are late, where they can."""
        return self.work.overdue(now) + self._finish(now) if self._begun else []

    def _finish(self, now: int) -> list[Command]:
        """Answer the chunks that models and calls are through with, in order."""
        commands: list[Command] = []
        while self._begun and not self.work.waiting():
            self._begun.pop(0)
            commands += self.work.finish()
            commands += self._advance(self._begun[0] if self._begun else self._progress(now))
        return commands

    def _progress(self, now: int) -> int:
        """How far time has come; BEGIN where nobody asks: a run without end, and work that does not hear of it."""
        return self.merge.progress(now) if self._end is not None or self.work.hears_time else BEGIN

    def _advance(self, reached: int) -> list[Command]:
        if reached < END or self._end is None:
            return self._reach("advanced", reached)
        # The end of these logs is not the end of time: the next run goes on from that of the last row, however much was read at once.
        return self._reach("advanced", self.merge.stand()) + self._reach("closed", self._end)

    def _reach(self, which: str, reached: int) -> list[Command]:
        if reached <= self._reached[which]:
            return []
        self._reached[which] = reached
        commands = self.work.advance(reached)
        self.dirty = self.dirty or bool(commands)
        return commands

    def finished(self) -> bool:
        """The logs have ended and everything of them is worked through (deterministic runs)."""
        closed = self._end is not None and not self._begun and self._reached["closed"] >= self._end
        return closed and self.merge.through()

    # -- state -----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> tuple[list[Command], dict[Partition, int]]:
        """Changelog records of what changed since the last one, and the group's offsets. Only between chunks."""
        assert not self.busy, f"task {self.id}: checkpoint within a chunk"
        waited = self.work.at_checkpoint()
        changes = [(name, *store.changes()) for name, store in self.work.stores.items()]
        keys = [with_prefix(name.encode() + b"\x00", changed) for name, changed, _ in changes if len(changed)]
        values = [packed for _, changed, packed in changes if len(changed)]
        self.saved = self._positions()
        keys.append(pack_text([TASK_KEY]))
        values.append(pack_text([self.saved]))
        self.dirty = False
        return [*waited, Produce(self.section.state_topic, self.partition, join_texts(keys), join_texts(values))], self.offsets()

    def offsets(self) -> dict[Partition, int]:
        """Per owned partition: below it every row was answered or rejected."""
        lows = {}
        for partition, channels in self._by_partition.items():
            if self.owned(partition):
                low = min(channel.low(self._read_to.get(partition, 0)) for channel in channels)
                lows[partition] = low >> self._place_bits(partition)  # a record is read again until all its rows are done
        return lows

    def _positions(self) -> bytes:
        channels = [[c.place.rank, c.place.partition, c.place.source, *c.position()] for c in self.merge.channels]
        lows = [[*partition, offset] for partition, offset in self.offsets().items()]
        content = {"channels": channels, "lows": lows, "number": self.merge.number, **self._reached, "extra": self.work.extra()}
        return json.dumps(content, separators=(",", ":")).encode()

    def saved_lows(self) -> dict[Partition, int]:
        """The group's offsets as of the last checkpoint; empty before the first."""
        lows = json.loads(self.saved)["lows"] if self.saved else []
        return {(topic, partition): offset for topic, partition, offset in lows}

    def snapshot(self) -> Snapshot:
        """All state as of the last checkpoint, as arrays. Only right after a commit."""
        assert not self.dirty, f"task {self.id}: a snapshot between commits"
        positions = {"positions": np.frombuffer(self.saved, dtype=np.uint8)}
        return {name: store.snapshot() for name, store in self.work.stores.items()} | {"\x00task": positions}

    def load(self, snapshot: Snapshot) -> None:
        """Have the state of the task that gave the snapshot; rewind() follows, after the records that came since."""
        self.saved = snapshot["\x00task"]["positions"].tobytes()
        for name, store in self.work.stores.items():
            store.load(snapshot[name])

    def apply(self, keys: Text, values: Text) -> None:
        """Take in records of the changelog, in order; rewind() follows at its end."""
        positions = np.flatnonzero(begins_with(keys, TASK_KEY))
        if len(positions):
            self.saved = values.take(positions[-1:]).raw()[0] or b""
        for name, store in self.work.stores.items():
            prefix = name.encode() + b"\x00"
            rows = np.flatnonzero(begins_with(keys, prefix))
            if len(rows):
                mine = keys.take(rows)
                store.restore(Text(mine.blob, mine.start + len(prefix), mine.size - len(prefix), is_bytes=True), values.take(rows))

    def rewind(self) -> list[Command]:
        """Read again from the last checkpoint; the state stays, for it is the checkpoint's."""
        content: dict[str, Any] = json.loads(self.saved) if self.saved else {"channels": [], **NOWHERE}
        places = {Place(*entry[:3]): entry[3:] for entry in content["channels"]}
        for channel in self.merge.channels:
            channel.rewind(places.get(channel.place, [0, BEGIN, BEGIN, BEGIN, []]))
        self.merge.number, self._reached = content["number"], {name: content[name] for name in self._reached}
        self.merge.received(None)
        self._read_to = {partition: self._start(partition) for partition in self._by_partition}
        self._begun, self.dirty = [], False
        return [Seek(p, self.read_to(p), not self.followed(p)) for p in self._read_to] + self.work.restore(content["extra"])

    def start_at(self, offsets: Mapping[Place, int]) -> None:
        """Begin to read at these offsets, with empty state; rewind() follows. For work that is not committed."""
        channels = [[p.rank, p.partition, p.source, offset, BEGIN, BEGIN, BEGIN, []] for p, offset in offsets.items()]
        self.saved = json.dumps({"channels": channels, "lows": [], **NOWHERE}, separators=(",", ":")).encode()

    def _start(self, partition: Partition) -> int:
        lows = self.saved_lows()
        if partition in lows:
            return lows[partition] << self._place_bits(partition)
        return min(min([c.next, *c.resume_held]) for c in self._by_partition[partition])


def _channels(plan: Plan, section: SectionPlan, source: InputPlan, partition: int, deterministic: bool) -> Iterable[Channel]:
    stream = plan.streams[source.stream]
    partitions = range(stream.partitions) if source.is_global else (partition,)
    decide_at = stream.decide_at if source.stream == section.flowing else None
    learns = any(isinstance(step, LearnStep) for other in plan.sections for step in other.steps)
    gates = source.stream not in TOLD or (deterministic and (learns or source.stream == CHANGES))
    for number in partitions:
        for upstream in range(max(1, source.sources)):
            yield Channel(source.stream, stream.topic, Place(source.rank, number, upstream), decide_at, gates, stream.late_after_ms)
