"""kafka deliveries: the producer of at_least_once. kafka_send, native producer → *kafka_deliveries* → kafka.

Results are visible at once; a commit waits until the broker has every record, then the group's offsets move. What was written before
a failed commit is written again after it, with the same ids, so readers can drop the repeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_infer.edge.kafka_errors import error_of, explained, is_lasting, is_purged
from stream_infer.edge.kafka_native import Native
from stream_infer.edge.kafka_native_producer import NativeProducer, native_producer
from stream_infer.edge.kafka_pushing import Pusher
from stream_infer.edge.kafka_send import send
from stream_infer.errors import Fenced
from stream_infer.flow.transport import Outcome
from stream_infer.records import Ints, Text

log = logging.getLogger("stream_infer.kafka")
PUSH_S = 0.001  # how long a push flushes: the least there is. What a busy client does not see in that time goes when it has lingered


class Deliveries:
    """An idempotent producer and the failures it reported.

    consumer: the group's, whose offsets a commit moves; native: as in kafka_native.handle_of(); pushes: whether push() does anything.
    """

    def __init__(
        self, config: dict[str, Any], wait_s_max: float, consumer: Consumer, native: Native = "off", *, pushes: bool = True
    ) -> None:
        # Only failures call back: a call per record would cost as much again as producing it.
        self._config = {**config, "on_delivery": self._delivered, "delivery.report.only.error": True}
        self._wait_s_max = wait_s_max
        self._consumer = consumer
        self._failures: list[KafkaError] = []  # appended to by whichever thread serves the producer
        self._pending = False
        self._left = 0  # records that were not there when waiting for them ended
        self.rebuilt = 0
        self._closed = False
        self._native: Native = native
        self._pushes, self._unpushed = pushes, False
        self._make()

    @property
    def is_open(self) -> bool:
        """True when records wait for a commit."""
        return self._pending

    def send(
        self, topic: str, keys: Text, values: Text, partition: int | None, timestamps: Ints | None
    ) -> None:
        """Queue records. What cannot be queued fails the next commit."""
        self._pending = self._unpushed = True
        try:
            if not send(self._producer, self._outbox, topic, keys, values, partition, timestamps, self._wait_s_max):
                self._failures.append(KafkaError(KafkaError._QUEUE_FULL))  # noqa: SLF001 — librdkafka's name
        except KafkaException as problem:
            self._failures.append(error_of(problem))

    def push(self) -> None:
        """Send soon what lingers; waits for nothing."""
        if self._pusher is not None and self._unpushed:
            self._pusher.push()
        self._unpushed = False

    @property
    def sends_on(self) -> bool:
        """Whether records may be sent while earlier ones are awaited; else all that is there is awaited, without end."""
        return self._outbox is not None

    def delivery(self) -> Callable[[], Outcome]:
        """What waits, on any thread, for the broker to have all records sent so far. ABORTED when it did not take one; see settled()."""
        self._pending = False
        producer = self._producer
        if isinstance(producer, NativeProducer):
            producer.mark()

        def wait() -> Outcome:
            awaited = producer.settle if isinstance(producer, NativeProducer) else producer.flush
            self._left = awaited(self._wait_s_max)
            return Outcome.ABORTED if self._left or self._failures else Outcome.COMMITTED

        return wait

    def settled(self, found: Outcome) -> Outcome:
        """The outcome, for the thread that sends: what follows from ABORTED may end the producer."""
        return self._failed(self._left) if found is Outcome.ABORTED else found

    def abort(self) -> Outcome:
        """Drop what was not sent yet; what was sent stays visible. Always ABORTED."""
        if self._drop():
            # A purge reaches the client's threads late: what the same producer was given next was thrown away with the rest (measured).
            self._end()
            self._make()
        return Outcome.ABORTED

    def _drop(self) -> bool:
        """Throw away what was not sent yet, and forget what failed; whether anything was there."""
        left, self._pending = self._pending or len(self._producer) > 0, False
        self._producer.purge()
        self._producer.flush(self._wait_s_max)
        self._failures.clear()
        return left

    def give_up(self) -> None:
        """After an error: drop what was not sent yet."""
        self._producer.purge(blocking=False)

    def close(self) -> None:
        """Let go of the producer; what waits for a commit is dropped. Once closed it stays so."""
        if not self._closed:
            self._closed = True
            self._drop()
            self._end()

    def _make(self) -> None:
        ours = native_producer(self._config, self._native)
        producer: Producer | NativeProducer = Producer(self._config) if ours is None else ours
        self._producer = producer
        self._outbox = None if ours is None else ours.outbox
        self._pusher = Pusher(lambda: producer.flush(PUSH_S) if ours is None else ours.push(PUSH_S)) if self._pushes else None

    def _end(self) -> None:
        if self._pusher is not None:
            self._pusher.close()  # first: a flush of a producer that is gone would end the process
        self._producer.close()

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None and not is_purged(error):
            self._failures.append(error)

    def _failed(self, left: int) -> Outcome:
        failures = list(self._failures)
        self.abort()
        for error in failures:
            if is_lasting(error):
                raise explained(error, "writing")
            if error.fatal():
                # Idempotence cannot go on after a gap in its sequence; a new producer can.
                self._end()
                self._make()
                self.rebuilt += 1
                break
        log.warning("%d records were not delivered: %s", len(failures) + left, failures[0].str() if failures else "timed out")
        return Outcome.ABORTED

    def move(self, offsets: list[TopicPartition]) -> Outcome:
        """Move the group's offsets."""
        until = time.monotonic() + self._wait_s_max
        while True:
            try:
                found = self._consumer.commit(offsets=offsets, asynchronous=False)
                failed = [moved.error for moved in found or () if moved.error is not None]
            except KafkaException as problem:
                failed = [error_of(problem)]
            if not failed:
                return Outcome.COMMITTED
            error = failed[0]
            if error.code() == KafkaError.FENCED_INSTANCE_ID:
                raise Fenced(f"another process has this worker's group.instance.id: {error.str()}")
            if is_lasting(error):
                raise explained(error, "committing offsets")
            if not error.retriable() or time.monotonic() > until:
                log.warning("offsets were not committed: %s", error.str())
                return Outcome.ABORTED
