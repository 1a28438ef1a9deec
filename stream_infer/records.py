"""records: batches of columns, the only form in which rows travel. errors, jit → *records* → everything else.

A row never exists as a Python object on the hot path. Numbers are numpy arrays with an optional mask of what is there;
texts are spans (start, size) into one block of bytes, so that decoding, hashing and encoding them touches no `str`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_infer.jit import byte_at, jit, place_of, put_byte, put_word, word_at

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


def plain(column: NDArray[_T]) -> NDArray[_T]:
    """The same numbers, contiguous and writable: the one form of starts, sizes and masks for which kernels are compiled."""
    return column if column.flags.carray else column.copy()


@jit
def copy_spans(width: int, blob: Bytes, start: Ints, size: Ints, out: Bytes, into: Ints) -> int:
    """Copies row after row of blob, sealed, to the byte `into` of out, which must have the room; start, size: in items of `width` bytes.

    Gives the first row whose span lies outside of the blob, or -1; empty rows may lie anywhere.
    """
    first, target = place_of(blob), place_of(out)
    room = len(blob) // width
    for row in range(len(start)):
        if size[row] == 0:
            continue
        if size[row] < 0 or size[row] > room or start[row] < 0 or start[row] > room - size[row]:
            return row
        at, to, left = first + start[row] * width, target + into[row], size[row] * width
        if left < 8:
            for place in range(left):
                put_byte(to + place, byte_at(at + place))
            continue
        while left >= 8:
            put_word(to, word_at(at))
            at, to, left = at + 8, to + 8, left - 8
        if left > 0:  # the last word overlaps the one before
            put_word(to + left - 8, word_at(at + left - 8))
    return -1


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
        size = _sizes(self)
        if not _is_wasteful(self.blob, int(size.sum())):
            return self
        start, items = _gathered(self.blob, self.start, size)
        return Text(items, start, size, self.valid, self.is_bytes)

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
        listed = list(rows)
        valid: Bools | None = None
        try:
            blob, raw = b"".join(listed), listed  # type: ignore[arg-type]  # whatever is not all bytes raises, and is looked at one by one
        except TypeError:
            raw = [row.encode() if isinstance(row, str) else row or b"" for row in listed]
            blob = b"".join(raw)  # type: ignore[arg-type]
            there = [row is not None for row in listed]
            valid = None if all(there) else np.array(there, dtype=np.bool_)
        size = np.fromiter(map(len, raw), np.int64, len(raw))  # type: ignore[arg-type]
        return Text(np.frombuffer(blob, dtype=np.uint8), np.cumsum(size) - size, size, valid, is_bytes)


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
        size = _sizes(self)
        if not _is_wasteful(self.items, int(size.sum())):
            return self
        start, items = _gathered(self.items, self.start, size)
        return Lists(items, start, size, self.valid)

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


@dataclass(frozen=True, slots=True)
class Same:
    """One value in every row, never absent, as Python has it: a bool, number, text, bytes or list of numbers."""

    value: object
    rows: int

    def __len__(self) -> int:
        return self.rows

    def spread(self) -> Column:
        """The column."""
        value, first = self.value, np.zeros(self.rows, dtype=np.int64)
        if isinstance(value, str | bytes):
            return Text.of([value], is_bytes=isinstance(value, bytes)).take(first)
        if isinstance(value, list):
            return Lists(np.array(value), first, np.full(self.rows, len(value), dtype=np.int64))
        return Numbers(np.full(self.rows, value))


def _sizes(column: Text | Lists) -> Ints:
    """The sizes, 0 where a row is absent: such spans mean nothing."""
    return column.size if column.valid is None else column.size * column.valid


def _is_wasteful(pool: NDArray[np.generic], used: int) -> bool:
    return len(pool) > 2 * used + 64


def _gathered(pool: NDArray[_T], start: Ints, size: Ints) -> tuple[Ints, NDArray[_T]]:
    """Starts within, and the pool of, these spans laid end to end."""
    ends = np.cumsum(size)
    first = ends - size
    out = np.empty(int(ends[-1]) if len(ends) else 0, dtype=pool.dtype)
    _copy(pool, start, size, out, first)
    return first, out


def _copy(pool: NDArray[_T], start: Ints, size: Ints, out: NDArray[_T], first: Ints) -> None:
    """Copies spans of pool to `first` and on in out."""
    width = pool.itemsize
    wrong = copy_spans(
        width, sealed(pool).view(np.uint8), plain(start), plain(size), out.view(np.uint8), first if width == 1 else first * width
    )
    if wrong >= 0:
        raise ValueError(f"row {wrong} points outside of its block")


def concat_columns(parts: Sequence[Column]) -> Column:
    """Columns of one kind joined end to end.

    Spans into one and the same pool go on pointing into it. Otherwise each pool is copied once, or only what rows have in it where it
    holds much else: else every join would carry all bytes ever read.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([np.ones(len(part), dtype=np.bool_) if part.valid is None else part.valid for part in parts])
    if isinstance(first, Numbers):
        return Numbers(np.concatenate([part.values for part in parts if isinstance(part, Numbers)]), valid)
    spans = [part for part in parts if not isinstance(part, Numbers)]
    pool, start, size = _joined_spans(spans)
    if isinstance(first, Text):
        return Text(pool.astype(np.uint8, copy=False), start, size, valid, first.is_bytes)
    return Lists(pool, start, size, valid)


def _joined_spans(parts: Sequence[Text | Lists]) -> tuple[NDArray[np.generic], Ints, Ints]:
    """One pool for all parts, and where their rows lie in it."""
    pools: list[NDArray[np.generic]] = [part.blob if isinstance(part, Text) else part.items for part in parts]
    sizes = [_sizes(part) for part in parts]
    size = np.concatenate(sizes)
    used: dict[int, int] = {}  # of each pool, by all parts together
    for pool, of_part in zip(pools, sizes, strict=True):
        used[id(pool)] = used.get(id(pool), 0) + int(of_part.sum())
    kept = {id(pool): pool for pool in pools if not _is_wasteful(pool, used[id(pool)])}
    if len(used) == 1 and kept:
        return pools[0], np.concatenate([part.start for part in parts]), size
    begins = dict(zip(kept, np.cumsum([0, *map(len, kept.values())]).tolist(), strict=False))
    room = sum(map(len, kept.values()))
    joined = np.empty(room + sum(count for one, count in used.items() if one not in kept), dtype=np.result_type(*pools))
    for one, pool in kept.items():
        joined[begins[one] : begins[one] + len(pool)] = pool
    starts = []
    for part, pool, of_part in zip(parts, pools, sizes, strict=True):
        if id(pool) in kept:
            starts.append(part.start + begins[id(pool)])
            continue
        starts.append(room + np.cumsum(of_part) - of_part)
        _copy(pool.astype(joined.dtype, copy=False), part.start, of_part, joined, starts[-1])
        room += int(of_part.sum())
    return joined, np.concatenate(starts), size


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
