"""Quix Streams with ONNX Runtime: apply() on bytes, one event at a time, which is the only way it has. scoring → *app*."""

from __future__ import annotations

import scoring
from quixstreams import Application

app = Application(
    broker_address=scoring.BOOTSTRAP,
    consumer_group=scoring.GROUP,
    auto_offset_reset="earliest",
    commit_interval=scoring.COMMIT_S,
    processing_guarantee="exactly-once" if scoring.EXACTLY_ONCE else "at-least-once",
    consumer_extra_config={"fetch.queue.backoff.ms": 5, "fetch.message.max.bytes": scoring.BYTES_MAX},
    producer_extra_config={"linger.ms": 5, "message.max.bytes": scoring.BYTES_MAX, "retry.backoff.ms": 10},
    state_dir=scoring.FOLDER,
    loglevel="WARNING",
)
reads = app.topic(scoring.IN, key_deserializer="bytes", value_deserializer="bytes")
writes = app.topic(scoring.OUT, key_serializer="bytes", value_serializer="bytes")
app.dataframe(reads).apply(scoring.scored).to_topic(writes)

if __name__ == "__main__":
    app.run()
