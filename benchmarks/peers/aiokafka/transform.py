"""aiokafka: getmany(1000), one numpy product for the batch, send() without waiting; uvloop. peer → *transform*."""

from __future__ import annotations

import time

import numpy as np
import peer
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

NAMES = [f"x{i}" for i in range(len(peer.WEIGHTS))]
WEIGHTS = np.array(peer.WEIGHTS)


async def main() -> None:
    stop = peer.Stop()
    settings = {"bootstrap_servers": peer.BOOTSTRAP}
    consumer = AIOKafkaConsumer(peer.IN, **settings, group_id=peer.GROUP, auto_offset_reset="earliest", enable_auto_commit=False)
    own = {"transactional_id": peer.GROUP} if peer.EXACTLY_ONCE else {}
    producer = AIOKafkaProducer(**settings, linger_ms=peer.LINGER_MS, max_batch_size=262_144, **own)
    await consumer.start()
    await producer.start()
    if peer.EXACTLY_ONCE:
        await producer.begin_transaction()
    committed, offsets = time.monotonic(), {}
    while not stop.now:
        offsets |= await batch(consumer, producer)
        if time.monotonic() - committed >= peer.COMMIT_S:
            await commit(consumer, producer, offsets)
            committed, offsets = time.monotonic(), {}
    await commit(consumer, producer, offsets)
    if peer.EXACTLY_ONCE:
        await producer.abort_transaction()  # the empty one that commit() began
    await producer.stop()
    await consumer.stop()


async def commit(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, offsets: dict) -> None:
    await producer.flush()
    if not offsets:
        return
    if peer.EXACTLY_ONCE:
        await producer.send_offsets_to_transaction(offsets, peer.GROUP)
        await producer.commit_transaction()
        await producer.begin_transaction()
    else:
        await consumer.commit(offsets)


async def batch(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> dict:
    offsets = {}
    for place, records in (await consumer.getmany(timeout_ms=20, max_records=1000)).items():
        rows = [peer.from_bytes(record.value) for record in records]
        x = np.array([[row[name] for name in NAMES] for row in rows])
        for record, row, score in zip(records, rows, (x @ WEIGHTS + peer.BIAS).tolist(), strict=True):
            await producer.send(peer.OUT, peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score}), record.key)
        offsets[place] = records[-1].offset + 1
    return offsets


if __name__ == "__main__":
    uvloop.run(main())
