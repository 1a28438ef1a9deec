"""loops: what one writes by hand with confluent-kafka, from the plainest to the quickest. peer → *loops*.

    loops.py poll     poll(), one record at a time, fastavro or orjson
    loops.py batch    consume(1000), fastavro or orjson, one numpy product for the batch
    loops.py bare     consume(1000), this project's column codec for Avro, one numpy product
    loops.py dict     consume(1000), fastavro or orjson, windows by key in a dict that a restart forgets

In transactions where the guarantee is exactly_once.

All with the two settings that matter most: fetch.queue.backoff.ms, whose default of 1000 caps a consumer at some 150,000 records/s, and
linger.ms with large batches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import peer
import plain
from confluent_kafka import Consumer, Producer

BATCH = 1000
PRODUCER = {
    "bootstrap.servers": peer.BOOTSTRAP,
    "linger.ms": peer.LINGER_MS,
    "queue.buffering.max.messages": 500_000,
    "retry.backoff.ms": 10,
    "enable.idempotence": True,
    "log_level": 3,
}
Work = Callable[[Consumer, Callable[[bytes, bytes], None]], None]  # reads some records and sends the answers


def main() -> None:
    stop = peer.Stop()
    consumer = Consumer(plain.CONSUMER)
    producer = Producer(PRODUCER | ({"transactional.id": peer.GROUP} if peer.EXACTLY_ONCE else {}))
    consumer.subscribe([peer.IN])
    work = {"poll": poll, "batch": batch, "bare": bare_avro, "dict": windows}[sys.argv[1]]
    if work in (bare_avro, windows):
        work = work()
    send = sender(producer)
    if peer.EXACTLY_ONCE:
        producer.init_transactions()
        producer.begin_transaction()
    committed = time.monotonic()
    while not stop.now:
        work(consumer, send)
        producer.poll(0)
        if time.monotonic() - committed >= peer.COMMIT_S:
            commit(consumer, producer)
            committed = time.monotonic()
    commit(consumer, producer)
    consumer.close()


def commit(consumer: Consumer, producer: Producer) -> None:
    if not peer.EXACTLY_ONCE:
        plain.commit(consumer, producer)
    elif places := plain.read_to(consumer):
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata())
        producer.commit_transaction()
        producer.begin_transaction()


def sender(producer: Producer) -> Callable[[bytes, bytes], None]:
    produce, topic = producer.produce, peer.OUT

    def send(value: bytes, key: bytes) -> None:
        while True:
            try:
                produce(topic, value, key)
                return
            except BufferError:
                producer.poll(0.01)

    return send


def poll(consumer: Consumer, send: Callable[[bytes, bytes], None]) -> None:
    """A thousand turns, so that looking at the clock costs nothing."""
    for _ in range(BATCH):
        message = consumer.poll(0.02)
        if message is None:
            return
        if message.error() is None:
            send(peer.to_bytes(peer.scored(peer.from_bytes(message.value()))), message.key())


def some(consumer: Consumer) -> list:
    """Up to BATCH records, without waiting to fill the batch."""
    messages = consumer.consume(BATCH, 0)
    if not messages:
        first = consumer.poll(0.02)
        if first is None:
            return []
        messages = [first, *consumer.consume(BATCH - 1, 0)]
    return [message for message in messages if message.error() is None]


NAMES = [f"x{i}" for i in range(len(peer.WEIGHTS))]
WEIGHTS = np.array(peer.WEIGHTS)


def batch(consumer: Consumer, send: Callable[[bytes, bytes], None]) -> None:
    messages = some(consumer)
    if not messages:
        return
    decode = peer.from_bytes
    rows = [decode(message.value()) for message in messages]
    x = np.array([[row[name] for name in NAMES] for row in rows])
    for message, row, score in zip(messages, rows, (x @ WEIGHTS + peer.BIAS).tolist(), strict=True):
        send(peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score}), message.key())


def bare_avro() -> Work:
    """Columns from end to end: the least that Python with the public client can do."""
    from stream_infer.codec.avro_decode import AvroDecoder
    from stream_infer.codec.avro_encode import AvroEncoder
    from stream_infer.codec.schema import parse_schema
    from stream_infer.records import Numbers, Text

    decoder = AvroDecoder(parse_schema(peer.SPEC["schema_in"]))
    encoder = AvroEncoder(parse_schema(peer.SPEC["schema_out"]))

    def work(consumer: Consumer, send: Callable[[bytes, bytes], None]) -> None:
        messages = some(consumer)
        if not messages:
            return
        values = Text.of([message.value()[5:] for message in messages], is_bytes=True)
        columns, rejected = decoder.decode(values)
        if rejected:
            raise ValueError(rejected.reason[0])
        x = np.stack([columns[name].values for name in NAMES], axis=1)
        out = encoder.encode({"id": columns["id"], "at_ms": columns["at_ms"], "score": Numbers(x @ WEIGHTS + peer.BIAS)})
        frame = peer.FRAME_OUT
        for message, value in zip(messages, out.raw(), strict=True):
            send(frame + value, message.key())

    return work


def windows() -> Work:
    """Plain Python, record by record, the state in memory only."""
    import window

    state: dict[str, list[float]] = {}

    def work(consumer: Consumer, send: Callable[[bytes, bytes], None]) -> None:
        for message in some(consumer):
            row = peer.from_bytes(message.value())
            user = row["user"]
            state[user], score = window.updated(state.get(user), row["at_ms"], row[window.VALUE])
            send(window.answer(row, score), message.key())

    return work


if __name__ == "__main__":
    main()
