"""flow.channel: one ordered input of a task: what was read and not yet released, and what of it is held. rows → *channel* → merge.

The order key of a row is the running maximum of event time in its channel, so rows of one channel keep their log order whatever
their times say. A row of a stream with `decide_at` takes its place at that later time: until then it is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_infer.flow.rows import BAD, GOOD, Bad, Rows, concat_rows
from stream_infer.records import Ints, Numbers
from stream_infer.topology.plan import DecideAt

BEGIN = -(2**62)  # before all times
END = 2**62  # after all times; from here on numbers say which run came to the end of its logs (see Flow.end)
VERSIONS = "models"  # the internal stream of model versions
CHANGES = "changes"  # the internal stream of changes by hand: which version is to answer, which share an arm has
TOLD = (VERSIONS, CHANGES)  # these say what answers; they bring no rows


@dataclass(frozen=True, order=True)
class Place:
    """Where a channel comes from. source: the upstream task within an internal partition, 0 otherwise."""

    rank: int
    partition: int
    source: int


@dataclass(slots=True)
class Channel:
    """One ordered input. next: offset after the last released row; reached: its running maximum of event time so far."""

    stream: str
    topic: str
    place: Place
    decide_at: DecideAt | None = None
    gates: bool = True  # whether the others wait for it
    late_after_ms: int | None = None  # rows further behind the running maximum are rejected
    next: int = 0
    reached: int = BEGIN
    watermark: int = BEGIN
    ended: bool = False
    empty_since: int | None = None
    at_end: bool = False
    released: int = BEGIN  # the running maximum at `next`
    closed: int = BEGIN  # the last run whose end was promised: it is no time, and rows of a later run may follow
    resume_below: int = 0  # after a restart: rows below this offset were released before …
    resume_held: frozenset[int] = frozenset()  # … except these, which were being held and are still to be read again
    _blocks: list[Rows] = field(default_factory=list)
    _held: Rows | None = None
    _candidates: Rows | None = None  # until the next change: they are asked for far more often than they change

    def receive(self, rows: Rows) -> None:
        """Append rows that were read; those released before a restart are skipped. rows.keys is made non-decreasing here."""
        if rows.offsets[0] < self.resume_below:
            rows = self._skip_released(rows)
            if not len(rows):
                return
        else:
            self.resume_held = frozenset()
        keys = np.maximum.accumulate(np.where(rows.flags == GOOD, rows.keys, BEGIN))
        rows.keys = np.maximum(keys, self.reached)
        if self.late_after_ms is not None:
            self._reject_late(rows, self.late_after_ms)
        self.reached = int(rows.keys[-1])
        self.watermark = max(self.watermark, self.reached)
        self._blocks.append(rows)
        self._candidates = None
        self.empty_since = None

    def _reject_late(self, rows: Rows, late_after_ms: int) -> None:
        behind = rows.keys - rows.times
        late = np.flatnonzero((rows.flags == GOOD) & (behind > late_after_ms))
        if len(late):
            rows.flags, rows.bad = rows.flags.copy(), dict(rows.bad)  # other tasks may read the same rows
            rows.flags[late] = BAD
            for row in late.tolist():
                offset = int(rows.offsets[row])
                reason = f"event time: got one {behind[row]} ms behind the latest of its partition, expected at most {late_after_ms}"
                rows.bad[offset] = Bad(self.stream, self.topic, self.place.partition, offset, reason, None, None)

    def _skip_released(self, rows: Rows) -> Rows:
        old = rows.offsets < self.resume_below
        if self.resume_held:
            again = old & np.isin(rows.offsets, np.fromiter(self.resume_held, dtype=np.int64, count=len(self.resume_held)))
            if again.any():
                self._hold(rows.take(again))
            self.resume_held = frozenset(offset for offset in self.resume_held if offset > rows.offsets[-1])
        return rows.take(~old)

    def promise(self, time: int) -> None:
        """No row with a lower key will follow; from END on: nothing will in this run, or one before it."""
        if time >= END:
            self.closed = max(self.closed, time)
            return
        self.watermark = max(self.watermark, time)
        self.reached = max(self.reached, time)

    def _hold(self, rows: Rows) -> None:
        rows.keys = self._due(rows)
        self._candidates = None
        self._held = rows if self._held is None else concat_rows([self._held, rows])

    def _due(self, rows: Rows) -> Ints:
        assert self.decide_at is not None
        column = rows.columns[self.decide_at.field]
        assert isinstance(column, Numbers)
        due = np.maximum(column.values.astype(np.int64) - self.decide_at.lead_ms, rows.times)
        if column.valid is not None:
            due = np.where(column.valid, due, rows.times)
        return due

    def position(self) -> list[object]:
        """What a restart needs: next, running maximum there, promised watermark, promised end, held offsets."""
        # What was promised after rows that are to be read again holds when they have been.
        promised, closed = (self.released, BEGIN) if self._blocks else (max(self.watermark, self.released), self.closed)
        return [self.next, self.released, promised, closed, self.held_offsets().tolist()]

    def rewind(self, position: list[object]) -> None:
        """Stand again where position() was taken; everything read since is forgotten."""
        following, released, promised, closed, held = position
        assert isinstance(following, int)
        assert isinstance(released, int)
        assert isinstance(promised, int)
        assert isinstance(closed, int)
        assert isinstance(held, list)
        self.next = self.resume_below = following
        self.released, self.resume_held = released, frozenset(held)
        self.watermark = self.reached = promised
        self.closed = closed
        self.ended, self.at_end, self.empty_since = False, False, None
        self._blocks, self._held, self._candidates = [], None, None

    def buffered(self) -> int:
        """Rows received that could be released as far as this channel knows: rows whose time is still to come do not fill a buffer."""
        if self.decide_at is None or not self._blocks:
            return sum(len(block) for block in self._blocks)
        return int(np.count_nonzero(self._dues() <= self.watermark))

    def has_rows(self) -> bool:
        """Whether there are rows that were not released, held ones among them."""
        return bool(self._blocks) or self._held is not None

    def waits(self) -> bool:
        """Whether buffered() is more than none."""
        return bool(self._blocks) if self.decide_at is None else self.buffered() > 0

    def _dues(self) -> Ints:
        """Keys of the buffered rows of a stream with decide_at, as they will be released."""
        if len(self._blocks) > 1:
            self._blocks = [concat_rows(self._blocks)]
        rows = self._blocks[0]
        return np.where(rows.flags == GOOD, np.maximum(self._due(rows), rows.keys), rows.keys)

    def first_time(self) -> int | None:
        """Event time of the first buffered row."""
        return int(self._blocks[0].times[0]) if self._blocks else None

    def held_keys(self) -> Ints:
        """When the held rows are due."""
        return self._held.keys if self._held is not None else np.zeros(0, dtype=np.int64)

    def held_offsets(self) -> Ints:
        """Offsets of the held rows, ascending; after a restart also of those that were not read again yet."""
        found = [] if self._held is None else self._held.offsets.tolist()
        return np.array(sorted({*found, *self.resume_held}), dtype=np.int64)

    def low(self, read_to: int) -> int:
        """Every row below this offset was released and is not held. read_to: offset after the last record read of the partition."""
        held = self.held_offsets()
        first = int(self._blocks[0].offsets[0]) if self._blocks else max(self.next, read_to)
        return min(first, int(held[0])) if len(held) else first

    def head(self) -> int | None:
        """The lowest key among buffered rows; None when there are none."""
        if not self._blocks:
            return None
        return int(self._blocks[0].keys[0]) if self.decide_at is None else int(self._dues().min())

    def lowest(self) -> int | None:
        """The lowest key among the candidates; None when there are none."""
        if self.decide_at is None:
            return int(self._blocks[0].keys[0]) if self._blocks else None
        rows = self.candidates()
        return None if rows is None else int(rows.keys.min())

    def following(self) -> int:
        """No row received from now on has a lower key."""
        return END if self.ended else self.watermark

    def candidates(self, enough: int | None = None) -> Rows | None:
        """Held and buffered rows by offset; buffered rows of a stream with decide_at get the key of their due time.

        enough: of a stream without decide_at, so many first rows will do; more may be given.
        """
        if self.decide_at is None:
            return self._first(enough)
        if self._candidates is None:
            self._candidates = self._gathered()
        return self._candidates

    def _first(self, enough: int | None) -> Rows | None:
        """Joins no more blocks than are asked for: joined all anew after each fetch, what waits would be copied again and again."""
        count = len(self._blocks)
        if count > 1 and enough is not None:
            sizes = np.cumsum([len(block) for block in self._blocks])
            count = min(count, int(np.searchsorted(sizes, enough)) + 1)
        if count > 1:
            self._blocks[:count] = [concat_rows(self._blocks[:count])]
        return self._blocks[0] if self._blocks else None

    def _gathered(self) -> Rows | None:
        parts = [concat_rows(self._blocks)] if self._blocks else []
        if len(self._blocks) > 1:
            self._blocks = [parts[0]]
        if parts:
            rows, due = parts[0], self._dues()
            parts = [Rows(rows.offsets, rows.times, due, rows.flags, rows.columns, rows.bad)]
        if self._held is not None and len(self._held):
            parts.insert(0, self._held)
        return concat_rows(parts) if parts else None

    def received_to(self, offset: int) -> bool:
        """Whether every row below this offset is here or was released."""
        return self.next >= offset or (bool(self._blocks) and int(self._blocks[-1].offsets[-1]) + 1 >= offset)

    def set_aside(self, offset: int) -> list[Rows]:
        """Take buffered rows from this offset on away, to be put back: what had not been read yet when a recorded chunk was cut."""
        if not self._blocks or int(self._blocks[-1].offsets[-1]) < offset:
            return []
        rows = self._first(None)
        assert rows is not None
        count = int(np.searchsorted(rows.offsets, offset))
        self._blocks = [rows.take(slice(count))] if count else []
        self._candidates = None
        return [rows.take(slice(count, None))]

    def put_back(self, rows: list[Rows]) -> None:
        """Undo set_aside()."""
        if rows:
            self._blocks += rows
            self._candidates = None

    def release(self, taken: Ints | slice, upto: int) -> Rows:
        """Take the candidates, as they were given last, numbered `taken` (a slice: the first ones).

        Unreleased rows of a stream with decide_at become held where their arrival key is below upto.
        """
        rows = self._blocks[0] if self.decide_at is None else self.candidates()
        assert rows is not None
        self._candidates = None
        out = rows if isinstance(taken, slice) and taken.stop >= len(rows) else rows.take(taken)
        if self.decide_at is None:
            self._blocks[:1] = [rows.take(slice(len(out), None))] if len(out) < len(rows) else []
            if len(out):
                self.next, self.released = int(out.offsets[-1]) + 1, int(out.keys[-1])
            return out
        assert not isinstance(taken, slice), "due times are in no order"
        mine = self._blocks[0] if self._blocks else None
        left = np.ones(len(rows), dtype=np.bool_)
        left[taken] = False
        held_count = len(rows) - (len(mine) if mine is not None else 0)
        arrived = np.zeros(len(rows), dtype=np.bool_)
        arrived[:held_count] = True
        if mine is not None:
            # A row that arrived at `upto` and was cut off stays with its channel: held, it would lose the key that it shares with the cut.
            came = int(np.searchsorted(mine.keys, upto, side="left"))
            if len(taken):
                came = max(came, int(taken.max()) + 1 - held_count)
            arrived[held_count : held_count + came] = True
            if came:
                self.next, self.released = int(mine.offsets[came - 1]) + 1, int(mine.keys[came - 1])
            self._blocks = [mine.take(slice(came, None))] if came < len(mine) else []
        stay = left & arrived
        self._held = rows.take(stay) if stay.any() else None
        return out
