"""Quix Streams' application, its input and its output, the same for all benchmarks. peer → *application* → transform, windows."""

from __future__ import annotations

import peer
from quixstreams import Application

app = Application(
    broker_address=peer.BOOTSTRAP,
    consumer_group=peer.GROUP,
    auto_offset_reset="earliest",
    commit_interval=peer.COMMIT_S,
    processing_guarantee="exactly-once" if peer.EXACTLY_ONCE else "at-least-once",
    consumer_extra_config={"fetch.queue.backoff.ms": 5},
    producer_extra_config={"linger.ms": peer.LINGER_MS, "queue.buffering.max.messages": 500_000, "retry.backoff.ms": 10},
    state_dir=peer.FOLDER,
    loglevel="WARNING",
)
reads = app.topic(peer.IN, key_deserializer="bytes", value_deserializer="bytes")
writes = app.topic(peer.OUT, key_serializer="bytes", value_serializer="bytes")
