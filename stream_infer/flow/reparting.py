"""flow.reparting: rows go on under another key, through an internal topic that the next section reads. enrich → *reparting* → edge.

Each partition of that topic carries rows of every upstream task. The reader takes each task's rows as a channel of its own
(`_source`), so their merged order does not depend on who wrote first; marks promise how far each task has come.
"""

from __future__ import annotations

import numpy as np

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.flow.channel import BEGIN, END
from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.enrich import ORIGIN, Flowing, as_text
from stream_infer.flow.rows import absent
from stream_infer.flow.transport import no_text
from stream_infer.records import Column, Numbers, Text
from stream_infer.topology.plan import Plan, RepartitionStep, SectionPlan

SOURCE, IS_MARK, AT_MS, ORDER_MS = "_source", "_is_mark", "_at_ms", "_order_ms"
MARK_EVERY_MS = 1000  # of event time: how coarsely a task tells the next section how far it has come


class Repartitioner:
    """Writes the rows of one task under the key `by`. marked: the last promise given."""

    def __init__(self, step: RepartitionStep, plan: Plan, section: SectionPlan, partition: int) -> None:
        self._step, self._partition = step, partition
        self._stream = plan.streams[step.stream]
        self._schema = parse_schema(self._stream.schema, self._stream.name)
        self._encoder = RowEncoder(self._schema, self._stream.format, self._stream.framing)
        self._section = section.name
        self.marked = BEGIN

    def emit(self, flowing: Flowing) -> list[Command]:
        """All rows, each to the partition of its key; rows without a key go to partition 0."""
        count = len(flowing)
        columns: dict[str, Column] = dict(flowing.columns)
        columns |= {SOURCE: _ints(self._partition, count), IS_MARK: Numbers(np.zeros(count, dtype=np.bool_))}
        columns |= {AT_MS: Numbers(flowing.times), ORDER_MS: Numbers(flowing.keys)}
        name = np.frombuffer(flowing.topic.encode(), dtype=np.uint8)
        topic = Text(name, np.zeros(count, np.int64), np.full(count, len(name)))
        if ORIGIN[0] not in columns:
            columns |= {ORIGIN[0]: topic, ORIGIN[1]: Numbers(flowing.partition), ORIGIN[2]: Numbers(flowing.offsets)}
        key = as_text(flowing.columns[self._step.by])
        values = self._encoder.encode({f.name: columns[f.name] for f in self._schema.fields})
        if key.valid is None or key.valid.all():
            # By murmur2 of the key, as users' producers do: the streams it meets there are partitioned so.
            return [Produce(self._stream.topic, None, key, values)]
        known = np.flatnonzero(key.valid)
        keyless = np.flatnonzero(~key.valid)
        return [
            Produce(self._stream.topic, None, key.take(known), values.take(known)),
            Produce(self._stream.topic, 0, no_text(len(keyless)), values.take(keyless)),
        ]

    def advance(self, reached: int) -> list[Command]:
        """Promise every reader that nothing earlier will follow from this task."""
        edge = END if reached >= END else reached // MARK_EVERY_MS * MARK_EVERY_MS
        if edge <= self.marked:
            return []
        self.marked = edge
        columns: dict[str, Column] = {f.name: _one(f.kind, nullable=f.nullable) for f in self._schema.fields}
        columns |= {SOURCE: _ints(self._partition, 1), IS_MARK: Numbers(np.ones(1, dtype=np.bool_))}
        columns |= {AT_MS: _ints(edge, 1), ORDER_MS: _ints(edge, 1)}
        value = self._encoder.encode(columns)
        return [Produce(self._stream.topic, partition, no_text(1), value) for partition in range(self._stream.partitions)]


def _ints(value: int, count: int) -> Numbers:
    return Numbers(np.full(count, value, dtype=np.int64))


def _one(kind: str, *, nullable: bool) -> Column:
    """A column of one row of no meaning."""
    column = absent(kind, 1)
    if nullable:
        return column
    if isinstance(column, Numbers):
        return Numbers(column.values)
    zeros = np.zeros(1, dtype=np.int64)
    return Text(np.zeros(0, dtype=np.uint8), zeros, zeros) if isinstance(column, Text) else type(column)(np.zeros(0), zeros, zeros)
