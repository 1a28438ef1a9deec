"""flow.addresses: topic-partition-offset of rows, as columns. records → *addresses* → deciding, joining."""

from __future__ import annotations

import numpy as np

from stream_infer.jit import jit
from stream_infer.records import Bytes, Ints, Text


def addresses(topic: str, partition: Ints, offsets: Ints) -> Text:
    """Text[n]: f"{topic}-{partition}-{offset}" of each row, laid end to end. partition, offsets: not negative."""
    head = np.frombuffer(f"{topic}-".encode(), dtype=np.uint8)
    size = _sizes(len(head), partition, offsets)
    end = np.cumsum(size)
    start = end - size
    blob = np.empty(int(end[-1]) if len(end) else 0, dtype=np.uint8)
    _write(head, partition, offsets, blob)
    return Text(blob, start, size)


@jit
def _digits(value: int) -> int:
    count = 1
    while value >= 10:
        value //= 10
        count += 1
    return count


@jit
def _put(value: int, end: int, blob: Bytes) -> int:
    """Digits that end before `end`; where they begin."""
    while value >= 10:
        end -= 1
        blob[end] = 48 + value % 10
        value //= 10
    end -= 1
    blob[end] = 48 + value
    return end


@jit
def _sizes(head: int, partition: Ints, offsets: Ints) -> Ints:
    size = np.empty(len(offsets), dtype=np.int64)
    for row in range(len(offsets)):
        size[row] = head + _digits(partition[row]) + 1 + _digits(offsets[row])
    return size


@jit
def _write(head: Bytes, partition: Ints, offsets: Ints, blob: Bytes) -> None:
    end = len(blob)
    for row in range(len(offsets) - 1, -1, -1):
        end = _put(offsets[row], end, blob) - 1
        blob[end] = 45  # a hyphen
        end = _put(partition[row], end, blob) - len(head)
        blob[end : end + len(head)] = head
