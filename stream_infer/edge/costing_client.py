"""edge.costing_client: what the client of a broker costs, asked of that broker. kafka → *costing_client* → planning."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_infer.edge.costing import ClientCosts
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings, connection, consumer
from stream_infer.edge.secrets import resolved
from stream_infer.edge.topics import create_topics
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Text
from stream_infer.topology.plan import Plan

RECORDS = 20_000
RECORD_BYTES = 200
COMMITS = 15
PARTITIONS = 12  # of the larger of the two commits
FETCHES = 15
FETCH_S_MAX = 30.0


def ask(plan: Plan, bootstrap: str) -> ClientCosts:
    """Send records to a topic of our own, read them back, and take the topic away. EnvironmentMissing where there is no broker."""
    client = resolved(plan.client)
    topic = f"{plan.name}.plan-{os.getpid()}"
    create_topics(bootstrap, [(topic, PARTITIONS, False)], client)
    guarantee = cast("Literal['exactly_once', 'at_least_once']", plan.emit.guarantee)
    settings = KafkaSettings(bootstrap, topic, topic, guarantee, client)
    transport = KafkaTransport(settings)
    try:
        keys, values = (Text.of([b"x" * size] * RECORDS, is_bytes=True) for size in (16, RECORD_BYTES))
        few = keys.take(slice(0, 10)), values.take(slice(0, 10))

        def send() -> None:
            transport.produce(topic, keys, values, 0)
            transport.commit({})

        def send_few(partitions: int) -> None:
            for partition in range(partitions):
                transport.produce(topic, *few, partition)
            transport.commit({})

        send_few(PARTITIONS)  # connections are made at the first use
        large, small = (_median(partial(send_few, partitions), time.perf_counter, COMMITS) for partitions in (PARTITIONS, 1))
        produce_s = _median(send, time.process_time, 3) / RECORDS
        read = [0]

        def fetch() -> None:
            read[0] = sum(len(batch) for batch in transport.read((topic, 0), 0))

        read_s = _clocked(fetch, time.process_time) / max(read[0], 1)
        fetch_s = _fetch_s(settings, topic)
    finally:
        transport.close()
        admin = AdminClient(connection(bootstrap, client))  # held: the answer comes to it
        admin.delete_topics([topic])[topic].result()
    return ClientCosts(ClientCosts().poll_s, read_s, produce_s, fetch_s, small, max(large - small, 0.0) / (PARTITIONS - 1))


def _fetch_s(settings: KafkaSettings, topic: str) -> float:
    """From the send of a producer that gathers nothing to the poll of a reader that waits."""
    reader = Consumer(consumer(settings, lambda _: None))
    sender = Producer(connection(settings.bootstrap, settings.client) | {"linger.ms": 0})

    def heard(*, at_end: bool) -> None:
        until = time.monotonic() + FETCH_S_MAX
        while (message := reader.poll(1.0)) is None or bool(message.error()) is not at_end:
            if time.monotonic() > until:
                raise EnvironmentMissing(f"a record of {topic} is not given back", got=f"nothing for {FETCH_S_MAX:g} s", expected="it")

    def send() -> None:
        sender.produce(topic, b"x" * RECORD_BYTES, partition=0)
        heard(at_end=False)

    def send_while_it_waits() -> float:
        heard(at_end=True)
        return _clocked(send, time.perf_counter)

    try:
        _, end = reader.get_watermark_offsets(TopicPartition(topic, 0))
        reader.assign([TopicPartition(topic, 0, end)])
        send_while_it_waits()  # connections are made at the first use
        return statistics.median(send_while_it_waits() for _ in range(FETCHES))
    finally:
        reader.close()


def _median(work: Callable[[], None], clock: Callable[[], float], runs: int) -> float:
    return statistics.median(_clocked(work, clock) for _ in range(runs))


def _clocked(work: Callable[[], None], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began
