"""What tests of a real broker share: topics made, rows produced, everything committed read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.records import Text

Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A record to produce, or one that was read. partition -1: chosen by the key; timestamp_ms 0 (to produce): now."""

    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    timestamp_ms: int = 0
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    topic: str = ""
    offset: int = -1


@cache
def admin(bootstrap: str) -> AdminClient:
    """Kept: a new client takes some tens of milliseconds, and waits ask every 50 ms."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def group_offsets(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """What a consumer group has committed, by topic and partition."""
    found = admin(bootstrap).list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result().topic_partitions
    return {(place.topic, place.partition): place.offset for place in found}


def create_topics(bootstrap: str, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
    """Topics by name, and return when a client sees every partition with its leader."""
    client = admin(bootstrap)
    made = client.create_topics([NewTopic(name, count, 1, config=dict(config or {})) for name, count in partitions.items()])
    for future in made.values():
        future.result(30.0)

    def visible() -> bool:
        known = client.list_topics(timeout=10.0).topics
        leaders = {name: sum(p.leader >= 0 for p in known[name].partitions.values()) for name in partitions if name in known}
        return leaders == dict(partitions)

    wait_until(visible, "topics have leaders")


def produce_rows(bootstrap: str, topic: str, rows: Iterable[Row], *, keep: bool = False, **config: Any) -> None:
    """All rows, in order, acknowledged by the broker. keep: the producer serves later calls too; a new one takes half a second to begin."""
    failed: list[KafkaError] = []
    settings = (("bootstrap.servers", bootstrap), *sorted(config.items()))
    producer = _kept_producer(settings) if keep else _producer(settings)
    for row in rows:
        producer.produce(
            topic, row.value, row.key, row.partition, timestamp=row.timestamp_ms, headers=row.headers,
            on_delivery=lambda error, _message: failed.append(error) if error is not None else None,
        )
        producer.poll(0)
    left = producer.flush(60.0)
    if failed:
        raise KafkaException(failed[0])
    assert left == 0, f"{left} rows of {topic} not acknowledged within a minute"


def _producer(settings: Settings) -> Producer:
    return Producer({"enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random", "log_level": 0, **dict(settings)})


_kept_producer = cache(_producer)


def read_all(bootstrap: str, topic: str, *, isolation: str = "read_committed", timeout_s: float = 60.0) -> list[Row]:
    """Every record from the first to the end of each partition as it stands now, by partition and offset.

    With read_committed the end is the last stable offset: rows of open transactions and what lies behind them are not waited for.
    """
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "read-all", "enable.auto.commit": False, "auto.offset.reset": "error",
        "isolation.level": isolation, "enable.partition.eof": True, "fetch.wait.max.ms": 20, "log_level": 0,
    })
    try:
        known = consumer.list_topics(topic, timeout=10.0).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        waiting = set(known.partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in sorted(waiting)])
        rows: list[Row] = []
        deadline = time.monotonic() + timeout_s
        while waiting:
            assert time.monotonic() < deadline, f"{topic}: partitions {sorted(waiting)} not read to their end in {timeout_s:.0f} s"
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is None:
                    rows.append(Row(message.value(), message.key(), message.partition(), message.timestamp()[1],
                                    message.headers() or [], topic, message.offset()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition())
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
    return sorted(rows, key=lambda row: (row.partition, row.offset))


def wait_until(true: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
    """For the ends of things outside this process: asks until it is so, fails with `what` when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


def blobs(rows: Sequence[bytes | None]) -> Text:
    """Keys or values of records as a column."""
    return Text.of(rows, is_bytes=True)
