"""feed: rows of a topic to a server that takes one at a time, answers to a topic; at least once. nets, plain → *feed* → ray, litserve."""

from __future__ import annotations

import time
from collections.abc import Callable

import nets
import peer
import plain
from confluent_kafka import Consumer, Producer

ROWS = 1000


def run(ask: Callable[[list], list[float]], stop: peer.Stop) -> None:
    """ask: many rows at once, each a request of its own, as the server's batching wants them."""
    consumer = Consumer(plain.CONSUMER)
    producer = Producer({"bootstrap.servers": peer.BOOTSTRAP, "linger.ms": peer.LINGER_MS, "log_level": 3})
    consumer.subscribe([peer.IN])
    committed = time.monotonic()
    while not stop.now:
        messages = consumer.consume(ROWS, 0) or [one for one in [consumer.poll(0.02)] if one is not None]
        messages = [message for message in messages if message.error() is None]
        if messages:
            rows = [peer.from_bytes(message.value()) for message in messages]
            for message, row, score in zip(messages, rows, ask([nets.of_row(row) for row in rows]), strict=True):
                producer.produce(peer.OUT, peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score}), message.key())
        producer.poll(0)
        if time.monotonic() - committed >= peer.COMMIT_S:
            plain.commit(consumer, producer)
            committed = time.monotonic()
    plain.commit(consumer, producer)
    consumer.close()
