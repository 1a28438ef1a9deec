"""A backlog that fills the client hides what comes to other partitions: nothing of them is fetched, and nobody hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.edge import topics
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.play import columns_of
from tests.support import Row, produce_rows
from tests.support_flow import models_of, payment, plan_of

pytestmark = pytest.mark.broker
BACKLOG = 120_000  # more than twice of what the client queues (queued.min.messages)
FULL_S = 2.0  # the client fetches some 500,000 records/s


@pytest.mark.timeout(90)
def test_a_record_behind_a_backlog_is_read_while_a_model_stands_still(broker: Broker) -> None:
    plan = plan_of(partitions=2, limits="{wait_ms_max: 20, rows_in_flight_max: 2000}")
    topics.create_topics(broker.bootstrap, plan.topics, {})
    stream = plan.streams["payments"]
    schema = parse_schema(stream.schema, stream.name)
    value = RowEncoder(schema, stream.format, stream.framing).encode(columns_of(schema, [payment(1)])).raw()[0]
    produce_rows(broker.bootstrap, stream.topic, [Row(value, b"a", 0)] * BACKLOG, **{"queue.buffering.max.messages": BACKLOG})
    forwarder = SimForwarder(models_of(plan), lambda _: 0)
    forwarder.held = True
    transport = KafkaTransport(KafkaSettings(broker.bootstrap, plan.name, f"{plan.name}.0"))
    worker = Worker(plan, statics(plan.models, models_of(plan)), transport, forwarder, lambda: time.monotonic_ns() // 1_000_000)
    worker.start()

    def step_until(true: Callable[[], bool], what: str, s_max: float = 30.0) -> None:
        until = time.monotonic() + s_max
        while not true():
            assert time.monotonic() < until, what
            worker.step(5)

    step_until(lambda: worker.flow.room.waiting() > 0, "the backlog is read")
    full = time.monotonic() + FULL_S
    step_until(lambda: time.monotonic() > full, "the client fetches what it can hold")
    produce_rows(broker.bootstrap, stream.topic, [Row(value, b"d", 1)], keep=True)
    behind = worker.flow.tasks["main", 1]
    step_until(lambda: behind.busy or behind.buffered((stream.topic, 1)) == 1, "the record behind the backlog is read")

    assert worker.stats.rows_answered == 0
    assert worker.flow.room.waiting() < BACKLOG / 2
    forwarder.held = False
    worker.close()
