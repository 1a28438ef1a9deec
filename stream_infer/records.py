"""records: batches of columns, the only form in which rows travel. errors → *records* → everything else.

A row never exists as a Python object on the hot path. Numbers are numpy arrays with an optional mask of what is there;
texts are spans (start, size) into one block of bytes, so that decoding, hashing and encoding them touches no `str`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Selection = Ints | Bools | slice  # of rows
_T = TypeVar("_T", bound=np.generic)


def sealed(pool: NDArray[_T]) -> NDArray[_T]:
    """The same bytes or items, contiguous and read-only: the one form of a block for which kernels are compiled."""
    if pool.flags.writeable or not pool.flags.c_contiguous:
        pool = np.ascontiguousarray(pool).view()
        pool.setflags(write=False)
    return pool


def plain(places: Ints) -> Ints:
    """The same numbers, contiguous and writable: the one form of starts and sizes for which kernels are compiled."""
    return places if places.flags.carray else places.copy()


@dataclass(slots=True)
class Numbers:
    """values: [n] of any number type or bool; valid: bool[n], or None when every row has a value."""

    values: NDArray[np.generic]
    valid: Bools | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Selection) -> Numbers:
        """Some of the rows."""
        return Numbers(self.values[rows], None if self.valid is None else self.valid[rows])

    def floats(self) -> Floats:
        """float64[n], NaN where a row has no value."""
        out = self.values.astype(np.float64)
        if self.valid is not None:
            out[~self.valid] = np.nan
        return out

    def to_list(self) -> list[object]:
        """The rows as Python values, None where absent: for tests and slow paths."""
        values = self.values.tolist()
        return values if self.valid is None else [v if ok else None for v, ok in zip(values, self.valid, strict=True)]


@dataclass(slots=True)
class Text:
    """Spans into blob: row i is blob[start[i] : start[i] + size[i]]. Serves strings (UTF-8), bytes and enum symbols."""

    blob: Bytes
    start: Ints
    size: Ints
    valid: Bools | None = None
    is_bytes: bool = False

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Selection) -> Text:
        """Some of the rows; nothing is copied but their places."""
        return Text(self.blob, self.start[rows], self.size[rows], None if self.valid is None else self.valid[rows], self.is_bytes)

    def compact(self) -> Text:
        """The same rows; their bytes alone, end to end, where the block holds much else (rows taken from a large batch)."""
        total = int(self.size.sum())
        if len(self.blob) <= 2 * total + 64:
            return self
        start, items = _gathered(self.blob, self.start, self.size, total)
        return Text(items, start, self.size, self.valid, self.is_bytes)

    def raw(self) -> list[bytes | None]:
        """The rows as bytes objects, None where absent: for keys of records and other slow paths."""
        own = self.compact()
        view = own.blob.tobytes()
        spans = zip(own.start.tolist(), (own.start + own.size).tolist(), strict=True)
        rows = [view[a:b] for a, b in spans]
        return list(rows) if self.valid is None else [r if ok else None for r, ok in zip(rows, self.valid, strict=True)]

    def to_list(self) -> list[object]:
        """The rows as Python values, None where absent: for tests and slow paths."""
        if self.is_bytes:
            return list(self.raw())
        return [None if row is None else row.decode() for row in self.raw()]

    @staticmethod
    def of(rows: Iterable[bytes | str | None], *, is_bytes: bool = False) -> Text:
        """Columns from Python values: for tests and slow paths."""
        raw = [row.encode() if isinstance(row, str) else row for row in rows]
        size = np.array([0 if row is None else len(row) for row in raw], dtype=np.int64)
        start = np.zeros(len(raw), dtype=np.int64)
        np.cumsum(size[:-1], out=start[1:])
        valid = None if all(row is not None for row in raw) else np.array([row is not None for row in raw], dtype=np.bool_)
        return Text(np.frombuffer(b"".join(row or b"" for row in raw), dtype=np.uint8), start, size, valid, is_bytes)


@dataclass(slots=True)
class Lists:
    """Arrays of numbers: row i is items[start[i] : start[i] + size[i]]; the items themselves are never absent."""

    items: NDArray[np.generic]
    start: Ints
    size: Ints
    valid: Bools | None = None

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Selection) -> Lists:
        """Some of the rows; nothing is copied but their places."""
        return Lists(self.items, self.start[rows], self.size[rows], None if self.valid is None else self.valid[rows])

    def compact(self) -> Lists:
        """The same rows; their items alone, end to end, where the pool holds much else."""
        total = int(self.size.sum())
        if len(self.items) <= 2 * total + 64:
            return self
        start, items = _gathered(self.items, self.start, self.size, total)
        return Lists(items, start, self.size, self.valid)

    def to_list(self) -> list[object]:
        """The rows as Python values, None where absent: for tests and slow paths."""
        spans = zip(self.start.tolist(), self.size.tolist(), strict=True)
        rows = [self.items[a : a + n].tolist() for a, n in spans]
        return rows if self.valid is None else [r if ok else None for r, ok in zip(rows, self.valid, strict=True)]

    @staticmethod
    def of_matrix(matrix: NDArray[np.generic]) -> Lists:
        """matrix: [n, k]; every row a list of k items."""
        rows, width = matrix.shape
        return Lists(
            np.ascontiguousarray(matrix).reshape(-1), np.arange(rows, dtype=np.int64) * width, np.full(rows, width, dtype=np.int64)
        )


Column = Numbers | Text | Lists


def _gathered(pool: NDArray[_T], start: Ints, size: Ints, total: int) -> tuple[Ints, NDArray[_T]]:
    """Starts within, and the pool of, these spans laid end to end."""
    ends = np.cumsum(size)
    first = ends - size
    return first, pool[np.repeat(start - first, size) + np.arange(total, dtype=np.int64)]


def concat_columns(parts: Sequence[Column]) -> Column:
    """Columns of one kind joined end to end."""
    first = parts[0]
    if len(parts) == 1:
        return first
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([np.ones(len(part), dtype=np.bool_) if part.valid is None else part.valid for part in parts])
    if isinstance(first, Numbers):
        return Numbers(np.concatenate([part.values for part in parts if isinstance(part, Numbers)]), valid)
    spans = [part.compact() for part in parts if not isinstance(part, Numbers)]  # else every join would carry all bytes ever read
    pools: list[NDArray[np.generic]] = [part.blob if isinstance(part, Text) else part.items for part in spans]
    shifts = np.cumsum([0] + [len(pool) for pool in pools[:-1]])
    start = np.concatenate([part.start + shift for part, shift in zip(spans, shifts, strict=True)])
    size = np.concatenate([part.size for part in spans])
    pool = np.concatenate(pools)
    if isinstance(first, Text):
        return Text(pool.astype(np.uint8, copy=False), start, size, valid, first.is_bytes)
    return Lists(pool, start, size, valid)


@dataclass(slots=True)
class Rejected:
    """Rows that could not be used. Parallel lists: index[i] is the row's place in its batch, reason[i] says why in one line."""

    index: list[int] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)

    def add(self, index: int, reason: str) -> None:
        """One more row."""
        self.index.append(index)
        self.reason.append(reason)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(slots=True)
class Fetched:
    """Records of one topic partition as they were read. offsets: int64[n] ascending, gaps allowed; timestamps: int64[n] ms.

    headers: one list of (name, value) per record, or None when the topic's records carry none that matter.
    """

    topic: str
    partition: int
    offsets: Ints
    timestamps: Ints
    keys: Text
    values: Text
    headers: list[list[tuple[str, bytes]]] | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: Selection) -> Fetched:
        """Some of the records."""
        heads = None
        if self.headers is not None:
            heads = [self.headers[i] for i in np.arange(len(self))[rows].tolist()]
        return replace(
            self,
            offsets=self.offsets[rows],
            timestamps=self.timestamps[rows],
            keys=self.keys.take(rows),
            values=self.values.take(rows),
            headers=heads,
        )
