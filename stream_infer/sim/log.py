"""sim.log: one partition of the simulated broker: records, transaction markers, watermarks. *log* → broker.

Offsets have gaps where Kafka has them: a transaction's end takes one, aborted records are never given, compaction leaves holes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream_infer.records import Fetched, Text

PLAIN = -1  # the transaction of records outside of any


class Record(NamedTuple):
    """One record as the broker keeps it. transaction: its serial number, PLAIN for none."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    transaction: int = PLAIN


class OffsetGone(Exception):
    """The log does not hold this offset: deleted by retention, or never written."""


class PartitionLog:
    """Records in offset order. start: first offset held; high: offset after the last, markers included."""

    def __init__(self) -> None:
        self.start = 0
        self.high = 0
        self._records: list[Record] = []
        self._open: dict[int, int] = {}  # transaction → its first offset here
        self._aborted: set[int] = set()

    @property
    def stable(self) -> int:
        """Last stable offset: a read-committed reader comes up to here."""
        return min(self._open.values(), default=self.high)

    def append(
        self, key: bytes | None, value: bytes | None, timestamp: int, headers: tuple[tuple[str, bytes], ...], transaction: int
    ) -> int:
        """Returns the offset. A transaction is open here from its first record to its end()."""
        offset = self.high
        if transaction != PLAIN:
            self._open.setdefault(transaction, offset)
        self._records.append(Record(offset, timestamp, key, value, headers, transaction))
        self.high += 1
        return offset

    def end(self, transaction: int, *, committed: bool) -> None:
        """Write the marker of a transaction, if it wrote here."""
        if self._open.pop(transaction, None) is not None:
            self.high += 1
            if not committed:
                self._aborted.add(transaction)

    def offset_at(self, time_ms: int) -> int:
        """The first offset with that timestamp or a later one, at most the last stable one, which it is where there is none."""
        found = next((record.offset for record in self._records if record.timestamp >= time_ms), self.stable)
        return min(found, self.stable)

    def fetch(self, offset: int, rows_max: int, *, committed: bool = True) -> tuple[list[Record], int]:
        """Records from offset on and the offset to go on from. OffsetGone when the log does not hold offset."""
        end = self.stable if committed else self.high
        if not self.start <= offset <= self.high:
            raise OffsetGone
        found: list[Record] = []
        for place in range(self._place(offset), len(self._records)):
            record = self._records[place]
            if record.offset >= end:
                break
            if len(found) == rows_max:
                return found, record.offset
            if not (committed and record.transaction in self._aborted):
                found.append(record)
        return found, max(end, offset)

    def compact(self, *, drop_tombstones: bool) -> None:
        """Keep the last committed record of each key below the last stable offset."""
        stable = self.stable
        clean = [r for r in self._records if r.offset < stable and r.transaction not in self._aborted]
        last = {r.key: r.offset for r in clean}
        kept = [r for r in clean if last[r.key] == r.offset and not (drop_tombstones and r.value is None)]
        self._records = kept + [r for r in self._records if r.offset >= stable]

    def delete_before(self, offset: int) -> None:
        """Retention: the log starts here now."""
        self.start = max(self.start, min(offset, self.high))
        self._records = self._records[self._place(self.start) :]

    def _place(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=lambda record: record.offset)


def fetched(topic: str, partition: int, records: Sequence[Record], *, with_headers: bool = False) -> Fetched:
    """Columns of records."""
    return Fetched(
        topic=topic,
        partition=partition,
        offsets=np.array([r.offset for r in records], dtype=np.int64),
        timestamps=np.array([r.timestamp for r in records], dtype=np.int64),
        keys=Text.of((r.key for r in records), is_bytes=True),
        values=Text.of((r.value for r in records), is_bytes=True),
        headers=[list(r.headers) for r in records] if with_headers else None,
    )
