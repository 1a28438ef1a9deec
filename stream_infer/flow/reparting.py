"""flow.reparting: rows go on under another key, through an internal topic that the next section reads. enrich → *reparting* → edge.

Each partition of that topic carries blocks of rows of every upstream task. The reader takes each task's rows as a channel of its own,
so their merged order does not depend on who wrote first; marks promise how far each task has come.
"""

from __future__ import annotations

import numpy as np

from stream_infer.codec.schema import parse_schema
from stream_infer.flow.blocks import BlockEmitter
from stream_infer.flow.channel import BEGIN, END
from stream_infer.flow.commands import Command
from stream_infer.flow.enrich import ORIGIN, Flowing, as_text
from stream_infer.flow.partitioning import partitions_of
from stream_infer.records import Numbers, Text
from stream_infer.topology.hop_schema import AT_MS, ORDER_MS
from stream_infer.topology.plan import Plan, RepartitionStep

MARK_EVERY_MS = 1000  # of event time: how coarsely a task tells the next section how far it has come


class Repartitioner:
    """Writes the rows of one task under the key `by`. marked: the last promise given."""

    def __init__(self, step: RepartitionStep, plan: Plan, partition: int) -> None:
        self._step = step
        self._stream = plan.streams[step.stream]
        self._fields = parse_schema(self._stream.schema, self._stream.name).fields
        self._emitter = BlockEmitter(self._stream.topic, partition)
        self.marked = BEGIN

    def emit(self, flowing: Flowing) -> list[Command]:
        """All rows, each to the partition of its key; rows without a key go to partition 0."""
        columns = flowing.columns | {AT_MS: Numbers(flowing.times), ORDER_MS: Numbers(flowing.keys)}
        if ORIGIN[0] not in columns:
            topic = Text.of([flowing.topic]).take(np.zeros(len(flowing), dtype=np.int64))
            columns |= {ORIGIN[0]: topic, ORIGIN[1]: Numbers(flowing.partition), ORIGIN[2]: Numbers(flowing.offsets)}
        wanted = {field.name: columns[field.name] for field in self._fields}
        into = partitions_of(as_text(columns[self._step.by]), self._stream.partitions)
        commands: list[Command] = []
        for partition in np.unique(into).tolist():
            rows = np.flatnonzero(into == partition)
            mine = {name: column.take(rows) for name, column in wanted.items()}
            commands += self._emitter.rows(mine, len(rows), partition)
        return commands

    def advance(self, reached: int) -> list[Command]:
        """Promise every reader that nothing earlier will follow from this task."""
        edge = reached
        if reached < END:
            edge = reached // MARK_EVERY_MS * MARK_EVERY_MS
            if edge <= self.marked:
                return []
            self.marked = edge
        return [self._emitter.mark(edge, partition) for partition in range(self._stream.partitions)]
