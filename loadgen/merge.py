"""loadgen.merge: several tables as one log in event-time order, encoded piece by piece. flights | synthetic → *merge* → send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from loadgen.tables import Table
from loadgen.wiring import Wire
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Ints


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive records of the merged log, ready to send; parallel lists."""

    topics: list[str]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[list[tuple[str, str | bytes | None]]]
    timestamps: list[int]

    def __len__(self) -> int:
        return len(self.timestamps)


class MergedLog:
    """The tables' rows by event time; rows of one time in the order of the tables, then in their own.

    event_time: int64[n], of the merged log. begin_ms: of the first row that is no table's: tables are there from the beginning.
    """

    def __init__(self, tables: Mapping[str, Table], wires: Mapping[str, Wire]) -> None:
        self._tables = list(tables.values())
        self._topics = [wires[name].topic for name in tables]
        self._encoders = [RowEncoder(parse_schema(wires[name].schema), wires[name].format, wires[name].framing) for name in tables]
        self._headers: list[list[tuple[str, str | bytes | None]]] = [[*encoder.headers] for encoder in self._encoders]
        sizes = [len(table) for table in self._tables]
        times = np.concatenate([table.event_time for table in self._tables])
        order = np.argsort(times, kind="stable")
        self.event_time: Ints = times[order]
        begins = [int(table.event_time[0]) for name, table in tables.items() if len(table) and not wires[name].compacted]
        self.begin_ms = min(begins, default=0)
        self._table_of = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)[order]
        self._row_of = np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])[order]

    def __len__(self) -> int:
        return len(self.event_time)

    def piece(self, first: int, last: int) -> Piece:
        """Rows first … last - 1 of the merged log."""
        size = last - first
        topics: list[str] = [""] * size
        keys: list[bytes | None] = [None] * size
        values: list[bytes | None] = [None] * size
        headers: list[list[tuple[str, str | bytes | None]]] = [[]] * size
        for index, table in enumerate(self._tables):
            places = np.flatnonzero(self._table_of[first:last] == index)
            if not len(places):
                continue
            rows = table.take(self._row_of[first:last][places])
            topic, encoder, header = self._topics[index], self._encoders[index], self._headers[index]
            for place, key, value in zip(places.tolist(), rows.keys().raw(), encoder.encode(rows.columns).raw(), strict=True):
                topics[place], keys[place], values[place], headers[place] = topic, key, value, header
        return Piece(topics, keys, values, headers, self.event_time[first:last].tolist())

    def pieces(self, rows: int) -> Iterator[Piece]:
        """The whole log in pieces of `rows` records; the last is shorter."""
        for first in range(0, len(self), rows):
            yield self.piece(first, min(first + rows, len(self)))
