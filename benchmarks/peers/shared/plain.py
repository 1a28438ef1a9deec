"""plain: what every loop on confluent-kafka has, at least once. peer → *plain* → loops, feed."""

from __future__ import annotations

import peer
from confluent_kafka import Consumer, Producer, TopicPartition

CONSUMER = {
    "bootstrap.servers": peer.BOOTSTRAP,
    "group.id": peer.GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "fetch.queue.backoff.ms": 5,
    "log_level": 3,
}


def read_to(consumer: Consumer) -> list[TopicPartition]:
    """Where the consumer stands in all that it has read of."""
    return [place for place in consumer.position(consumer.assignment()) if place.offset >= 0]


def commit(consumer: Consumer, producer: Producer) -> None:
    """Answers first, then the word that they were given."""
    places = read_to(consumer)
    producer.flush()
    if places:
        consumer.commit(offsets=places, asynchronous=False)
