"""state: what all state of a task has in common, and how rows of it become bytes. records, hashing → *state* → features, decide, learn.

A task has one `Store` per stage. Changes since the last call go to a compacted changelog topic in the transaction of the
chunk that made them; a snapshot is everything as plain arrays. Both lead back to the same object, bit for bit: recovery
loads a snapshot (or nothing) and restores the changelog's tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import StreamInferError
from stream_infer.records import Bools, Bytes, Ints, Text, concat_columns, copy_spans, plain, sealed

Array = NDArray[Any]


class StateError(StreamInferError):
    """A changelog record or snapshot does not fit the settings: written by another version or another topology."""


@runtime_checkable
class Store(Protocol):
    """State of one stage in one task."""

    def changes(self) -> tuple[Text, Text]:
        """Keys and packed values changed since the last call, absent where deleted; clears the marks. A key comes at most once."""
        ...

    def restore(self, keys: Text, values: Text) -> None:
        """Apply changelog records in order, later ones win; leaves no marks. StateError on a value of another format."""
        ...

    def snapshot(self) -> dict[str, Array]:
        """Everything, as plain arrays of number or void dtypes (np.savez without pickle)."""
        ...

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the object that gave the snapshot. StateError if it was made with other settings."""
        ...

    def bytes_used(self) -> int:
        """Bytes held in arrays, used or reserved."""
        ...


def pack_rows(version: int, rows: Array) -> list[bytes]:
    """rows: structured[n] → n values: one byte of version, then the row as it lies in memory (dtype little-endian, unpadded)."""
    size = rows.dtype.itemsize
    block = np.empty((len(rows), 1 + size), dtype=np.uint8)
    block[:, 0] = version
    block[:, 1:] = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), size)
    return cut(block.tobytes(), 1 + size)


def unpack_rows(version: int, values: Sequence[bytes], dtype: np.dtype[np.void]) -> Array:
    """The inverse of `pack_rows`: structured[n]. StateError names the first value of another version or size."""
    size = 1 + dtype.itemsize
    for value in values:
        if len(value) != size or value[0] != version:
            got = f"version {value[0]}, {len(value)} bytes" if value else "0 bytes"
            raise StateError(f"packed state: got {got}, expected version {version}, {size} bytes (made by another topology or release?)")
    block = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), size)
    return np.ascontiguousarray(block[:, 1:]).reshape(-1).view(dtype)


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of `size` bytes each."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def gather_bytes(blob: Bytes, start: Ints, size: Ints) -> Bytes:
    """The spans blob[start[i] : start[i] + size[i]] joined end to end: uint8[sum of size]."""
    picked: Bytes = blob[spans(start, size)]
    return picked


def spans(first: Ints, count: Ints) -> Ints:
    """first[0], first[0] + 1, … (count[0] numbers), first[1], …: int64[sum of count]."""
    out: Ints = np.arange(int(count.sum()), dtype=np.int64)
    out += (first - count.cumsum() + count).repeat(count)
    return out


def begins_with(keys: Text, prefix: bytes) -> Bools:
    """bool[n]: whether a key's first bytes are these."""
    found: Bools = keys.size >= len(prefix)
    for place, byte in enumerate(prefix):
        found[found] = keys.blob[keys.start[found] + place] == byte
    return found


def with_prefix(prefix: bytes, keys: Text) -> Text:
    """The keys, none of them absent, each behind these bytes."""
    size = keys.size + len(prefix)
    out = end_to_end(np.empty(int(size.sum()), dtype=np.uint8), size)
    rows = len(keys)
    before, width = np.frombuffer(prefix, dtype=np.uint8), np.full(rows, len(prefix), dtype=np.int64)
    wrong = copy_spans(1, before, np.zeros(rows, dtype=np.int64), width, out.blob, out.start)
    assert wrong < 0
    wrong = copy_spans(1, sealed(keys.blob), plain(keys.start), plain(keys.size), out.blob, out.start + len(prefix))
    assert wrong < 0, f"key {wrong} points outside of its block"
    return out


def pack_text(keys: Sequence[bytes | None]) -> Text:
    """Keys or values as columns."""
    return Text.of(keys, is_bytes=True)


def end_to_end(blob: Bytes, size: Ints) -> Text:
    """Rows of these sizes that fill a block one after the other."""
    return Text(blob, np.cumsum(size) - size, size, is_bytes=True)


def join_texts(parts: Sequence[Text]) -> Text:
    """The rows of all parts, one after the other."""
    joined = concat_columns(parts)
    assert isinstance(joined, Text)
    return joined
