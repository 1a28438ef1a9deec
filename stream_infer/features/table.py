"""features.table: the latest row of a compacted topic per key, as numbers. keyed → *table* → flow.

(step 3 in the life of an event)

A table is read as of the reader's place in the merged order: rows of the table that stand before it count, later ones do not.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features.keyed import SWEEP_ROWS, KeyedState
from stream_infer.features.segments import Segments, sort_rows
from stream_infer.features.settings import LookupSettings
from stream_infer.records import Bools, Floats, Ints, Text
from stream_infer.state import Array


class TableState(KeyedState):
    """Numbers per key, each row replacing the one before. sweep_rows: other than SWEEP_ROWS in tests only."""

    def __init__(self, settings: LookupSettings, *, sweep_rows: int = SWEEP_ROWS) -> None:
        self.settings = settings
        self._defaults: Floats = np.array([default for _, default in settings.take], dtype=np.float64)
        self._dtype = np.dtype([("values", "<f8", (len(settings.take),))])
        super().__init__(self._blank_rows, settings.keys_max, None, sweep_rows)

    def apply(self, keys: Text, values: dict[str, Floats], updates: Bools, deletes: Bools, reads: Bools) -> Floats:
        """Work through n rows in order; gives what reading rows find: float64[reads, len(settings.take)].

        A row may read and then update or delete its key. values: float64[n] for each field taken, looked at where `updates`;
        updates, deletes, reads: bool[n], never both of the first two. Unknown keys, null keys and NaN give the default.
        """
        assert not (updates & deletes).any(), "a row of a table either updates or deletes its key"
        parts = []
        table = np.empty((len(keys), len(self.settings.take)))
        for column, (name, _) in enumerate(self.settings.take):
            table[:, column] = values[name]
        for piece in self._pieces(updates):
            parts.append(self._apply(keys.take(piece), table[piece], updates[piece], deletes[piece], reads[piece]))
            self._advance(np.zeros(piece.stop - piece.start, dtype=np.int64), updates[piece])
        return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty((0, len(self.settings.take)))

    def _apply(self, keys: Text, table: Floats, updates: Bools, deletes: Bools, reads: Bools) -> Floats:
        slots = self._slots(keys, updates)
        changes = updates | deletes
        rows = sort_rows(slots, np.zeros(len(slots), dtype=np.int64), changes, reads, self._table.times, None)
        latest = np.maximum.accumulate(np.where(rows.updates, np.arange(len(slots)), -1))
        found = self._read(rows, table, deletes, latest)
        if len(rows.last):
            self._write(rows, table, updates, latest)
        out = np.empty_like(found)
        out[(np.cumsum(reads) - 1)[rows.order[rows.reads]]] = np.where(np.isnan(found), self._defaults, found)
        return out

    def _read(self, rows: Segments, table: Floats, deletes: Bools, latest: Ints) -> Floats:
        """latest: the position of the newest change up to each position, over all segments."""
        segment = rows.reader_segment
        at = np.where(rows.reads > 0, latest[rows.reads - 1], -1)
        found: Floats = self._rows["values"][rows.base[segment]]
        own = np.flatnonzero(at >= rows.start[segment])
        row = rows.order[at[own]]
        found[own] = np.where(deletes[row][:, None], np.nan, table[row])
        return found

    def _write(self, rows: Segments, table: Floats, updates: Bools, latest: Ints) -> None:
        row = rows.order[latest[rows.end[rows.last] - 1]]
        slot = rows.slot[rows.last]
        stays = updates[row]
        turns = int(self._counters["turns"][0]) + np.cumsum(updates)
        self._rows["values"][slot[stays] + 1] = table[row[stays]]
        self._table.touch(slot[stays], np.zeros(int(stays.sum()), dtype=np.int64), turns[row[stays]])
        self._rows["values"][slot[~stays] + 1] = np.nan
        self._table.free(slot[~stays])

    def _blank_rows(self, count: int) -> Array:
        rows = np.zeros(count, dtype=self._dtype)
        rows["values"] = np.nan
        return rows
