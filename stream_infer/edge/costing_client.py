"""edge.costing_client: what the client of a broker costs, asked of that broker. kafka → *costing_client* → planning."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Literal, cast

from confluent_kafka.admin import AdminClient

from stream_infer.edge.costing import ClientCosts
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings, connection
from stream_infer.edge.secrets import resolved
from stream_infer.edge.topics import create_topics
from stream_infer.records import Text
from stream_infer.topology.plan import Plan

RECORDS = 20_000
RECORD_BYTES = 200
COMMITS = 15


def ask(plan: Plan, bootstrap: str) -> ClientCosts:
    """Send records to a topic of our own, read them back, and take the topic away. EnvironmentMissing where there is no broker."""
    client = resolved(plan.client)
    topic = f"{plan.name}.plan-{os.getpid()}"
    create_topics(bootstrap, [(topic, 1, False)], client)
    guarantee = cast("Literal['exactly_once', 'at_least_once']", plan.emit.guarantee)
    transport = KafkaTransport(KafkaSettings(bootstrap, topic, topic, guarantee, client))
    try:
        keys, values = (Text.of([b"x" * size] * RECORDS, is_bytes=True) for size in (16, RECORD_BYTES))
        few = keys.take(slice(0, 10)), values.take(slice(0, 10))

        def send() -> None:
            transport.produce(topic, keys, values, 0)
            transport.commit({})

        def send_few() -> None:
            transport.produce(topic, *few, 0)
            transport.commit({})

        send_few()  # connections are made at the first use
        commits = statistics.median(_clocked(send_few, time.perf_counter) for _ in range(COMMITS))
        produce_s = statistics.median(_clocked(send, time.process_time) for _ in range(3)) / RECORDS
        read = [0]

        def fetch() -> None:
            read[0] = sum(len(batch) for batch in transport.read((topic, 0), 0))

        read_s = _clocked(fetch, time.process_time) / max(read[0], 1)
    finally:
        transport.close()
        admin = AdminClient(connection(bootstrap, client))  # held: the answer comes to it
        admin.delete_topics([topic])[topic].result()
    defaults = ClientCosts()
    return ClientCosts(defaults.poll_s, read_s, produce_s, defaults.fetch_s, commits)


def _clocked(work: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began
