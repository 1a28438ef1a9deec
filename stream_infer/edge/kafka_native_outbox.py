"""kafka native outbox: columns into a producer's queue, without a Python call per record. kafka_native, its kernels → *outbox* → send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from stream_infer.edge import kafka_native_kernels as kernels
from stream_infer.edge.kafka_native import Library, Native, handle_of

if TYPE_CHECKING:
    from stream_infer.records import Bools, Bytes, Ints, Text

_ALL: Bools = np.empty(0, np.bool_)
_NOW: Ints = np.empty(0, np.int64)


class Outbox:
    """The queue of one producer, whose handle this is; not to be used once the producer is closed.

    numbered: records are numbered from 1 on, by which their reports tell them. Otherwise nobody is called back about them: a
    transaction knows by itself what could not be delivered.
    """

    def __init__(self, library: Library, handle: int, *, numbered: bool = False) -> None:
        self._library = library
        self._handle = handle
        self._produceva = library.place("produceva")
        self._asked: Ints = np.zeros(kernels.NUMBERED * kernels.VU // 8, np.int64)
        self._numbered = numbered
        self.queued = 0  # records so far: the number of the last

    @classmethod
    def of(cls, producer: object, native: Native) -> Outbox | None:
        """That of a transactional Producer; None where only the client itself may be used. native: as in handle_of()."""
        found = handle_of(producer, "producer", native)
        return cls(*found) if found else None

    @contextmanager
    def queueing(self, topic: str, keys: Text, values: Text, where: int, times: Ints | None) -> Iterator[Callable[[int, int], int]]:
        """queue(first, after) for these records, as kafka_send wants it. where: a partition, or -1 for that of the key; times None: now."""
        handle = self._library.topic_new(self._handle, topic.encode(), None)
        if not handle:
            raise self._problem(self._library.last_error())
        head, head_start, head_size, head_valid = _spans(keys)
        body, body_start, body_size, body_valid = _spans(values)
        at = _NOW if times is None else np.ascontiguousarray(times, np.int64)

        def queue(first: int, after: int) -> int:
            place, refused = kernels.queue(
                self._handle, handle, where,
                head.ctypes.data, head_start, head_size, head_valid,
                body.ctypes.data, body_start, body_size, body_valid,
                at, first, after, self._asked, self.queued + 1 if self._numbered else 0, self._produceva,
            )  # fmt: skip
            self.queued += place - first
            if refused:
                code = self._library.error_code(refused)
                self._library.error_destroy(refused)
                if code != KafkaError._QUEUE_FULL:  # noqa: SLF001 — librdkafka's name
                    raise self._problem(code)
            return place

        try:
            yield queue
        finally:
            self._library.topic_destroy(handle)

    @staticmethod
    def _problem(code: int) -> KafkaException:
        return KafkaException(KafkaError(code, f"Unable to produce message: {KafkaError(code).str()}"))


def _spans(text: Text) -> tuple[Bytes, Ints, Ints, Bools]:
    valid = _ALL if text.valid is None else np.ascontiguousarray(text.valid)
    return np.ascontiguousarray(text.blob), np.ascontiguousarray(text.start), np.ascontiguousarray(text.size), valid
