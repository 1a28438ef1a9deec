"""features.windows: what is known about keys, told to rows that ask and kept up to date by rows that tell. engine → *windows* → flow.

(step 3 in the life of an event)

What a row sees, exactly. Rows are worked through in the order given, as if one by one:

* A reading row sees the updates of all earlier rows with its key; then, if it updates too, it adds its own values.
* It sees them as of its own time t: a sliding window holds the tiles floor(t / hop) - back … floor(t / hop), its tail moves
  in steps of hop (a *sawtooth*), its length lies in [width, width + hop); a tumbling window holds the tile of t alone. An
  update from a later tile stays unseen until the reader's time gets there.
* A key's ring keeps the tiles head - back … head, head being the tile of its newest update so far. Updates older than that do
  not count in this window (`late_total`); a reader behind the head sees of its own window what lies in the ring.
* Without a window all earlier updates count, whatever their time.
* count counts rows; other aggregates skip rows whose value is NaN. Nothing seen: count and sum are 0, all else NaN.
* last and last_k take the k newest values by (time, order) among all earlier updates, then leave out those outside the window.
  since_last is t minus the time of the key's newest update, at least 0, NaN if that update lies outside the window.
* A key whose newest update is more than idle_ms older than t is unknown to the reader, and an updating row begins it anew.
* Null keys are always unknown and update nothing.

All numbers kept are order-free (integers, maxima, the k newest), so splitting the same rows into other calls changes no bit of
any answer. Even eviction keeps that law: it happens after every SWEEP_ROWS-th updating row, wherever calls begin and end.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features import amounts, engine, packing, rings
from stream_infer.features import words as w
from stream_infer.features.keyed import SWEEP_ROWS, KeyedState
from stream_infer.features.layout import Layout
from stream_infer.features.settings import FeatureSettings
from stream_infer.records import Bools, Bytes, Floats, Ints, Text, plain, sealed
from stream_infer.state import Array, end_to_end


class FeatureState(KeyedState):
    """Windows, lifetime sums and newest values per key.

    A value that is infinite or too large for fixed point (2^43 / 10^decimals in sum and mean, 2^31 / 10^decimals in std)
    counts as absent there; clipped_total counts it once per row and what it would have gone into. late_total counts updates
    too old for a window's ring, once per row and window. sweep_rows: other than SWEEP_ROWS in tests only, it is part of
    what the state means.
    """

    def __init__(self, settings: FeatureSettings, *, sweep_rows: int = SWEEP_ROWS) -> None:
        self.settings = settings
        self._layout = Layout(settings)
        self._fields = settings.fields()
        self._packed_size = 256  # bytes of a packed key, as of the last time
        super().__init__(self._layout.state_words, self._layout.form, settings.keys_max, settings.idle_ms, sweep_rows)

    def _clear(self) -> None:
        super()._clear()
        self._rings: Ints = np.zeros(2 * self._layout.ring_words, dtype=np.int64)
        self._vacant: Ints = np.zeros((len(self._layout.frames), 1 + int(self._layout.plan[0, w.LONGEST])), dtype=np.int64)
        self._progress: Ints = np.zeros(2, dtype=np.int64)
        self._tiles: Ints = np.zeros((len(self._layout.frames), 3), dtype=np.int64)
        self._hold()

    def apply(self, keys: Text, times: Ints, values: dict[str, Floats], updates: Bools, reads: Bools) -> Floats:
        """Work through n rows in order; gives the features of the reading ones: float64[reads, len(settings.columns())].

        times: int64[n] ms; values: float64[n] for each of settings.fields(), looked at where `updates`; updates, reads: bool[n].
        """
        count, layout = len(keys), self._layout
        flags = np.empty((count, 2), dtype=np.bool_)
        flags[:, 0], flags[:, 1] = updates, reads
        moments, numbers = np.empty(count, dtype=np.int64), np.empty((len(self._fields), count))
        moments[:] = times
        for place, name in enumerate(self._fields):
            numbers[place] = values[name]
        wanted = self._table.wanted(keys, flags)
        added = np.empty((count, layout.sum_columns), dtype=np.int64), np.empty((count, len(layout.extremes)), dtype=np.int64)
        out = np.empty((int(np.count_nonzero(reads)), layout.columns))
        self._progress[w.READ] = 0
        for begin, end in self._pieces(updates):
            turns, table = int(self._counters[w.TURNS]), self._table
            table.find(wanted, begin, end)
            self._counters[w.CLIPPED] += amounts.amounts_of(begin, end, wanted.slots, flags, numbers, layout.plan, layout.scales, *added)
            self._tiles[:] = 0
            while begin < end:
                if table.rows is not self._held_rows:
                    self._hold()
                begin = engine.work(begin, end, wanted.slots, moments, flags, numbers, *added, self._held, out)
                if begin < end:
                    self._grow_rings()
            self._end_piece(turns)
        return out

    def bytes_used(self) -> int:
        """Bytes held in arrays, used or reserved."""
        return super().bytes_used() + self._rings.nbytes + self._vacant.nbytes

    def _hold(self) -> None:
        """Tell the engine where everything lies; to be called when an array gives place to another."""
        layout, table = self._layout, self._table
        arrays: tuple[Array, ...] = (
            layout.plan,
            layout.picks,
            layout.scales,
            layout.empty,
            table.rows,
            self._rings,
            self._vacant,
            self._progress,
        )
        arrays += (table.listed, table.counts, self._counters, self._tiles)
        self._held: Ints = np.array([*(array.ctypes.data for array in arrays), len(self._rings), self._vacant.shape[1]], dtype=np.int64)
        self._held_rows = table.rows

    def _grow_rings(self, least: int = 0) -> None:
        """Lay the rings out anew, with room for half as much again and at least so many numbers."""
        used, plan, most = int(self._table.counts[w.USED]), self._layout.plan, 2 * self._layout.ring_words
        held = rings.words_held(used, plan, self._table.rows)
        wider = np.empty(max(held + held // 2, least) + most, dtype=np.int64)
        self._progress[w.RINGS_USED] = rings.move(used, plan, self._table.rows, self._rings, wider)
        self._rings = wider
        self._vacant[:] = 0
        self._hold()

    def _pack(self, slots: Ints) -> Text:
        layout, done, sizes = self._layout, 0, np.empty(len(slots), dtype=np.int64)
        parts: list[Bytes] = []
        numbers = packing.numbers_for(layout.plan)
        self._hold()
        while done < len(slots) or not parts:
            block = np.empty((len(slots) - done) * self._packed_size + 2 * int(layout.plan[0, w.BYTES_MAX]), dtype=np.uint8)
            begin = done
            done = packing.pack(begin, slots, sizes, self._form, self._held, layout.like, numbers, block)
            parts.append(block[: int(sizes[begin:done].sum())])
            if done > begin:
                self._packed_size = 16 + int(sizes[begin:done].mean())
        return end_to_end(np.concatenate(parts) if len(parts) > 1 else parts[0], sizes)

    def _unpack(self, values: Text, slots: Ints) -> int | None:
        blob, start, size, done = sealed(values.blob), plain(values.start), plain(values.size), 0
        numbers = packing.numbers_for(self._layout.plan)
        self._hold()
        while 0 <= done < len(slots):
            done = packing.unpack(done, blob, start, size, slots, self._form, self._held, self._layout.like, numbers)
            if 0 <= done < len(slots):
                # What is still to come will take about as much as what came.
                self._grow_rings(int(self._progress[w.RINGS_USED] * 1.1 * len(slots) / max(done, 1)))
        return -1 - done if done < 0 else None

    def _release(self, slots: Ints) -> None:
        rings.release(slots, self._layout.plan, self._table.rows, self._rings, self._vacant)
