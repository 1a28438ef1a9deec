"""kafka native kernels: librdkafka's messages become columns, and columns its messages. jit → *kafka_native_kernels* → inbox, outbox.

Offsets are those of the public rd_kafka_message_t and rd_kafka_vu_t, the same in every 1.x and 2.x on 64-bit machines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.jit import c_call, copy, jit, long_at, place_of, put_long
from stream_infer.records import Bools, Bytes, Ints

LOW = 0xFFFFFFFF
# rd_kafka_message_t: where its fields begin.
ERR, RKT, PARTITION, PAYLOAD, LEN, KEY, KEY_LEN, OFFSET, PRIVATE = 0, 8, 16, 24, 32, 40, 48, 56, 64
# Columns of the table of groups that sort() makes.
TOPIC, NUMBER, ROWS, KEY_BYTES, VALUE_BYTES = range(5)
GROUP_WIDTH = 5
# Rows of the table that fill() writes.
OFFSETS, TIMESTAMPS, KEY_START, KEY_SIZE, VALUE_START, VALUE_SIZE = range(6)


@jit
def sort(messages: Ints, count: int, group: Ints, groups: NDArray[np.int64]) -> int:
    """Which group each message is of, -1 for errors; the number of groups. A group is a partition; groups [n, GROUP_WIDTH]: see above."""
    known = 0
    now = -1
    for row in range(count):
        message = messages[row]
        if long_at(message + ERR) & LOW:
            group[row] = -1
            continue
        topic, number = long_at(message + RKT), long_at(message + PARTITION) & LOW
        # A fetch answers partition by partition, so the group is nearly always that of the message before.
        if now < 0 or groups[now, TOPIC] != topic or groups[now, NUMBER] != number:
            now = 0
            while now < known and (groups[now, TOPIC] != topic or groups[now, NUMBER] != number):
                now += 1
            if now == known:
                known += 1
                groups[now, TOPIC], groups[now, NUMBER] = topic, number
                groups[now, ROWS] = groups[now, KEY_BYTES] = groups[now, VALUE_BYTES] = 0
        group[row] = now
        groups[now, ROWS] += 1
        if long_at(message + KEY):
            groups[now, KEY_BYTES] += long_at(message + KEY_LEN)
        if long_at(message + PAYLOAD):
            groups[now, VALUE_BYTES] += long_at(message + LEN)
    return known


@jit
def runs(messages: Ints) -> Ints:
    """Where runs of messages of one partition begin: int64[number of runs]."""
    starts = np.empty(len(messages), np.int64)
    known = 0
    topic = number = -1
    for row in range(len(messages)):
        message = messages[row]
        own_topic, own_number = long_at(message + RKT), long_at(message + PARTITION) & LOW
        if own_topic != topic or own_number != number:
            topic, number = own_topic, own_number
            starts[known] = row
            known += 1
    return starts[:known]


@jit
def let_go(messages: Ints, destroy: int) -> None:
    """The end of messages that nobody wants. destroy: the place of librdkafka's function."""
    for message in messages:
        c_call(destroy, (message,))


@jit
def fill(
    messages: Ints,
    count: int,
    group: Ints,
    groups: NDArray[np.int64],
    known: int,
    table: NDArray[np.int64],
    valid: Bools,
    blob: Bytes,
    timestamp: int,
    destroy: int,
) -> None:
    """Columns of the messages, group after group, and the end of each message that is no error.

    table: int64[6, rows], starts are within the group's own bytes; valid: bool[2, rows] of keys, values; blob: of each group first the
    keys, then the values; timestamp, destroy: the places of librdkafka's functions.
    """
    at_row, at_key, at_value = np.empty(known, np.int64), np.empty(known, np.int64), np.empty(known, np.int64)
    first_key, first_value = np.empty(known, np.int64), np.empty(known, np.int64)
    rows = 0
    size = place_of(blob)
    for now in range(known):
        at_row[now], rows = rows, rows + groups[now, ROWS]
        first_key[now] = at_key[now] = size
        size += groups[now, KEY_BYTES]
        first_value[now] = at_value[now] = size
        size += groups[now, VALUE_BYTES]
    for place in range(count):
        now = group[place]
        if now < 0:
            continue
        message = messages[place]
        row = at_row[now]
        at_row[now] += 1
        table[OFFSETS, row] = long_at(message + OFFSET)
        table[TIMESTAMPS, row] = c_call(timestamp, (message, 0))
        key, value = long_at(message + KEY), long_at(message + PAYLOAD)
        valid[0, row], valid[1, row] = key != 0, value != 0
        length = long_at(message + KEY_LEN) if key else 0
        copy(at_key[now], key, length)
        table[KEY_START, row], table[KEY_SIZE, row] = at_key[now] - first_key[now], length
        at_key[now] += length
        length = long_at(message + LEN) if value else 0
        copy(at_value[now], value, length)
        table[VALUE_START, row], table[VALUE_SIZE, row] = at_value[now] - first_value[now], length
        at_value[now] += length
        c_call(destroy, (message,))


