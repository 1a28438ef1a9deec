"""Faust with ONNX Runtime: take(100) on bytes, one run of the model for what was taken; uvloop, logging off. scoring → *app*.

Its best of what it has: event by event, and with its JSON records, it does the same more slowly.
"""

from __future__ import annotations

import mode.loop

mode.loop.use("uvloop")

import faust  # noqa: E402 — the loop is chosen before it is imported
import scoring  # noqa: E402

app = faust.App(
    scoring.GROUP,
    broker=f"aiokafka://{scoring.BOOTSTRAP}",
    datadir=scoring.FOLDER,
    store="memory://",
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=scoring.BYTES_MAX,
    producer_max_request_size=scoring.BYTES_MAX,
    broker_commit_interval=scoring.COMMIT_S,
    topic_partitions=scoring.PARTITIONS,
    topic_disable_leader=True,
    processing_guarantee="exactly_once" if scoring.EXACTLY_ONCE else "at_least_once",
    producer_linger=0.005,
    stream_wait_empty=False,
)


def raw(name: str) -> faust.TopicT:
    return app.topic(name, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes)


writes = raw(scoring.OUT)


@app.agent(raw(scoring.IN))
async def batches(stream: faust.StreamT[bytes]) -> None:
    async for records in stream.take(100, within=0.01):
        for answer in scoring.scored_together(records):
            await writes.send(value=answer)


if __name__ == "__main__":
    faust.Worker(app, loglevel="CRITICAL").execute_from_commandline()
