"""kafka send: columns of keys and values into a producer's queue. native outbox → *kafka_send* → transactions, deliveries.

Through librdkafka's C interface where there is an outbox; else one produce() per record, 0.6 to 1.2 µs: produce_batch() wants dicts,
ignores partitions and is not faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import KafkaException

from stream_infer.edge.kafka_errors import error_of, explained, is_lasting

if TYPE_CHECKING:
    from stream_infer.edge.kafka_native_outbox import Outbox
    from stream_infer.records import Ints, Text

SERVE_EVERY = 1000  # records between two looks at delivery reports, without which the queue fills up
ANY_PARTITION = -1
Queue = Callable[[int, int], int]  # of records [first, after): the place of the first that found the queue full, else after


class Client(Protocol):
    """A producer, as far as sending goes: ours or the Python client's, which alone has produce()."""

    def poll(self, timeout: float) -> int:
        """Hear what there is to be told."""
        ...


def send(
    producer: Client,
    outbox: Outbox | None,
    topic: str,
    keys: Text,
    values: Text,
    partition: int | None,
    timestamps: Ints | None,
    wait_s_max: float,
    *,
    hear: bool = True,
) -> bool:
    """Queue records; False when the queue stayed full for wait_s_max. EnvironmentMissing when the topic will never take them.

    outbox: of this producer, or None. hear: look at delivery reports now and then; else only when the queue is full.
    """
    where = ANY_PARTITION if partition is None else partition
    sent, until = 0, 0.0
    with _queueing(producer, outbox, topic, keys, values, where, timestamps) as queue:
        while sent < len(values):
            after = min(sent + SERVE_EVERY, len(values))
            try:
                sent = queue(sent, after)
            except KafkaException as problem:
                if is_lasting(error_of(problem)):
                    raise explained(error_of(problem), f"writing to {topic}") from problem
                raise
            if sent == after:
                until = 0.0
                if hear:
                    producer.poll(0)
            else:
                until = until or time.monotonic() + wait_s_max
                if time.monotonic() > until:
                    return False
                producer.poll(0.01)
    return True


def _queueing(
    producer: Client, outbox: Outbox | None, topic: str, keys: Text, values: Text, where: int, timestamps: Ints | None
) -> AbstractContextManager[Queue]:
    if outbox is not None:
        return outbox.queueing(topic, keys, values, where, timestamps)
    return nullcontext(_one_by_one(producer, topic, keys, values, where, timestamps))


def _one_by_one(producer: Any, topic: str, keys: Text, values: Text, where: int, timestamps: Ints | None) -> Queue:
    produce: Any = producer.produce
    times = None if timestamps is None else timestamps.tolist()
    heads, bodies = keys.raw(), values.raw()

    def queue(first: int, after: int) -> int:
        place = first
        try:
            if times is None:
                for place in range(first, after):
                    produce(topic, bodies[place], heads[place], where)
            else:
                for place in range(first, after):
                    produce(topic, bodies[place], heads[place], where, timestamp=times[place])
        except BufferError:
            return place
        return after

    return queue
