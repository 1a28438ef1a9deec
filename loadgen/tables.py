"""loadgen.tables: the events of one stream, as columns in event-time order. *tables* → flights | synthetic → send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Bools, Column, Floats, Ints, Numbers, Text


@dataclass(frozen=True, slots=True)
class Table:
    """Events of one stream. event_time: int64[n] ms since 1970, ascending; columns: name → column of n rows.

    key: the column that keys the records.
    """

    event_time: Ints
    columns: dict[str, Column]
    key: str

    def __len__(self) -> int:
        return len(self.event_time)

    def take(self, rows: Ints | Bools) -> Table:
        """The chosen rows. rows: int64[m] places, or bool[n]."""
        return Table(self.event_time[rows], {name: column.take(rows) for name, column in self.columns.items()}, self.key)

    def between(self, from_ms: int, to_ms: int) -> Table:
        """The events with from_ms ≤ event time < to_ms."""
        low, high = np.searchsorted(self.event_time, [from_ms, to_ms], side="left")
        return self.take(np.arange(low, high, dtype=np.int64))

    def keys(self) -> Text:
        """The keys of the records. Errors: TypeError when the key column is no text."""
        column = self.columns[self.key]
        if not isinstance(column, Text):
            raise TypeError(f"the key {self.key} is not a text column")
        return column


def text(rows: Sequence[str]) -> Text:
    """Text[n] from n strings of ASCII; "" is absent. One block with rows of equal width: no per-row work but numpy's own."""
    wide = np.array(rows, dtype=np.bytes_)
    width = wide.dtype.itemsize
    size = np.char.str_len(wide).astype(np.int64)
    valid = size > 0
    start = np.arange(len(wide), dtype=np.int64) * width
    return Text(wide.view(np.uint8), start, size, None if valid.all() else valid)


def numbers(values: Floats) -> Numbers:
    """Numbers[n] from float64[n]: NaN is absent, and is stored as 0."""
    valid = ~np.isnan(values)
    return Numbers(values) if valid.all() else Numbers(np.where(valid, values, 0.0), valid)


def in_order(event_time: Ints, ids: NDArray[np.generic]) -> Ints:
    """int64[n]: the rows by event time, those of one time by id, so that the order does not depend on the source's."""
    return np.lexsort((ids, event_time)).astype(np.int64)
