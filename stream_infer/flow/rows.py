"""flow.rows: records become rows with a place in time, or rejected rows with a reason. codec → *rows* → merge.

(step 1 and 2 in the life of an event)

Rejected rows keep their place among the others: whether and when they are reported depends on the log alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.faust_table import unwrapped
from stream_infer.codec.rows import RowDecoder
from stream_infer.codec.schema import RecordSchema, parse_schema
from stream_infer.records import Bools, Column, Fetched, Ints, Lists, Numbers, Selection, Text, concat_columns
from stream_infer.topology.plan import StreamPlan

GOOD, DEAD, BAD = 0, 1, 2  # flags of a row: usable, a tombstone, rejected
TIME_MS_MAX = 10**15  # 31,000 years from 1970: sums of such times stay far below merge.END, which no row may reach
NAME_BYTES_MAX = 65_536  # of an id or a key: they are written again, several times to a record, and a record has 1 MB by default
Flags = NDArray[np.uint8]


@dataclass(slots=True)
class Bad:
    """A rejected record as it came, with the reason in one line."""

    stream: str
    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Rows:
    """Rows of one channel in log order. times: event time as stated; keys: the order key; flags: GOOD, DEAD or BAD per row."""

    offsets: Ints
    times: Ints
    keys: Ints
    flags: Flags
    columns: dict[str, Column]
    bad: dict[int, Bad] = field(default_factory=dict)  # by offset

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: Selection) -> Rows:
        """Some of the rows."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Rows(self.offsets[rows], self.times[rows], self.keys[rows], self.flags[rows], columns, self.bad)

    def own(self) -> Rows:
        """The same rows for one more reader, who may give them other keys, flags and columns."""
        return replace(self, columns=dict(self.columns))


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of one channel joined in the given order."""
    if len(parts) == 1:
        return parts[0]
    bad: dict[int, Bad] = {}
    for part in parts:
        bad |= part.bad
    return Rows(
        np.concatenate([p.offsets for p in parts]),
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.keys for p in parts]),
        np.concatenate([p.flags for p in parts]),
        {name: concat_columns([p.columns[name] for p in parts]) for name in parts[0].columns},
        bad,
    )


class Intake:
    """Turns the fetched records of one stream into Rows; keys are filled by the channel."""

    def __init__(self, stream: StreamPlan) -> None:
        self.stream = stream
        self.schema = parse_schema(stream.schema, stream.name)
        writers = {number: parse_schema(text, stream.name) for number, text in stream.schema_ids}
        writers.setdefault(self.schema.schema_id, self.schema)
        self._decoder = RowDecoder(self.schema, stream.format, stream.framing, writers, stream.record_bytes_max)

    def rows(self, fetched: Fetched) -> Rows:
        """All records of `fetched` as rows, in log order."""
        given = fetched  # rejects show records as they came
        if self.stream.format == "faust" and self.stream.key is not None:
            fetched = unwrapped(fetched, self.stream.key)
        decoded = self._decoder.decode(fetched)
        count = len(fetched)
        flags = np.zeros(count, dtype=np.uint8)
        columns = decoded.columns
        reasons = dict(zip(decoded.rejected.index, decoded.rejected.reason, strict=True))
        tombstones = decoded.tombstones
        if not self.stream.compacted:
            reasons |= dict.fromkeys(tombstones.tolist(), "value: got null, expected a row (only compacted streams have tombstones)")
            tombstones = tombstones[:0]
        if len(decoded.rows) < count:
            columns = _spread(columns, decoded.rows, count, self.schema)
            flags[:] = BAD
            flags[decoded.rows] = GOOD
            flags[tombstones] = DEAD
        if len(tombstones) and self.stream.key is not None:
            columns[self.stream.key] = _with_keys(columns[self.stream.key], fetched.keys, tombstones)
        self._refuse_long_names(columns, flags, reasons)
        if self.stream.decide_at is not None:
            decide_at = columns[self.stream.decide_at.field]
            assert isinstance(decide_at, Numbers)
            known = flags == GOOD if decide_at.valid is None else (flags == GOOD) & decide_at.valid
            _refuse_times(f"`{self.stream.decide_at.field}`", decide_at.values.astype(np.int64), known, flags, reasons)
        times = self._times(fetched, columns, flags, reasons)
        bad = self._bad(given, flags, reasons) if reasons or len(decoded.rows) < count else {}
        return Rows(fetched.offsets, times, times, flags, columns, bad)

    def _refuse_long_names(self, columns: dict[str, Column], flags: Flags, reasons: dict[int, str]) -> None:
        for name in dict.fromkeys(n for n in (self.stream.id, self.stream.key) if n is not None):
            column = columns[name]
            if isinstance(column, Text) and (column.size > NAME_BYTES_MAX).any():
                for index in np.flatnonzero((flags == GOOD) & (column.size > NAME_BYTES_MAX)).tolist():
                    _reject(flags, reasons, index, f"`{name}`: {column.size[index]} bytes, an id or a key has at most {NAME_BYTES_MAX}")

    def _times(self, fetched: Fetched, columns: dict[str, Column], flags: Flags, reasons: dict[int, str]) -> Ints:
        name = self.stream.event_time
        if name is None:
            times = fetched.timestamps
            _refuse_times("the record's timestamp", times, flags == GOOD, flags, reasons)
            return np.where(_beyond(times), 0, times)
        column = columns[name]
        assert isinstance(column, Numbers), f"event time {name} of {self.stream.name} must be a number"
        told = column.values.astype(np.int64, copy=False)
        whole = column.valid is None or bool(column.valid.all())
        if whole and self.stream.future_after_ms is None and not flags.any() and not _beyond(told).any():
            return told  # as nearly always: all rows are good, and so are their times
        times = np.where(flags == GOOD, told, fetched.timestamps)
        if column.valid is not None:
            for index in np.flatnonzero((flags == GOOD) & ~column.valid).tolist():
                _reject(flags, reasons, index, f"event time `{name}`: got null, expected a time in ms")
        _refuse_times(f"event time `{name}`", times, flags == GOOD, flags, reasons)
        if self.stream.future_after_ms is not None:
            # Against the record's own timestamp, not a clock: a replay must reject the same rows.
            early = (flags == GOOD) & (times > fetched.timestamps + self.stream.future_after_ms)
            for index in np.flatnonzero(early).tolist():
                _reject(
                    flags,
                    reasons,
                    index,
                    f"event time `{name}`: {times[index]} lies {times[index] - fetched.timestamps[index]} ms after the record's timestamp",
                )
        out = np.where(flags == BAD, fetched.timestamps, times)
        return np.where(_beyond(out), 0, out).astype(np.int64, copy=False)

    def _bad(self, fetched: Fetched, flags: Flags, reasons: dict[int, str]) -> dict[int, Bad]:
        places = np.flatnonzero(flags == BAD)
        if not len(places):
            return {}
        picked = fetched.take(places)
        found: dict[int, Bad] = {}
        for place, offset, key, value in zip(places.tolist(), picked.offsets.tolist(), picked.keys.raw(), picked.values.raw(), strict=True):
            found[offset] = Bad(self.stream.name, fetched.topic, fetched.partition, offset, reasons.get(place, "not decodable"), key, value)
        return found


def _refuse_times(what: str, times: Ints, rows: Bools, flags: Flags, reasons: dict[int, str]) -> None:
    """Times that no calendar has: one such row would carry its whole task past the end of time."""
    for index in np.flatnonzero(rows & _beyond(times)).tolist():
        _reject(flags, reasons, index, f"{what}: got {times[index]}, expected ms since 1970, at most 10^15")


def _beyond(times: Ints) -> Bools:
    return (times > TIME_MS_MAX) | (times < -TIME_MS_MAX)


def _reject(flags: Flags, reasons: dict[int, str], index: int, reason: str) -> None:
    flags[index] = BAD
    reasons[index] = reason


def _spread(columns: dict[str, Column], rows: Ints, count: int, schema: RecordSchema) -> dict[str, Column]:
    """Columns of the good rows laid out over all `count` rows; the others hold nothing of meaning."""
    if not len(rows):
        return {f.name: absent(f.kind, count) for f in schema.fields}
    place = np.zeros(count, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return {name: column.take(place) for name, column in columns.items()}


def absent(kind: str, count: int) -> Column:
    """A column of `count` rows of this Avro kind, none of them there."""
    zeros, none = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    if kind in ("string", "bytes", "enum", "fixed"):
        return Text(np.zeros(0, dtype=np.uint8), zeros, zeros, none, kind in ("bytes", "fixed"))
    if kind == "array":
        return Lists(np.zeros(0), zeros, zeros, none)
    dtypes = {"boolean": np.bool_, "int": np.int32, "long": np.int64, "float": np.float32, "double": np.float64}
    return Numbers(np.zeros(count, dtype=dtypes[kind]), none)


def _with_keys(column: Column, keys: Text, tombstones: Ints) -> Column:
    """A tombstone has no row to take the key from: the record's own key stands in for the field."""
    if not isinstance(column, Text):
        return column
    both = concat_columns([column, Text(keys.blob, keys.start, keys.size, keys.valid, column.is_bytes)])
    place = np.arange(len(column), dtype=np.int64)
    place[tombstones] += len(column)
    return both.take(place)
