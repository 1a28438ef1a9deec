"""kafka native inbox: a queue of our own that a consumer's partitions deliver into. kafka_native, shelves → *inbox* → consume.

librdkafka forwards every partition's messages to the consumer's queue, where callbacks of the group come along; those must be served by
the Python client. Redirected before they are first fetched, partitions deliver here instead, and what is here are messages, and
errors of partitions: that their topic is not there. Those librdkafka tells by the client's error callback, and that of the Python
client ends the process (an assertion) when it is called beside the Python client; so one of our own stands in its place.

An assignment first stops what was fetched, and that clears the redirection, some time after assign() has returned. What arrives before
it is said again waits at the partition and then comes along, in order; so it is said again until the partition has delivered.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from confluent_kafka import KafkaError

from stream_infer.edge import kafka_native_kernels as kernels
from stream_infer.edge.kafka_native import Library
from stream_infer.edge.kafka_native_shelves import Shelves, partition_of
from stream_infer.flow.transport import Partition
from stream_infer.records import Fetched, Ints, Text

Heard = tuple[Partition, int, KafkaError]  # of a partition, at an offset
UNKNOWN = -1001  # librdkafka's own number for an offset that it does not know
# So many reads of a backlog are taken at once, for one to be of one partition. Events of 8.6 kB, four partitions: 14.8 µs each by one read,
# 13.6 by four (medians of eight pairs by turns, each cheaper); small ones the same.
AHEAD_READS = 4
_ERROR_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Inbox:
    """The messages of redirected partitions. handle: of the consumer; close() must come before the consumer's. on_error: its error_cb."""

    def __init__(self, library: Library, handle: int, on_error: Callable[[KafkaError], None]) -> None:
        self._library = library

        def complain(_handle: int, code: int, text: bytes | None, _client: int) -> None:
            on_error(KafkaError(code, (text or b"").decode(errors="replace")))

        self._complain = _ERROR_CALLBACK(complain)
        library.conf_set_error_cb(library.conf(handle), self._complain)
        self._handle = handle
        self._queue: int = library.queue_new(handle)
        self._redirected: dict[Partition, None] = {}
        self._awaited: dict[Partition, None] = {}  # have not delivered since they were redirected
        self._messages: Ints = np.empty(0, np.int64)
        self._group: Ints = self._messages
        self._groups = np.empty((0, kernels.GROUP_WIDTH), np.int64)
        self._asked = library.get_watermark_offsets
        self._marks = np.full(2, UNKNOWN, np.int64)
        self._low = self._marks.ctypes.data
        self._timestamp, self._destroy = library.place("message_timestamp"), library.place("message_destroy")
        self._shelves = Shelves(library.topic_name, self._destroy)

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._redirected

    def redirect(self, partitions: Iterable[Partition]) -> None:
        """These deliver here from now on. To be said before every assignment, so that the first record comes here too."""
        fresh = dict.fromkeys(partitions)
        self._shelves.drop(fresh)  # of where they were read before
        self._awaited |= fresh
        self._redirected |= fresh
        self._say_again()

    def forget(self, partition: Partition) -> None:
        """Nothing more will come of this one."""
        self._shelves.drop([partition])
        self._awaited.pop(partition, None)

    @property
    def awaits(self) -> bool:
        """True while a redirected partition has not delivered: then it is well to look often."""
        return bool(self._awaited)

    def high(self, partition: Partition) -> int:
        """High watermark as of the last fetch of a partition, whoever it delivers to; below 0 before the first one.

        It is asked of each partition in each turn: 1 to 2 µs here, 7 by way of the Python client.
        """
        failed = self._asked(self._handle, partition[0].encode(), partition[1], self._low, self._low + 8)
        return UNKNOWN if failed else int(self._marks[1])

    def take(self, rows_max: int, wait_ms: int, skipped: Collection[Partition] = ()) -> tuple[list[Fetched], list[Heard]]:
        """What is here, and the ends and errors among it; waits only when nothing is. Lets go of the interpreter lock.

        Of a backlog, one partition after the other. skipped: paused; what is here of them stays.
        """
        self._say_again()
        if AHEAD_READS * rows_max > len(self._messages):
            self._messages, self._group = np.empty(AHEAD_READS * rows_max, np.int64), np.empty(rows_max, np.int64)
            self._groups = np.empty((rows_max, kernels.GROUP_WIDTH), np.int64)
        ahead = self._shelves.count(skipped)
        count = self._pulled(AHEAD_READS * rows_max - ahead, 0 if ahead else wait_ms) if ahead < rows_max else 0
        if self._shelves or count > rows_max:
            self._shelves.put(self._messages[:count])
            count = self._shelves.take(self._messages, rows_max, skipped)
        fetched, heard = self._columns(count) if count else ([], [])
        if self._awaited:
            for partition in [*((batch.topic, batch.partition) for batch in fetched), *(where for where, _, _ in heard)]:
                self._awaited.pop(partition, None)
        return fetched, heard

    def _pulled(self, most: int, wait_ms: int) -> int:
        """How many messages came out of the queue, into the array of places."""
        batch, place = self._library.consume_batch_queue, self._messages.ctypes.data
        count: int = 0
        if wait_ms:
            # A batch waits until it is full or the time is over: waited is for one, and the rest taken as it is.
            count = max(batch(self._queue, wait_ms, place, 1), 0)
            if not count:
                return 0
        count += max(batch(self._queue, 0, place + 8 * count, most - count), 0)
        return count

    def close(self) -> None:
        """Drop what is here; partitions deliver to nobody, and errors go to the log."""
        self._shelves.drop()
        self._awaited.clear()
        for partition in self._redirected:
            self._forward(partition, None)
        self._redirected.clear()
        self._library.queue_destroy(self._queue)
        self._library.conf_set_error_cb(self._library.conf(self._handle), None)

    def _say_again(self) -> None:
        for partition in self._awaited:
            self._forward(partition, self._queue)

    def _forward(self, partition: Partition, target: int | None) -> None:
        queue = self._library.queue_get_partition(self._handle, partition[0].encode(), partition[1])
        self._library.queue_forward(queue, target)
        self._library.queue_destroy(queue)  # our reference alone

    def _columns(self, count: int) -> tuple[list[Fetched], list[Heard]]:
        known = kernels.sort(self._messages, count, self._group, self._groups)
        groups = self._groups[:known]
        rows, size = int(groups[:, kernels.ROWS].sum()), int(groups[:, kernels.KEY_BYTES :].sum())
        table, valid, blob = np.empty((6, rows), np.int64), np.empty((2, rows), np.bool_), np.empty(size, np.uint8)
        kernels.fill(self._messages, count, self._group, groups, known, table, valid, blob, self._timestamp, self._destroy)
        heard = [] if rows == count else [self._heard(int(place)) for place in self._messages[:count][self._group[:count] < 0]]
        given = []
        first = byte = 0
        for topic, number, length, key_bytes, value_bytes in groups.tolist():
            own, there = table[:, first : first + length], valid[:, first : first + length]
            offsets, timestamps, *spans = own
            given.append(
                Fetched(
                    topic=self._library.topic_name(topic).decode(),
                    partition=number,
                    offsets=offsets,
                    timestamps=timestamps,
                    keys=_text(blob[byte : byte + key_bytes], spans[0], spans[1], there[0]),
                    values=_text(blob[byte + key_bytes : byte + key_bytes + value_bytes], spans[2], spans[3], there[1]),
                )
            )
            first += length
            byte += key_bytes + value_bytes
        return given, heard

    def _heard(self, message: int) -> Heard:
        word = ctypes.c_int64.from_address
        low = ctypes.c_int32.from_address
        try:
            text = self._library.message_errstr(message).decode(errors="replace")
            partition = partition_of(message, self._library.topic_name)
            return partition, word(message + kernels.OFFSET).value, KafkaError(low(message + kernels.ERR).value, text)
        finally:
            self._library.message_destroy(message)


def _text(blob: Any, start: Ints, size: Ints, valid: Any) -> Text:
    return Text(blob, start, size, None if valid.all() else valid, is_bytes=True)
