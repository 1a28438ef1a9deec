"""features.windows: what is known about keys, told to rows that ask and kept up to date by rows that tell. segments → *windows* → flow.

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

from stream_infer.features.extremes import Extremes
from stream_infer.features.keyed import SWEEP_ROWS, KeyedState
from stream_infer.features.keys import NEVER
from stream_infer.features.latest import Latest
from stream_infer.features.layout import Layout, Output
from stream_infer.features.segments import Placed, Segments, sort_rows
from stream_infer.features.settings import FeatureSettings
from stream_infer.features.sums import Sums, mean, std
from stream_infer.records import Bools, Floats, Ints, Text

TIME_MAX = 1 << 52  # ms, 140,000 years: times beyond are taken for this


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
        super().__init__(self._layout.blank, settings.keys_max, settings.idle_ms, sweep_rows)

    def apply(self, keys: Text, times: Ints, values: dict[str, Floats], updates: Bools, reads: Bools) -> Floats:
        """Work through n rows in order; gives the features of the reading ones: float64[reads, len(settings.columns())].

        times: int64[n] ms; values: float64[n] for each of settings.fields(), looked at where `updates`; updates, reads: bool[n].
        """
        times = np.minimum(np.maximum(times, -TIME_MAX), TIME_MAX)
        parts = []
        for piece in self._pieces(updates):
            part = {name: column[piece] for name, column in values.items()}
            parts.append(self._apply(keys.take(piece), times[piece], part, updates[piece], reads[piece]))
            self._advance(times[piece], updates[piece])
        return np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty((0, self._layout.columns))

    def _apply(self, keys: Text, times: Ints, values: dict[str, Floats], updates: Bools, reads: Bools) -> Floats:
        slots = self._slots(keys, updates)
        rows = sort_rows(slots, times, updates, reads, self._table.times, self.settings.idle_ms)
        layout, state = self._layout, self._rows
        sums = Sums(layout, rows, state, values)
        extremes = Extremes(layout, rows, state, values)
        lists = [Latest(number, k, rows, state, values[name]) for number, (name, k) in enumerate(layout.lists)]
        placed = [Placed(rows, frame.window) for frame in layout.frames]
        answers = np.empty((layout.columns, len(rows.reads)))
        if len(rows.reads):
            self._read(rows, placed, sums, extremes, lists, answers)
        if len(rows.last):
            self._write(rows, placed, sums, extremes, lists, updates)
        out = np.empty((len(rows.reads), layout.columns))
        out[(np.cumsum(reads) - 1)[rows.order[rows.reads]]] = answers.T
        return out

    def _read(self, rows: Segments, placed: list[Placed], sums: Sums, extremes: Extremes, lists: list[Latest], answers: Floats) -> None:
        newest = [latest.read() for latest in lists]
        for number, frame in enumerate(self._layout.frames):
            seen = sums.read(frame, number, placed[number]) if frame.sums else None
            peaks = extremes.read(frame, number, placed[number]) if frame.extremes else None
            for output in self._layout.outputs:
                if output.frame != number:
                    continue
                kind = output.aggregate.kind
                if kind == "since_last":
                    answers[output.column] = _since_last(rows, placed[number])
                elif kind in ("min", "max"):
                    assert peaks is not None
                    answers[output.column] = peaks[:, output.place]
                elif kind in ("last", "last_k"):
                    _put_newest(output, *newest[output.place], placed[number], answers)
                else:
                    assert seen is not None
                    answers[output.column] = _from_sums(output, seen)
        known = rows.newest_before[rows.reads]
        forgotten = known == NEVER
        if self.settings.idle_ms is not None:
            forgotten |= rows.times[rows.reads] - known > self.settings.idle_ms
        answers[:, forgotten] = self._layout.empty[:, None]
        answers[np.isnan(answers)] = np.nan  # NaN has many bit patterns (0 / 0 gives another one): answers are equal in bits

    def _write(self, rows: Segments, placed: list[Placed], sums: Sums, extremes: Extremes, lists: list[Latest], updates: Bools) -> None:
        for number, frame in enumerate(self._layout.frames):
            if frame.sums:
                sums.write(frame, number, placed[number])
            if frame.extremes:
                extremes.write(frame, number, placed[number])
            self._counters["late"] += placed[number].late_count()
        sums.write_totals()
        for latest in lists:
            latest.write()
        self._counters["clipped"] += sums.clipped + extremes.clipped
        turns = int(self._counters["turns"][0]) + np.cumsum(updates)[rows.order]
        latest_turn = np.maximum.reduceat(np.where(rows.updates, turns, 0), rows.start)
        self._table.touch(rows.slot[rows.last], rows.newest[rows.end[rows.last] - 1], latest_turn[rows.last])


def _from_sums(output: Output, seen: Ints) -> Floats:
    kind, decimals, at = output.aggregate.kind, output.aggregate.decimals, output.place
    if kind == "count":
        return seen[:, at].astype(np.float64)
    if kind == "sum":
        return seen[:, at + 1] / 10.0**decimals
    if kind == "mean":
        return mean(seen[:, at], seen[:, at + 1], decimals)
    return std(seen[:, at], seen[:, at + 1], seen[:, at + 2], seen[:, at + 3], decimals)


def _since_last(rows: Segments, placed: Placed) -> Floats:
    seconds = np.maximum(rows.times[rows.reads] - rows.newest_before[rows.reads], 0) / 1000.0
    return np.where((placed.head >= placed.low) & (placed.head <= placed.high), seconds, np.nan)


def _put_newest(output: Output, times: Ints, values: Floats, placed: Placed, answers: Floats) -> None:
    width = len(output.aggregate.columns())
    times, values = times[:, :width].T, values[:, :width].T
    if placed.window.width_ms is None:
        answers[output.column : output.column + width] = values
        return
    tiles = placed.window.tiles(times)
    inside = (tiles >= placed.low) & (tiles <= placed.high)
    # What is left stands newest first, without gaps: entries outside are left out, not kept as holes.
    order = np.argsort(~inside, axis=0, kind="stable")
    answers[output.column : output.column + width] = np.take_along_axis(np.where(inside, values, np.nan), order, axis=0)