# rd_kafka_vu_t: a word that says what follows (rd_kafka_vtype_t), then 64 bytes of it.
VU = 72
V_RKT, V_PARTITION, V_VALUE, V_KEY, V_OPAQUE, V_MSGFLAGS, V_TIMESTAMP = 2, 3, 4, 5, 6, 7, 8
F_COPY = 2
ASKED, NUMBERED = 6, 7


@jit
def queue(
    producer: int,
    topic: int,
    partition: int,
    keys: int,
    key_start: Ints,
    key_size: Ints,
    key_valid: Bools,
    values: int,
    value_start: Ints,
    value_size: Ints,
    value_valid: Bools,
    timestamps: Ints,
    first: int,
    after: int,
    asked: Ints,
    number: int,
    produceva: int,
) -> tuple[int, int]:
    """Queue records [first, after). The place of the first that was refused and librdkafka's error, to be destroyed; or after, and 0.

    keys, values: places of their bytes, which librdkafka copies; key_valid, value_valid: empty where every row has one; timestamps:
    empty for the time being; asked: int64[NUMBERED * VU // 8], zeros at first, for our own use; number: of record `first`, by which
    its report tells it, and one more for each that follows; 0 for none.
    """
    vu = place_of(asked)
    put_long(vu, V_RKT)
    put_long(vu + 8, topic)
    put_long(vu + VU, V_PARTITION)
    put_long(vu + VU + 8, partition)
    put_long(vu + 2 * VU, V_MSGFLAGS)
    put_long(vu + 2 * VU + 8, F_COPY)
    put_long(vu + 3 * VU, V_KEY)
    put_long(vu + 4 * VU, V_VALUE)
    put_long(vu + 5 * VU, V_TIMESTAMP)
    put_long(vu + 6 * VU, V_OPAQUE)
    words = NUMBERED if number else ASKED
    all_keys, all_values, timed = len(key_valid) == 0, len(value_valid) == 0, len(timestamps) > 0
    for row in range(first, after):
        there = all_keys or key_valid[row]
        put_long(vu + 3 * VU + 8, keys + key_start[row] if there else 0)
        put_long(vu + 3 * VU + 16, key_size[row] if there else 0)
        there = all_values or value_valid[row]
        put_long(vu + 4 * VU + 8, values + value_start[row] if there else 0)
        put_long(vu + 4 * VU + 16, value_size[row] if there else 0)
        put_long(vu + 5 * VU + 8, timestamps[row] if timed else 0)
        put_long(vu + 6 * VU + 8, number + row - first)
        refused = c_call(produceva, (producer, vu, words))
        if refused:
            return row, refused
    return after, 0


@jit
def settled(messages: Ints, count: int, mark: int, failed: Ints) -> tuple[int, int]:
    """Of reported records: how many are numbered up to `mark`, and how many were not delivered; the errors of those stand in `failed`."""
    below = faults = 0
    for place in range(count):
        message = messages[place]
        below += long_at(message + PRIVATE) <= mark
        error = long_at(message + ERR) & LOW
        if error:
            failed[faults] = error if error < 1 << 31 else error - (1 << 32)
            faults += 1
    return below, faults
