"""kafka columns: messages of confluent-kafka become columns, once and for all. kafka_consume → *kafka_columns* → records.

Nothing here loops over messages in Python: accessors run inside map() and join(), some 20 to 100 ns each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from operator import itemgetter, ne
from typing import Any

import numpy as np
from confluent_kafka import Message

from stream_infer.flow.transport import Partition
from stream_infer.records import Fetched, Ints, Text

_second = itemgetter(1)
# The accessors as plain functions: map() then calls C from C.
_topic: Any = Message.topic
_partition: Any = Message.partition
_offset: Any = Message.offset
_key: Any = Message.key
_value: Any = Message.value
_timestamp: Any = Message.timestamp
_headers: Any = Message.headers


def split(messages: list[Any]) -> dict[Partition, list[Any]]:
    """Messages by (topic, partition), in the order read. messages: without errors, at least one."""
    topics, partitions = list(map(_topic, messages)), list(map(_partition, messages))
    # A fetch answers partition by partition, so runs are long: compare neighbours, hash only the first of each run.
    changes = np.fromiter(map(ne, topics, islice(topics, 1, None)), np.bool_, len(topics) - 1)
    numbers = np.array(partitions)
    cuts = (np.flatnonzero(changes | (numbers[1:] != numbers[:-1])) + 1).tolist()
    runs: dict[Partition, list[list[Any]]] = {}
    for first, after in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        runs.setdefault((topics[first], partitions[first]), []).append(messages[first:after])
    return {place: parts[0] if len(parts) == 1 else list(chain.from_iterable(parts)) for place, parts in runs.items()}


def columns(place: Partition, messages: list[Any], *, with_headers: bool = False) -> Fetched:
    """Columns of messages of one partition."""
    count = len(messages)
    return Fetched(
        topic=place[0],
        partition=place[1],
        offsets=np.fromiter(map(_offset, messages), np.int64, count),
        timestamps=np.fromiter(map(_second, map(_timestamp, messages)), np.int64, count),
        keys=_text(list(map(_key, messages))),
        values=_text(list(map(_value, messages))),
        headers=[list(map(_header, found or ())) for found in map(_headers, messages)] if with_headers else None,
    )


def _header(pair: tuple[str, bytes | None]) -> tuple[str, bytes]:
    return pair[0], pair[1] or b""


def _text(rows: Sequence[bytes | None]) -> Text:
    try:
        blob = b"".join(rows)  # type: ignore[arg-type]  # None raises, which is how the rare case is found for nothing
    except TypeError:
        return Text.of(rows, is_bytes=True)
    size = np.fromiter(map(len, rows), np.int64, len(rows))  # type: ignore[arg-type]
    return Text(np.frombuffer(blob, dtype=np.uint8), _starts(size), size, None, is_bytes=True)


def _starts(size: Ints) -> Ints:
    start = np.zeros(len(size), dtype=np.int64)
    np.cumsum(size[:-1], out=start[1:])
    return start
