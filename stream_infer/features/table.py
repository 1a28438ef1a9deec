"""features.table: the latest row of a compacted topic per key, as numbers. keyed → *table* → flow.

(step 3 in the life of an event)

A table is read as of the reader's place in the merged order: rows of the table that stand before it count, later ones do not.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features import words as w
from stream_infer.features.keyed import SWEEP_ROWS, KeyedState, once
from stream_infer.features.settings import LookupSettings
from stream_infer.jit import jit
from stream_infer.records import Bools, Floats, Ints, Text
from stream_infer.state import end_to_end, gather_bytes

UPDATES, DELETES, READS = range(3)  # columns of flags


@jit
def work(
    begin: int,
    end: int,
    slots: Ints,
    flags: Bools,
    values: Floats,
    defaults: Floats,
    rows: Ints,
    stride: int,
    listed: Ints,
    counts: Ints,
    counters: Ints,
    out: Floats,
) -> None:
    """Work through rows begin … end, one after the other. A key that was deleted has the time w.NEVER: its slot is to be freed.

    slots: int64[n], -1: unknown; flags: bool[n, 3]; values: float64[taken, n]; out: float64[n, taken], filled where rows read.
    """
    for i in range(begin, end):
        base, slot = slots[i] * stride, slots[i]
        counters[w.TURNS] += flags[i, UPDATES]
        known = slot >= 0 and rows[base + w.EVENT] > w.NEVER
        for column in range(len(defaults)):
            found = np.int64(rows[base + w.ROW + column]).view(np.float64) if known else np.nan
            out[i, column] = defaults[column] if np.isnan(found) else found
        if slot >= 0 and flags[i, UPDATES]:
            for column in range(len(defaults)):
                rows[base + w.ROW + column] = np.float64(values[column, i]).view(np.int64)
            rows[base + w.EVENT], rows[base + w.TURN] = 0, counters[w.TURNS]
            if rows[base + w.MARKS] & w.LISTED == 0:
                rows[base + w.MARKS] |= w.LISTED
                listed[counts[w.CHANGED]] = slot
                counts[w.CHANGED] += 1
        elif slot >= 0 and flags[i, DELETES]:
            rows[base + w.EVENT] = w.NEVER


class TableState(KeyedState):
    """Numbers per key, each row replacing the one before. sweep_rows: other than SWEEP_ROWS in tests only."""

    def __init__(self, settings: LookupSettings, *, sweep_rows: int = SWEEP_ROWS) -> None:
        self.settings = settings
        self._defaults: Floats = np.array([default for _, default in settings.take], dtype=np.float64)
        self._dtype = np.dtype([("form", "<u4"), ("turn", "<i8"), ("values", "<f8", (len(settings.take),))])
        super().__init__(len(settings.take), len(settings.take) & 0xFFFFFF, settings.keys_max, None, sweep_rows)

    def apply(self, keys: Text, values: dict[str, Floats], updates: Bools, deletes: Bools, reads: Bools) -> Floats:
        """Work through n rows in order; gives what reading rows find: float64[reads, len(settings.take)].

        A row may read and then update or delete its key. values: float64[n] for each field taken, looked at where `updates`;
        updates, deletes, reads: bool[n], never both of the first two. Unknown keys, null keys and NaN give the default.
        """
        assert not (updates & deletes).any(), "a row of a table either updates or deletes its key"
        count = len(keys)
        flags, numbers = np.empty((count, 3), dtype=np.bool_), np.empty((len(self._defaults), count))
        flags[:, UPDATES], flags[:, DELETES], flags[:, READS] = updates, deletes, reads
        for place, (name, _) in enumerate(self.settings.take):
            numbers[place] = values[name]
        wanted, out = self._table.wanted(keys, flags), np.empty((count, len(self._defaults)))
        for begin, end in self._pieces(updates):
            turns, table = int(self._counters[w.TURNS]), self._table
            table.find(wanted, begin, end)
            work(
                begin,
                end,
                wanted.slots,
                flags,
                numbers,
                self._defaults,
                table.rows,
                table.stride,
                table.listed,
                table.counts,
                self._counters,
                out,
            )
            if deletes[begin:end].any():
                dead = once(wanted.slots[begin:end][deletes[begin:end]])
                self._free(dead[table.column(w.EVENT)[dead] == w.NEVER])
            self._end_piece(turns)
        return out if reads.all() else out[reads]

    def _pack(self, slots: Ints) -> Text:
        rows = np.empty(len(slots), dtype=self._dtype)
        rows["form"], rows["turn"] = self._form, self._table.column(w.TURN)[slots]
        width = len(self._defaults)
        rows["values"] = self._table.rows.reshape(-1, self._table.stride)[slots, w.ROW : w.ROW + width].view(np.float64)
        return end_to_end(rows.view(np.uint8), np.full(len(slots), self._dtype.itemsize, dtype=np.int64))

    def _unpack(self, values: Text, slots: Ints) -> int | None:
        kept = np.flatnonzero(slots >= 0)
        wrong = kept[values.size[kept] != self._dtype.itemsize]
        if len(wrong):
            return int(wrong[0])
        blob = gather_bytes(values.blob, values.start[kept], values.size[kept])
        rows = np.frombuffer(blob.tobytes(), dtype=self._dtype)
        wrong = kept[rows["form"] != self._form]
        if len(wrong):
            return int(wrong[0])
        slots, table = slots[kept], self._table
        # Of several records of one key the last one is written last, and stays.
        table.rows.reshape(-1, table.stride)[slots, w.ROW : w.ROW + len(self._defaults)] = rows["values"].view(np.int64)
        table.column(w.TURN)[slots] = rows["turn"]
        table.column(w.EVENT)[slots] = 0
        return None

    def _release(self, slots: Ints) -> None:
        pass
