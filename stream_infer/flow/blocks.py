"""flow.blocks: streams between our own tasks, whose records carry many rows. codec.block → *blocks* → task.

Rows of one record share its offset, so each has a place of its own: offset · 65,536 + its number in the record. Positions within a task
count in places; the broker and the group know whole records, of which one is done when all its rows are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_infer.codec.block import Block, BlockError, Head, read_block, write_blocks
from stream_infer.codec.schema import parse_schema
from stream_infer.flow.channel import END
from stream_infer.flow.commands import Produce
from stream_infer.flow.rows import BAD, GOOD, Bad, Rows, absent, concat_rows
from stream_infer.flow.transport import no_text
from stream_infer.records import Column, Fetched, Ints, Numbers, Text
from stream_infer.topology.hop_schema import ORDER_MS
from stream_infer.topology.plan import StreamPlan

PLACE_BITS = 16  # a block has at most 65,535 rows


@dataclass(slots=True)
class Sourced:
    """Rows by the number of the task that wrote them, each task's in log order.

    marks: what each promises after them; ends: the run that each came to the end of.
    """

    rows: dict[int, Rows] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    def promised(self, source: int) -> list[int]:
        """What one task promised."""
        return [promises[source] for promises in (self.marks, self.ends) if source in promises]

    def own(self) -> Sourced:
        """The same for one more reader."""
        return Sourced({source: rows.own() for source, rows in self.rows.items()}, self.marks, self.ends)


class BlockIntake:
    """Reads the records of one stream between our own tasks. Rows that went on under another key say where they stood among all."""

    def __init__(self, stream: StreamPlan) -> None:
        assert stream.event_time is not None
        self.stream, self._time = stream, stream.event_time
        self._fields = parse_schema(stream.schema, stream.name).fields
        self._order = ORDER_MS if any(field.name == ORDER_MS for field in self._fields) else self._time

    def rows(self, fetched: Fetched) -> Sourced:
        """All rows and marks. A record that is no block of ours becomes a rejected row of source 0."""
        found, parts = Sourced(), dict[int, list[Rows]]()
        for index, block in enumerate(read_blocks(fetched)):
            place = int(fetched.offsets[index]) << PLACE_BITS
            if isinstance(block, BlockError):
                parts.setdefault(0, []).append(self._bad(fetched, index, place, str(block)))
                continue
            source, mark = block.head["source"], block.head["mark"]
            if mark is not None:
                promises = found.ends if mark >= END else found.marks
                promises[source] = max(promises.get(source, mark), mark)
            if block.rows:
                parts.setdefault(source, []).append(self._rows(block, place))
        found.rows = {source: concat_rows(rows) for source, rows in sorted(parts.items())}
        return found

    def _rows(self, block: Block, place: int) -> Rows:
        columns = {f.name: block.columns[f.name] for f in self._fields}
        flags = np.full(block.rows, GOOD, dtype=np.uint8)
        return Rows(place + np.arange(block.rows), _whole(columns[self._time]), _whole(columns[self._order]), flags, columns)

    def _bad(self, fetched: Fetched, index: int, place: int, reason: str) -> Rows:
        columns = {f.name: absent(f.kind, 1) for f in self._fields}
        one = fetched.take(slice(index, index + 1))
        bad = Bad(self.stream.name, fetched.topic, fetched.partition, place >> PLACE_BITS, reason, one.keys.raw()[0], one.values.raw()[0])
        return Rows(np.array([place]), one.timestamps, one.timestamps, np.full(1, BAD, dtype=np.uint8), columns, {place: bad})


class BlockEmitter:
    """Writes rows and marks of one task, whose number is `source`, into a topic between our tasks."""

    def __init__(self, topic: str, source: int) -> None:
        self._topic, self._source = topic, source

    def rows(self, columns: Mapping[str, Column], count: int, partition: int, said: Head | None = None) -> list[Produce]:
        """`count` rows into one partition, in as few records as they fit into. said: of all rows at once."""
        head = {"source": self._source, "mark": None, **(said or {})}
        blocks = write_blocks(columns, count, head) if count else []
        return [self._produce(blocks, partition)] if blocks else []

    def mark(self, reached: int, partition: int) -> Produce:
        """The promise that no row with a lower order will follow from this task; from END on: none in this run."""
        return self._produce(write_blocks({}, 0, {"source": self._source, "mark": reached}), partition)

    def _produce(self, blocks: list[bytes], partition: int) -> Produce:
        return Produce(self._topic, partition, no_text(len(blocks)), Text.of(blocks, is_bytes=True))


def read_blocks(fetched: Fetched) -> Iterator[Block | BlockError]:
    """The block of each record, or why it is none."""
    values = fetched.values
    size = values.size if values.valid is None else values.size * values.valid
    for first, count in zip(values.start.tolist(), size.tolist(), strict=True):
        try:
            yield read_block(values.blob[first : first + count])
        except BlockError as error:
            yield error


def _whole(column: Column) -> Ints:
    assert isinstance(column, Numbers)
    return column.values.astype(np.int64)
