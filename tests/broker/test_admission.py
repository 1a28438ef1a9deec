"""A member that stays outside its group though the broker answers is told; an outage is not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from stream_infer.edge.devbroker import Broker
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.kafka_group import LOOK_S, Admission
from stream_infer.edge.kafka_process import free_ports
from stream_infer.edge.topics import create_topics
from tests.support_run import wait_until

OUTSIDE_S_MAX = 0.5
AGAIN_S = 0.5


@pytest.fixture
def outside(broker: Broker) -> Iterator[Consumer]:
    """One that never asks to be let in: to look at, like one whose client connects no more."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "outside"})
    yield consumer
    consumer.close()


def looking(bootstrap: str, consumer: Consumer, *, owns: bool) -> list[tuple[str, float]]:
    """What was told within some looks."""
    told: list[tuple[str, float]] = []
    settings = KafkaSettings(bootstrap, "outside", "outside.0")
    admission = Admission(settings, lambda what, seconds: told.append((what, seconds)), OUTSIDE_S_MAX, AGAIN_S)
    until = time.monotonic() + 4 * LOOK_S

    def looked() -> bool:
        admission.look(consumer, owns=owns)
        return bool(told) or time.monotonic() > until

    wait_until(looked, "looks")
    return told


def test_who_stays_outside_is_told(broker: Broker, outside: Consumer) -> None:
    """By the second look that is too late: the broker may have come back just before the first."""
    [(what, seconds)] = looking(broker.bootstrap, outside, owns=False)
    assert what == "joining the group"
    assert seconds >= OUTSIDE_S_MAX + AGAIN_S


def test_who_owns_something_is_inside(broker: Broker, outside: Consumer) -> None:
    assert looking(broker.bootstrap, outside, owns=True) == []


def test_an_outage_is_waited_for(outside: Consumer) -> None:
    assert looking(f"127.0.0.1:{free_ports()[0]}", outside, owns=False) == []


def test_who_was_let_in_is_inside(broker: Broker, topic: str) -> None:
    create_topics(broker.bootstrap, [(topic, 1, False)], {})
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic, "session.timeout.ms": 6000})
    consumer.subscribe([topic])
    try:
        wait_until(lambda: consumer.poll(0.1) is None and bool(consumer.memberid()), "it has asked")
        assert looking(broker.bootstrap, consumer, owns=False) == []
    finally:
        consumer.close()
